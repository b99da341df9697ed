"""Jobs: as submitted, as stored, as claimed.

Text that came from a command line or an environment may hold bytes that are not UTF-8.
In memory it is a `str` with those bytes as surrogate escapes (PEP 383), as Python's own
`os.fsdecode` gives it; the store and the wire convert it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from queuectl_client.protocol.vocabulary import JobState, ReasonCode
from queuectld.domain.retry import RetryPolicy

Command = str | tuple[str, ...]
"""A shell command, or an argv that runs without a shell."""


class Now(NamedTuple):
    """One reading of the clocks, in milliseconds.

    `wall_ms` is Unix time, for display and for `run_at`. `store_ms` never steps: it goes
    on with CLOCK_BOOTTIME within a boot and by the wall clock's forward difference across boots.
    """

    wall_ms: int
    store_ms: int


class Dependency(NamedTuple):
    """A job that has to end first. `on` is `completed`, `dead` (or cancelled) or `any`."""

    seq: int
    on: str


class Options(NamedTuple):
    """Options of a job, fixed when it is enqueued; only `edit` changes them. Durations are in milliseconds.

    Each is stored in the column of its name (`store.mapping.jobrows`). Those that clients set are the `field` of an
    attribute (`protocol.attributes`).
    """

    retry: RetryPolicy
    name: str | None = None
    labels: Mapping[str, str] = {}
    timeout_ms: int | None = None
    stall_timeout_ms: int | None = None
    kill_grace_ms: int = 10_000
    cwd: str = "/"
    umask: int = 0o077
    env: Mapping[str, str] = {}
    """Overrides the submitter's environment when the job runs."""
    stdin: str | None = None
    unique_key: str | None = None
    on_conflict: str = "error"
    key: str | None = None
    key_limit: int = 1
    slots: int = 1
    needs: Mapping[str, int] = {}
    once: bool = False
    split_output: bool = False
    stdin_open: bool = False
    """Whether more than `stdin` can be sent to it while it runs."""

    def __repr__(self) -> str:
        """Without env and stdin, which often hold secrets."""
        return f"Options(name={self.name!r}, cwd={self.cwd!r})"


PROCESS_OPTIONS: Final = (
    "cwd", "umask", "env", "stdin", "timeout_ms", "stall_timeout_ms", "kill_grace_ms", "split_output", "stdin_open",
)  # fmt: skip
"""Options that are sent to the worker; only the daemon needs the others."""


class NewJob(NamedTuple):
    """A job to be stored.

    `delay_ms` counts from the moment it is stored; `run_at_ms` is Unix time. `environment` is the submitter's whole
    environment, shared by content. A NamedTuple, because a frozen dataclass takes ten times as long to create.
    """

    command: Command
    options: Options
    id: str | None = None
    queue: str = "default"
    priority: int = 0
    delay_ms: int = 0
    run_at_ms: int | None = None
    environment: Mapping[str, str] = {}
    depends_on: tuple[tuple[str, str], ...] = ()
    """Pairs of an id, `batch:NAME` or a selector, and `completed`, `dead` or `any`."""
    resolved: Mapping[str, Any] = {}
    """By selector in `depends_on`: the jobs it matched (`store.records.ResolvedSelector`)."""
    batch: str | None = None
    """The named batch of the job, for jobs that depend on all of it."""
    hold: bool = False

    def __repr__(self) -> str:
        """Without environment and options."""
        return f"NewJob({self.command!r}, id={self.id!r}, queue={self.queue!r})"


class Job(NamedTuple):
    """A stored job. Times are Unix time in milliseconds, durations milliseconds.

    `run` is the number of the execution it is in or was last in, growing by one with each claim; with `seq`
    it fences every late result. `runs` counts the executions that really began. `due_ms` is in store time.
    """

    command: Command
    options: Options
    state: JobState
    seq: int
    id: str
    queue: str
    priority: int
    rank: float
    """Orders jobs of one priority; the seq, until the job is moved."""
    attempts: int
    run: int
    runs: int
    crashes: int
    created_ms: int
    updated_ms: int
    run_at_ms: int | None = None
    due_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    worker: int | None = None
    batch: str | None = None
    ready: bool = False
    """Whether it only waits for a free worker and the limits of its queue."""
    paused: bool = False
    reason_code: ReasonCode | None = None
    depends_on: tuple[tuple[str, str], ...] = ()
    granted: Mapping[str, tuple[int, ...]] = {}
    """The numbered resources of its last run."""

    def __repr__(self) -> str:
        """Without options."""
        return f"Job({self.command!r}, id={self.id!r}, seq={self.seq}, state={self.state}, run={self.run})"


class Claimed(NamedTuple):
    """What a worker needs to run a claimed job, straight from the claim."""

    seq: int
    id: str
    run: int
    attempt: int
    """1 for the first execution: the number of failures so far, plus one."""
    worker: int
    queue: str
    command: Command
    environment_id: int
    options: Options
    """`env` includes the variables that name the granted resources."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One ended execution of a job. `output` says where its output is."""

    seq: int
    run: int
    attempt: int
    worker: int | None
    host: str
    started_ms: int
    finished_ms: int
    duration_ms: int
    exit_code: int | None
    signal: int | None
    reason: str | None
    reason_code: ReasonCode | None
    crashed: bool
    pid: int | None
    user_us: int | None
    system_us: int | None
    max_rss_kib: int | None
    left_behind: str | None
    output: Mapping[str, "Output"] = field(default_factory=dict)
    """By stream: `both`, or `stdout` and `stderr` if they were split."""


class Output(NamedTuple):
    """The output of one stream of one attempt.

    Small output is `inline`; otherwise `files` lists the pieces kept, as (path below the log
    folder, offset of its first byte, length), oldest first. `size` counts every byte ever written.
    """

    size: int
    inline: bytes | None
    files: tuple[tuple[str, int, int], ...] = ()

    @property
    def dropped(self) -> int:
        """Number of bytes that are not kept."""
        kept = len(self.inline) if self.inline is not None else sum(length for _, _, length in self.files)
        return max(0, self.size - kept)
