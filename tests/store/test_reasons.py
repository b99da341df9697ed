"""Reasons: a code and words, in the row of a job, of an attempt, and in the event; never one without the other."""

import sqlite3
from contextlib import closing

import pytest

from queuectl_client.protocol.vocabulary import JobState, ReasonCode
from queuectld.domain.outcome import EndKind
from queuectld.domain.retry import RetryPolicy
from queuectld.store.records import Event
from tests.store import verbs
from tests.store.lab import Lab, in_lab

ONCE = RetryPolicy(1, 2, 2)
ENDS = {
    ReasonCode.EXIT: (EndKind.EXITED, 3, None),
    ReasonCode.SIGNAL: (EndKind.SIGNALLED, None, 9),
    ReasonCode.TIMEOUT: (EndKind.TIMED_OUT, None, 15),
    ReasonCode.STALLED: (EndKind.STALLED, None, 15),
    ReasonCode.CANNOT_START: (EndKind.CANNOT_START, 127, None),
}


async def _told(lab: Lab, seq: int, state: JobState) -> tuple[ReasonCode | None, list[ReasonCode | None]]:
    """The code of the job, which its event tells as well, and those of its attempts."""
    job = await lab.get(seq)
    assert job.state is state
    newest: Event = next(event for event in reversed(lab.events) if event.seq == seq)
    assert (newest.detail.get("reason"), newest.detail.get("reason_code")) == (job.reason, job.reason_code)
    attempts = await lab.store.queries.attempts(seq)
    for reason, code in [(job.reason, job.reason_code), *((each.reason, each.reason_code) for each in attempts)]:
        assert (reason or "").startswith(code or "")
        assert (reason is None) is (code is None)
    return job.reason_code, [each.reason_code for each in attempts]


@in_lab
async def test_every_failure_has_its_code(lab: Lab) -> None:
    for seq, (code, (kind, exit_code, signal)) in enumerate(ENDS.items(), 1):
        await lab.add(retry=ONCE)
        words = "why \udcff" if code is ReasonCode.CANNOT_START else ""
        outcome = lab.end(await lab.claim(), kind=kind, signal=signal, words=words)._replace(exit_code=exit_code)
        await lab.turn([outcome])
        assert await _told(lab, seq, JobState.DEAD) == (code, [code])


@in_lab
async def test_a_success_has_none_and_takes_away_that_of_the_failure_before_it(lab: Lab) -> None:
    await lab.add()
    await lab.turn([lab.end(await lab.claim(), 1)])
    assert await _told(lab, 1, JobState.FAILED) == (ReasonCode.EXIT, [ReasonCode.EXIT])
    lab.pass_time(10_000)
    claimed = await lab.claim()
    assert ((await lab.get(1)).reason, (await lab.get(1)).reason_code) == (None, None)
    await lab.turn([lab.end(claimed)])
    assert await _told(lab, 1, JobState.COMPLETED) == (None, [ReasonCode.EXIT, None])


@in_lab
async def test_crashes_and_stops(lab: Lab) -> None:
    await lab.add()
    await lab.turn([lab.end(await lab.claim(), None, kind=EndKind.INTERRUPTED)])
    for crash in range(4):
        await lab.turn([lab.end(await lab.claim(), None, kind=EndKind.CRASHED, words=f"crash {crash}")])
    codes = [ReasonCode.INTERRUPTED, *[ReasonCode.CRASHED] * 3, ReasonCode.CRASH_LIMIT]
    assert await _told(lab, 1, JobState.DEAD) == (ReasonCode.CRASH_LIMIT, codes)
    await lab.add(once=True)
    await lab.turn([lab.end(await lab.claim(), None, kind=EndKind.CRASHED)])
    assert await _told(lab, 2, JobState.DEAD) == (ReasonCode.INTERRUPTED, [ReasonCode.INTERRUPTED])


@in_lab
async def test_cancelled_waiting_or_running_by_a_parent_or_by_a_newer_job(lab: Lab) -> None:
    await lab.add()
    running = await lab.claim()
    await verbs.cancel(lab.store, [1], now=lab.now)
    await lab.turn([lab.end(running, None, kind=EndKind.SIGNALLED, signal=15)])
    assert await _told(lab, 1, JobState.CANCELLED) == (ReasonCode.CANCELLED, [ReasonCode.CANCELLED])
    await lab.add(hold=True, unique_key="u")
    await lab.add(depends_on=(("job_2", "completed"),))
    await lab.add(hold=True, unique_key="u", on_conflict="replace")
    assert await _told(lab, 2, JobState.CANCELLED) == (ReasonCode.CANCELLED, [])
    assert await _told(lab, 3, JobState.CANCELLED) == (ReasonCode.DEPENDENCY, [])
    told_at_once = await lab.add(depends_on=(("job_2", "completed"),))
    assert told_at_once.reason_code is ReasonCode.DEPENDENCY
    assert await _told(lab, 5, JobState.CANCELLED) == (ReasonCode.DEPENDENCY, [])


@in_lab
async def test_run_again_it_has_none(lab: Lab) -> None:
    await lab.add(retry=ONCE)
    await lab.turn([lab.end(await lab.claim(), 1)])
    await verbs.retry(lab.store, [1], now=lab.now)
    assert await _told(lab, 1, JobState.PENDING) == (None, [ReasonCode.EXIT])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {} SET reason = NULL",
        "UPDATE {} SET reason_code = NULL",
        "UPDATE {} SET reason = 'because'",
        "UPDATE {} SET reason_code = 'timeout'",
    ],
)
def test_the_schema_refuses_one_without_the_other(change: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add(retry=ONCE)
        await lab.turn([lab.end(await lab.claim(), 1)])
        with closing(sqlite3.connect(lab.path, isolation_level=None)) as connection:
            for table in ("job", "attempt"):
                with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                    connection.execute(change.format(table))

    scenario(tmp_path_factory.mktemp("h"))
