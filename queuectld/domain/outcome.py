"""Outcomes of executions, and the job transitions that follow from them."""

import signal
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from queuectl_client.protocol.vocabulary import JobState, ReasonCode
from queuectld.domain.job import Output
from queuectld.domain.reason import Reason
from queuectld.domain.retry import RetryPolicy


class EndKind(StrEnum):
    """How an execution ended. The values are reason codes."""

    EXITED = ReasonCode.EXIT
    SIGNALLED = ReasonCode.SIGNAL
    TIMED_OUT = ReasonCode.TIMEOUT
    STALLED = ReasonCode.STALLED
    CANNOT_START = ReasonCode.CANNOT_START
    CRASHED = ReasonCode.CRASHED
    """Its worker, the daemon or the machine crashed."""
    INTERRUPTED = ReasonCode.INTERRUPTED
    """A user stopped its worker or the daemon without waiting for it."""


class Survivor(NamedTuple):
    """A process that survived its run. `denied`: signalling it is not permitted; else SIGKILL did not end it."""

    pid: int
    start_time: int
    """Clock ticks since boot, as in proc(5)."""
    boot_id: str
    session: int
    name: str
    denied: bool

    @property
    def words(self) -> str:
        """Why it is still alive."""
        which = f"pid {self.pid} ({self.name})"
        return f"not permitted to signal {which}" if self.denied else f"{which} does not end on KILL"


class Outcome(NamedTuple):
    """The end of execution `run` of job `seq`, as reported by its worker (or by recovery, after a crash).

    Times are Unix time in milliseconds; `duration_ms` was measured on a clock that does not step.
    `exit_code` or `signal` is from wait4(2); `words` give details, such as why it could not start.
    """

    seq: int
    run: int
    kind: EndKind
    started_ms: int
    finished_ms: int
    duration_ms: int = 0
    exit_code: int | None = None
    signal: int | None = None
    words: str = ""
    worker: int | None = None
    pid: int | None = None
    user_us: int | None = None
    system_us: int | None = None
    max_rss_kib: int | None = None
    left_behind: str | None = None
    survivors: tuple[Survivor, ...] = ()
    """Processes that could not be ended; the job does not run again while they live."""
    output: Mapping[str, Output] = {}

    @property
    def succeeded(self) -> bool:
        """Whether this completes the job: it exited with code 0."""
        return self.kind is EndKind.EXITED and self.exit_code == 0


class Running(NamedTuple):
    """The fields of a processing job that decide its next transition."""

    seq: int
    run: int
    attempts: int
    crashes: int
    once: bool
    retry: RetryPolicy


class Transition(NamedTuple):
    """A transition of a job out of `processing`, to be written if `(seq, run)` still matches.

    `delay_ms` is the time until it may run again (None: it has ended). `crashes` and `attempts` are the new totals.
    """

    seq: int
    run: int
    to: JobState
    attempts: int
    crashes: int
    reason: Reason | None
    delay_ms: int | None


def apply_outcome(job: Running, outcome: Outcome, *, crash_limit: int, chance: float = 0.0) -> Transition:
    """Return the transition that follows from an outcome of any kind."""
    match outcome.kind:
        case EndKind.CRASHED:
            return after_crash(job, crash_limit=crash_limit, words=outcome.words or "its worker died")
        case EndKind.INTERRUPTED:
            return after_interruption(job, words=outcome.words or "its worker was stopped")
        case _:
            return after_end(job, outcome, chance=chance)


def after_end(job: Running, outcome: Outcome, *, chance: float = 0.0) -> Transition:
    """Return the transition after an execution that has ended or was ended.

    Completed after exit code 0; else failed, if a retry is left; else dead.
    `chance` (0 to 1) is the random part of the backoff's jitter.
    """
    if outcome.succeeded:
        return Transition(job.seq, job.run, JobState.COMPLETED, job.attempts, job.crashes, None, None)
    attempts = job.attempts + 1
    reason = failure_reason(outcome)
    if job.retry.allows(attempts, outcome.exit_code, signal_name(outcome.signal)):
        delay_ms = job.retry.backoff_ms(attempts, chance)
        return Transition(job.seq, job.run, JobState.FAILED, attempts, job.crashes, reason, delay_ms)
    return Transition(job.seq, job.run, JobState.DEAD, attempts, job.crashes, reason, None)


def after_crash(job: Running, *, crash_limit: int, words: str) -> Transition:
    """Return the transition after a crash of worker, daemon or machine, which is not a failed attempt.

    Back to pending; past `crash_limit` crashes dead; a `once` job is dead at once.
    """
    crashes = job.crashes + 1
    if job.once:
        reason = Reason.of(ReasonCode.INTERRUPTED, f"{words}, and the job may run only once")
        return Transition(job.seq, job.run, JobState.DEAD, job.attempts, crashes, reason, None)
    if crashes > crash_limit:
        reason = Reason.of(ReasonCode.CRASH_LIMIT, f"{words}; {crashes} crashes, {crash_limit} are allowed")
        return Transition(job.seq, job.run, JobState.DEAD, job.attempts, crashes, reason, None)
    return Transition(job.seq, job.run, JobState.PENDING, job.attempts, crashes, None, 0)


def after_interruption(job: Running, *, words: str) -> Transition:
    """Return the transition after a user stopped the worker: neither a failure nor a crash, so pending again.

    A `once` job has started and may not run again: dead.
    """
    if job.once:
        reason = Reason.of(ReasonCode.INTERRUPTED, f"{words}, and the job may run only once")
        return Transition(job.seq, job.run, JobState.DEAD, job.attempts, job.crashes, reason, None)
    return Transition(job.seq, job.run, JobState.PENDING, job.attempts, job.crashes, None, 0)


def after_failed_start(job: Running) -> Transition:
    """Return the transition of a claim that never reached its worker: pending again."""
    return Transition(job.seq, job.run, JobState.PENDING, job.attempts, job.crashes, None, 0)


def failure_reason(outcome: Outcome) -> Reason:
    """Return the reason of a failed execution."""
    code = ReasonCode(outcome.kind)
    match outcome.kind:
        case EndKind.SIGNALLED:
            text = f"{code} {outcome.signal} ({signal_name(outcome.signal)})" if outcome.signal else str(code)
        case EndKind.EXITED:
            text = f"{code} {outcome.exit_code}"
        case _:
            text = str(code)
    return Reason(code, f"{text}: {outcome.words}" if outcome.words else text)


def signal_name(number: int | None) -> str | None:
    """Return the name of a signal, such as SIGKILL for 9; real-time signals as SIGRTMIN+n."""
    if number is None:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
