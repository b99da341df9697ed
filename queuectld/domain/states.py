"""The state table: which state may follow which."""

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
    # To pending or held by a person who does not want to wait, or wants it to wait longer.
    S.FAILED: frozenset({S.PROCESSING, S.PENDING, S.HELD, S.CANCELLED}),
    # An ended job moves again only when a person retries it.
    S.COMPLETED: frozenset({S.PENDING}),
    S.DEAD: frozenset({S.PENDING}),
    S.CANCELLED: frozenset({S.PENDING}),
}

CLAIMABLE: Final = frozenset({S.PENDING, S.FAILED})
"""States from which a worker may take a job, once its time has come."""

INITIAL: Final = frozenset({S.PENDING, S.HELD, S.BLOCKED, S.CANCELLED})
"""States in which a job may be stored first (cancelled: its dependency can no longer come true)."""


def may_follow(before: JobState, after: JobState) -> bool:
    """Whether a job may go from `before` to `after`."""
    return after in ALLOWED[before]


def has_ended(state: JobState) -> bool:
    """Whether a job in this state will not run again by itself."""
    return state in ENDED_STATES
