"""What the end of an execution makes of its job: one constructor per change."""

import signal
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from queuectl_client.protocol.vocabulary import JobState, ReasonCode
from queuectld.domain.job import Output
from queuectld.domain.reason import Reason
from queuectld.domain.retry import RetryPolicy


class EndKind(StrEnum):
    """How an execution ended. Each is the code of the reason that it gives, where nothing else is one."""

    EXITED = ReasonCode.EXIT
    SIGNALLED = ReasonCode.SIGNAL
    TIMED_OUT = ReasonCode.TIMEOUT
    STALLED = ReasonCode.STALLED
    CANNOT_START = ReasonCode.CANNOT_START
    CRASHED = ReasonCode.CRASHED
    """Its worker, the daemon or the machine went down under it."""
    INTERRUPTED = ReasonCode.INTERRUPTED
    """A person stopped its worker or the daemon without waiting for it."""


class Survivor(NamedTuple):
    """A process that outlived its run. `denied`: it may not be signalled; else it does not end on KILL."""

    pid: int
    start_time: int
    """Clock ticks since the boot of this id, as proc(5) tells it."""
    boot_id: str
    session: int
    name: str
    denied: bool

    @property
    def words(self) -> str:
        """Why it lives on."""
        which = f"pid {self.pid} ({self.name})"
        return f"not permitted to signal {which}" if self.denied else f"{which} does not end on KILL"


class Outcome(NamedTuple):
    """The end of execution `run` of job `seq`, as its worker tells it (or recovery, of a crash).

    Times are Unix time in milliseconds; `duration_ms` was measured on a clock that does not step.
    `exit_code` or `signal` is what `wait4` said; `words` tell a person more, such as why it could not start.
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
    """Those left behind that were to be ended and could not be; the job does not run again while they live."""
    output: Mapping[str, Output] = {}

    @property
    def succeeded(self) -> bool:
        """Whether this completes the job: it ended by itself with exit code 0."""
        return self.kind is EndKind.EXITED and self.exit_code == 0


class Running(NamedTuple):
    """What of a processing job decides what its end makes of it."""

    seq: int
    run: int
    attempts: int
    crashes: int
    once: bool
    retry: RetryPolicy


class Transition(NamedTuple):
    """A transition of one job out of `processing`, to be written where `(seq, run)` still stand so.

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
    """What `outcome` makes of the job, whatever kind of end it was."""
    match outcome.kind:
        case EndKind.CRASHED:
            return after_crash(job, crash_limit=crash_limit, words=outcome.words or "its worker died")
        case EndKind.INTERRUPTED:
            return after_interruption(job, words=outcome.words or "its worker was stopped")
        case _:
            return after_end(job, outcome, chance=chance)


def after_end(job: Running, outcome: Outcome, *, chance: float = 0.0) -> Transition:
    """What an execution that ended by itself, or was ended, makes of its job.

    Completed with exit code 0; else failed until its backoff is over; else dead.
    `chance` (0 to 1) is the dice of the backoff's jitter.
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
    """What a crash of worker, daemon or machine makes of the job that was running: no failed attempt.

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
    """What a stop by a person's hand makes of a running job: neither a failure nor a crash, so pending as before.

    A `once` job has begun and may not run again: dead.
    """
    if job.once:
        reason = Reason.of(ReasonCode.INTERRUPTED, f"{words}, and the job may run only once")
        return Transition(job.seq, job.run, JobState.DEAD, job.attempts, job.crashes, reason, None)
    return Transition(job.seq, job.run, JobState.PENDING, job.attempts, job.crashes, None, 0)


def after_failed_start(job: Running) -> Transition:
    """A claim that never reached its worker: pending as before, and counted nowhere."""
    return Transition(job.seq, job.run, JobState.PENDING, job.attempts, job.crashes, None, 0)


def failure_reason(outcome: Outcome) -> Reason:
    """Why the execution failed."""
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
    """SIGKILL for 9; real-time signals as SIGRTMIN+n."""
    if number is None:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
