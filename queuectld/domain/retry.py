"""Retry policy: whether and when a failed job runs again."""

from collections.abc import Iterable
from typing import Final, NamedTuple

SIGNAL_PREFIX: Final = "SIG"


class RetryPolicy(NamedTuple):
    """How often and after how long a job is retried. Fixed when the job is enqueued.

    `max_retries` counts executions: 0 and 1 both mean one. `backoff_max` is in seconds,
    `backoff_jitter` the largest share (0 to 1) by which a wait may be shortened.
    """

    max_retries: int
    backoff_base: float
    backoff_max: float
    backoff_jitter: float = 0.0
    retry_on: tuple[int | str, ...] = ()
    no_retry_on: tuple[int | str, ...] = ()

    def allows(self, attempts: int, exit_code: int | None, signal_name: str | None) -> bool:
        """Whether a job is retried after `attempts` failures, the last one with this exit code or signal."""
        if attempts >= max(self.max_retries, 1):
            return False
        if self.retry_on and not _names(self.retry_on, exit_code, signal_name):
            return False
        return not _names(self.no_retry_on, exit_code, signal_name)

    def backoff_ms(self, attempts: int, chance: float = 0.0) -> int:
        """Return the wait after the `attempts`-th failure, in milliseconds.

        `min(backoff_base ** attempts, backoff_max)`, shortened by `chance` (0 to 1) of the jitter.
        The power is not computed beyond the maximum, so no exponent overflows.
        """
        seconds = _capped_power(self.backoff_base, attempts, self.backoff_max)
        return round(seconds * (1.0 - self.backoff_jitter * chance) * 1000)


def _capped_power(base: float, exponent: int, maximum: float) -> float:
    value = 1.0
    if base <= 1.0:
        return min(value, maximum)
    for _ in range(exponent):
        value *= base
        if value >= maximum:
            return maximum
    return min(value, maximum)


def _names(listed: Iterable[int | str], exit_code: int | None, signal_name: str | None) -> bool:
    """Whether the list contains this exit code, or this signal with or without SIG."""
    for item in listed:
        if isinstance(item, int):
            if item == exit_code:
                return True
        elif signal_name is not None and item.upper().removeprefix(SIGNAL_PREFIX) == (
            signal_name.removeprefix(SIGNAL_PREFIX)
        ):
            return True
    return False
