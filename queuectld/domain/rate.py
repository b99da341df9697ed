"""Rate limits: how many jobs of a queue may start in any window as long as the period.

A sliding window over the starts, so that neither the turn of a minute nor a restart allows a burst. Up to EXACT starts
are kept singly; for higher rates they are counted in slots, as if each had been at the end of its slot, so that the
limit is never exceeded and the list stays short.
"""

import re
from typing import Final, NamedTuple

EXACT: Final = 128
PERIODS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT: Final = re.compile(r"([1-9]\d{0,6})/([smhd])", re.ASCII)

Starts = tuple[tuple[int, int], ...]
"""Pairs of a time in ms and how many started then, oldest first."""


class Rate(NamedTuple):
    """A maximum number of starts in a period."""

    limit: int
    period_ms: int

    def used(self, starts: Starts, now_ms: int) -> int:
        """Return how many of the starts are within the window."""
        return sum(count for at_ms, count in starts if at_ms + self.period_ms > now_ms)

    def after(self, starts: Starts, now_ms: int) -> Starts:
        """Return the starts within the window, including one now."""
        width = 1 if self.limit <= EXACT else self.period_ms // EXACT
        at_ms = now_ms - now_ms % width + width - 1
        kept = [start for start in starts if start[0] + self.period_ms > now_ms]
        if kept and kept[-1][0] >= at_ms:
            return (*kept[:-1], (kept[-1][0], kept[-1][1] + 1))
        return (*kept, (at_ms, 1))

    def opens_ms(self, starts: Starts, now_ms: int, ahead: int = 0) -> int:
        """Return when a job with `ahead` others before it may start; `now_ms` if at once."""
        free = self.limit - self.used(starts, now_ms)
        if ahead < free:
            return now_ms
        late = ahead - free
        rounds, rest = divmod(late, self.limit)
        for at_ms, count in starts:
            if at_ms + self.period_ms <= now_ms:
                continue
            if rest < count:
                return at_ms + self.period_ms * (rounds + 1)
            rest -= count
        return now_ms + self.period_ms * (rounds + 1)


def read_rate(text: str | None) -> Rate | None:
    """Parse a rate such as `10/m`; None for None. Raises ValueError if it is invalid."""
    if text is None:
        return None
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return Rate(int(found[1]), PERIODS_MS[found[2]])


def spacing_ms(rate: Rate, index: int) -> int:
    """Return the delay of the n-th job if jobs are to start evenly at the rate, in ms."""
    return index * rate.period_ms // rate.limit
