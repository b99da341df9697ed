"""The state table: complete, closed, and what the interface's page of words says."""

import pytest

from queuectl_client.protocol.vocabulary import ENDED_STATES, EventKind, JobState
from queuectld.domain import states

S = JobState

# interface.md, "Words", written out once more by hand: who may go where. The table has to say the same.
TOLD = {
    (S.PENDING, S.PROCESSING),
    (S.PENDING, S.HELD),
    (S.PENDING, S.BLOCKED),
    (S.HELD, S.PENDING),
    (S.HELD, S.BLOCKED),
    (S.BLOCKED, S.PENDING),
    (S.BLOCKED, S.HELD),
    (S.FAILED, S.PROCESSING),
    (S.FAILED, S.PENDING),
    (S.FAILED, S.HELD),
    (S.PROCESSING, S.COMPLETED),
    (S.PROCESSING, S.FAILED),
    (S.PROCESSING, S.DEAD),
    (S.PROCESSING, S.PENDING),
    # A person retries what has ended.
    (S.COMPLETED, S.PENDING),
    (S.DEAD, S.PENDING),
    (S.CANCELLED, S.PENDING),
    # Any that has not ended may be cancelled.
    (S.PENDING, S.CANCELLED),
    (S.PROCESSING, S.CANCELLED),
    (S.FAILED, S.CANCELLED),
    (S.HELD, S.CANCELLED),
    (S.BLOCKED, S.CANCELLED),
}


def test_every_state_has_a_row() -> None:
    assert states.ALLOWED.keys() == set(JobState)


@pytest.mark.parametrize("before", JobState)
@pytest.mark.parametrize("after", JobState)
def test_the_table_says_what_the_interface_says(before: JobState, after: JobState) -> None:
    assert states.may_follow(before, after) is ((before, after) in TOLD)


def test_only_claimable_jobs_go_to_a_worker() -> None:
    assert {before for before in JobState if states.may_follow(before, S.PROCESSING)} == states.CLAIMABLE


@pytest.mark.parametrize("state", JobState)
def test_a_job_has_ended_when_only_a_person_moves_it(state: JobState) -> None:
    by_itself = states.ALLOWED[state] - {S.PENDING}
    assert states.has_ended(state) is (not by_itself)
    assert states.has_ended(state) is (state in ENDED_STATES)


def test_every_job_that_has_not_ended_can_be_cancelled() -> None:
    for state in set(JobState) - ENDED_STATES:
        assert states.may_follow(state, S.CANCELLED), state


def test_every_state_is_reached_from_one_a_job_is_stored_in() -> None:
    reached = set(states.INITIAL)
    while new := {after for before in reached for after in states.ALLOWED[before]} - reached:
        reached |= new
    assert reached == set(JobState)


def test_a_job_is_never_stored_running_or_ended_by_itself() -> None:
    assert {S.PENDING, S.HELD, S.BLOCKED, S.CANCELLED} == states.INITIAL


def test_every_state_has_an_event() -> None:
    assert {f"job.{state}" for state in JobState} <= {str(kind) for kind in EventKind}
