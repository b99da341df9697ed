"""Job states: which transitions are allowed."""

from collections.abc import Mapping
from typing import Final

from queuectl_client.protocol.vocabulary import ENDED_STATES, JobState

S = JobState

ALLOWED: Final[Mapping[JobState, frozenset[JobState]]] = {
    S.PENDING: frozenset({S.PROCESSING, S.HELD, S.BLOCKED, S.CANCELLED}),
    S.HELD: frozenset({S.PENDING, S.BLOCKED, S.CANCELLED}),
    S.BLOCKED: frozenset({S.PENDING, S.HELD, S.CANCELLED}),
    # Back to pending: a crash of its worker, or a claim that never reached one.
    S.PROCESSING: frozenset({S.COMPLETED, S.FAILED, S.DEAD, S.PENDING, S.CANCELLED}),
    # To pending by a retry; to held by a hold.
    S.FAILED: frozenset({S.PROCESSING, S.PENDING, S.HELD, S.CANCELLED}),
    # An ended job changes state only when a user retries it.
    S.COMPLETED: frozenset({S.PENDING}),
    S.DEAD: frozenset({S.PENDING}),
    S.CANCELLED: frozenset({S.PENDING}),
}

CLAIMABLE: Final = frozenset({S.PENDING, S.FAILED})
"""States in which a due job may be claimed."""

INITIAL: Final = frozenset({S.PENDING, S.HELD, S.BLOCKED, S.CANCELLED})
"""Initial states (cancelled: a dependency can no longer be satisfied)."""


def may_follow(before: JobState, after: JobState) -> bool:
    """Whether a job may go from `before` to `after`."""
    return after in ALLOWED[before]


def has_ended(state: JobState) -> bool:
    """Whether a job in this state will not run again by itself."""
    return state in ENDED_STATES


def backs_off(state: JobState, attempts: int, waits: bool) -> bool:
    """Whether a job waits for its backoff: `failed`, or `pending` after it was held and released meanwhile.

    `waits`: it has a due time.
    """
    return state is S.FAILED or (state is S.PENDING and attempts > 0 and waits)
