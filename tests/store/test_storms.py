"""Very many jobs that end at once, and very many that are due at once: no result is lost, and no turn does it all."""

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Claimed
from queuectld.domain.retry import RetryPolicy
from queuectld.store.writes.turn import SLICE
from tests.store.lab import Lab, in_lab, new

JOBS = 5_000
WORKERS = 1_000


@in_lab
async def test_five_thousand_ends_and_the_storm_of_retries_after_them_lose_nothing(lab: Lab) -> None:
    lab.store._writer._connection.execute("PRAGMA synchronous = OFF")  # not a test of the disk
    once_more = RetryPolicy(max_retries=2, backoff_base=1, backoff_max=1)
    await lab.store.intake.add_many([new(retry=once_more)] * JOBS, now=lab.now)
    await lab.hire(WORKERS)

    claimed: list[Claimed] = []
    while (await lab.store.counts()).by_state[JobState.FAILED] < JOBS:
        turn = await lab.turn([lab.end(each, 1) for each in claimed], lab.workers)
        assert len(turn.stored) == len(claimed)
        assert all(stored.state is JobState.FAILED for stored in turn.stored)
        claimed = turn.claimed
    assert claimed == []

    lab.pass_time(1000)
    runs: dict[int, int] = {}
    turns = 0
    while True:
        turn = await lab.turn([lab.end(each) for each in claimed], lab.workers)
        turns += 1
        claimed = turn.claimed
        for each in claimed:
            runs[each.seq] = runs.get(each.seq, 0) + 1
        if not claimed and not turn.more:
            break
        assert len(claimed) <= SLICE, "a storm is let in slice by slice, so that others are served in between"
    assert turns >= JOBS // SLICE
    assert runs == dict.fromkeys(range(1, JOBS + 1), 1)
    assert (await lab.store.counts()).by_state[JobState.COMPLETED] == JOBS
    for seq in (1, JOBS // 2, JOBS):
        assert [attempt.exit_code for attempt in await lab.store.queries.attempts(seq)] == [1, 0]
