"""What the end of an execution makes of its job: every kind of end, every count."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.protocol.vocabulary import JobState, ReasonCode
from queuectld.domain import outcome, states
from queuectld.domain.outcome import EndKind, Outcome, Running, Transition
from queuectld.domain.reason import Reason
from queuectld.domain.retry import RetryPolicy

# interface.md, "reason_code is one of these words alone"
FAILURES = {"exit", "signal", "timeout", "stalled", "cannot-start", "crash-limit", "interrupted"}

POLICIES = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 1_000),
    backoff_base=st.floats(1, 1_000),
    backoff_max=st.floats(0.001, 1e6),
    backoff_jitter=st.floats(0, 1),
    retry_on=st.sampled_from([(), (1,), ("SIGKILL",)]),
    no_retry_on=st.sampled_from([(), (2,), ("TERM",)]),
)
RUNNING = st.builds(
    Running,
    seq=st.integers(1, 2**53),
    run=st.integers(1, 10_000),
    attempts=st.integers(0, 1_000),
    crashes=st.integers(0, 10),
    once=st.booleans(),
    retry=POLICIES,
)


def running(attempts: int = 0, crashes: int = 0, once: bool = False, max_retries: int = 3) -> Running:
    return Running(7, 4, attempts, crashes, once, RetryPolicy(max_retries, 2, 3_600))


def end(kind: EndKind = EndKind.EXITED, **fields: object) -> Outcome:
    return Outcome(seq=7, run=4, kind=kind, started_ms=1_000, finished_ms=2_000, **fields)  # type: ignore[arg-type]


ENDS = st.one_of(
    st.integers(0, 255).map(lambda code: end(EndKind.EXITED, exit_code=code)),
    st.integers(1, 64).map(lambda number: end(EndKind.SIGNALLED, signal=number)),
    st.sampled_from([EndKind.TIMED_OUT, EndKind.STALLED]).map(lambda kind: end(kind, signal=15)),
    st.just(end(EndKind.CANNOT_START, exit_code=127, words="no such file: nope")),
)


def begins_with_its_code(reason: Reason) -> bool:
    return reason.code in FAILURES and reason.text.startswith(reason.code)


def test_exit_0_completes() -> None:
    assert outcome.after_end(running(attempts=1, crashes=2), end(exit_code=0)) == Transition(
        seq=7, run=4, to=JobState.COMPLETED, attempts=1, crashes=2, reason=None, delay_ms=None
    )


def test_a_failure_waits_for_its_backoff() -> None:
    change = outcome.after_end(running(attempts=1), end(exit_code=3))
    reason = Reason(ReasonCode.EXIT, "exit 3")
    assert change == Transition(7, 4, JobState.FAILED, attempts=2, crashes=0, reason=reason, delay_ms=4_000)


def test_the_last_failure_is_dead() -> None:
    change = outcome.after_end(running(attempts=2), end(exit_code=127, words="not found"))
    reason = Reason(ReasonCode.EXIT, "exit 127: not found")
    assert change == Transition(7, 4, JobState.DEAD, attempts=3, crashes=0, reason=reason, delay_ms=None)


@pytest.mark.parametrize("max_retries", [0, 1])
def test_no_retries_means_one_execution(max_retries: int) -> None:
    assert outcome.after_end(running(max_retries=max_retries), end(exit_code=1)).to is JobState.DEAD


@pytest.mark.parametrize("kind", [EndKind.TIMED_OUT, EndKind.STALLED, EndKind.SIGNALLED, EndKind.CANNOT_START])
def test_exit_code_0_alone_is_no_success(kind: EndKind) -> None:
    """A shell that traps TERM may exit 0 after its timeout."""
    assert not end(kind, exit_code=0).succeeded
    assert outcome.after_end(running(), end(kind, exit_code=0)).to is JobState.FAILED


def test_a_crash_is_no_failed_attempt() -> None:
    change = outcome.after_crash(running(attempts=1, crashes=1), crash_limit=3, words="worker w2 died")
    assert change == Transition(7, 4, JobState.PENDING, attempts=1, crashes=2, reason=None, delay_ms=0)


def test_past_the_crash_limit_it_is_dead() -> None:
    assert outcome.after_crash(running(crashes=2), crash_limit=3, words="").to is JobState.PENDING
    change = outcome.after_crash(running(attempts=1, crashes=3), crash_limit=3, words="worker w2 died")
    assert change.to is JobState.DEAD
    assert (change.attempts, change.crashes, change.delay_ms) == (1, 4, None)
    assert change.reason is not None
    assert change.reason.code is ReasonCode.CRASH_LIMIT
    assert "worker w2 died" in change.reason.text


def test_a_limit_of_none_makes_the_first_crash_the_last() -> None:
    assert outcome.after_crash(running(), crash_limit=0, words="").to is JobState.DEAD


def test_a_once_job_never_runs_a_second_time_after_a_crash() -> None:
    change = outcome.after_crash(running(once=True), crash_limit=3, words="worker w2 died")
    assert change.to is JobState.DEAD
    assert change.reason is not None
    assert change.reason.code is ReasonCode.INTERRUPTED


def test_a_once_job_that_fails_is_retried_like_any_other() -> None:
    assert outcome.after_end(running(once=True), end(exit_code=1)).to is JobState.FAILED


def test_a_claim_that_never_reached_its_worker_counts_nowhere() -> None:
    change = outcome.after_failed_start(running(attempts=1, crashes=3, once=True))
    assert change == Transition(7, 4, JobState.PENDING, attempts=1, crashes=3, reason=None, delay_ms=0)


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (end(exit_code=1), "exit 1"),
        (end(EndKind.SIGNALLED, signal=9), "signal 9 (SIGKILL)"),
        (end(EndKind.SIGNALLED, signal=9, words="out of memory"), "signal 9 (SIGKILL): out of memory"),
        (end(EndKind.TIMED_OUT, signal=15, words="after 2 s"), "timeout: after 2 s"),
        (end(EndKind.STALLED), "stalled"),
        (end(EndKind.CANNOT_START, exit_code=127, words="no folder /gone"), "cannot-start: no folder /gone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reasons(ending: Outcome, reason: str) -> None:
    assert outcome.failure_reason(ending) == Reason(ReasonCode(ending.kind), reason)


@pytest.mark.parametrize("number", [number for number in range(1, 65) if number not in (32, 33)])
def test_every_signal_has_a_name(number: int) -> None:
    name = outcome.signal_name(number)
    assert name is not None
    assert name.startswith("SIG")
    if number < signal.SIGRTMIN:
        assert getattr(signal, name) == number


def test_no_signal_has_no_name() -> None:
    assert outcome.signal_name(None) is None


def test_every_kind_of_end_has_the_code_of_its_reason() -> None:
    assert {str(kind) for kind in EndKind} <= set(ReasonCode)
    assert str(outcome.failure_reason(end(EndKind.CRASHED, words="worker w2 died")).text) == "crashed: worker w2 died"


@given(RUNNING, ENDS, st.floats(0, 1))
def test_every_end_leads_where_the_table_allows(job: Running, ending: Outcome, chance: float) -> None:
    change = outcome.after_end(job, ending, chance=chance)
    assert (change.seq, change.run) == (job.seq, job.run)
    assert states.may_follow(JobState.PROCESSING, change.to)
    assert change.crashes == job.crashes
    assert change.attempts == job.attempts + (change.to is not JobState.COMPLETED)
    assert (change.delay_ms is None) is states.has_ended(change.to)
    assert (change.reason is None) is (change.to is JobState.COMPLETED)
    assert change.reason is None or begins_with_its_code(change.reason)
    if change.to is JobState.FAILED:
        assert change.attempts < max(job.retry.max_retries, 1)


@given(RUNNING, st.integers(0, 10))
def test_every_crash_leads_where_the_table_allows(job: Running, crash_limit: int) -> None:
    change = outcome.after_crash(job, crash_limit=crash_limit, words="the machine went down")
    assert (change.seq, change.run) == (job.seq, job.run)
    assert states.may_follow(JobState.PROCESSING, change.to)
    assert (change.attempts, change.crashes) == (job.attempts, job.crashes + 1)
    assert (change.to is JobState.DEAD) is (job.once or change.crashes > crash_limit)
    assert change.reason is None or begins_with_its_code(change.reason)


@given(RUNNING, ENDS)
def test_a_job_is_run_a_bounded_number_of_times(job: Running, ending: Outcome) -> None:
    """Fed with its own results, a job that fails each time is dead after `max_retries` failures."""
    executions = 0
    job = job._replace(attempts=0)
    change = outcome.after_end(job, ending)
    while change.to is JobState.FAILED:
        executions += 1
        assert executions <= job.retry.max_retries
        change = outcome.after_end(job._replace(attempts=change.attempts), ending)
    assert states.has_ended(change.to)
