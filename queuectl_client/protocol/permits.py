"""Which actions a job permits in which state."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import ENDED_STATES, WAITING_STATES, JobState

S = JobState

RUNNING: Final = frozenset({S.PROCESSING})


class JobAction(StrEnum):
    """An action of a user on jobs."""

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
    """The states that permit an action, and the refusal for other states.

    `at_rest`: not permitted while a worker is still ending the processes of the last run.
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


def refusal(action: JobAction, state: JobState) -> str | None:
    """Return why a job in this state does not permit the action, or None if it does."""
    permit = PERMITS[action]
    return None if state in permit.states else permit.otherwise
