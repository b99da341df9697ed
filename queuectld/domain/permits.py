"""What a person may do to a job in which state: a table, so that every layer decides it alike."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import ENDED_STATES, WAITING_STATES, JobState

S = JobState

RUNNING: Final = frozenset({S.PROCESSING})


class JobAction(StrEnum):
    """What a person does to jobs."""

    CANCEL = "cancel"
    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"
    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    REMOVE = "remove"
    MOVE = "move"
    DLQ_RETRY = "dlq retry"
    DLQ_PURGE = "dlq purge"


class Permit(NamedTuple):
    """The states in which a job may have it done to it, and what is said of a job in another one.

    `at_rest`: not while a worker still ends the processes of its last run.
    """

    states: frozenset[JobState]
    otherwise: str
    at_rest: bool = False


PERMITS: Final[Mapping[JobAction, Permit]] = {
    JobAction.CANCEL: Permit(WAITING_STATES | RUNNING, "it has ended and cannot be cancelled"),
    JobAction.KILL: Permit(RUNNING, "only a running job can be sent a signal"),
    JobAction.PAUSE: Permit(RUNNING, "only a running job can be paused"),
    JobAction.RESUME: Permit(RUNNING, "only a running job can be resumed"),
    JobAction.HOLD: Permit(WAITING_STATES, "only a waiting job can be held"),
    JobAction.RELEASE: Permit(frozenset({S.HELD}), "only a held job can be released"),
    JobAction.RETRY: Permit(
        ENDED_STATES | {S.FAILED},
        "only a job that has failed, or has ended, can be retried",
        at_rest=True,
    ),
    JobAction.REMOVE: Permit(WAITING_STATES | ENDED_STATES, "cancel it before it is removed", at_rest=True),
    JobAction.MOVE: Permit(WAITING_STATES, "only a waiting job can be moved"),
    JobAction.DLQ_RETRY: Permit(frozenset({S.DEAD}), "it is not in the dead letter queue", at_rest=True),
    JobAction.DLQ_PURGE: Permit(frozenset({S.DEAD}), "it is not in the dead letter queue", at_rest=True),
}


def backs_off(state: JobState, attempts: int, waits: bool) -> bool:
    """Whether it waits because it failed: `failed`, or put back to `pending` by a release while its time had not come.

    `waits`: for its time.
    """
    return state is S.FAILED or (state is S.PENDING and attempts > 0 and waits)


def refusal(action: JobAction, state: JobState) -> str | None:
    """Why it cannot be done to a job in this state; None: it can."""
    permit = PERMITS[action]
    return None if state in permit.states else permit.otherwise
