"""What the store takes and hands out besides jobs and attempts. Plain values; no SQL, no connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from queuectl_client.protocol.filters import Filter
from queuectl_client.protocol.selectors import Criteria, Last
from queuectl_client.protocol.vocabulary import ErrorCode, EventKind, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Claimed, Job, Now


class StoreRefused(Exception):
    """The store file is not opened: foreign, damaged, too new, or out of reach. It was left as it is."""


class StoreFailed(Refused):
    """The disk gave an error that no repeat can mend. Nothing that waited was acknowledged; nothing more is taken."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INTERNAL, message)


class Due(NamedTuple):
    """When the next waiting job comes due: the earliest in store time and the earliest in wall time."""

    store_ms: int | None
    wall_ms: int | None

    def is_past(self, now: Now) -> bool:
        """Whether one of the two is not in the future."""
        return (self.store_ms is not None and self.store_ms <= now.store_ms) or (
            self.wall_ms is not None and self.wall_ms <= now.wall_ms
        )


class Event(NamedTuple):
    """Something that happened, as it is kept. `detail` holds the rest of the event's keys."""

    event_seq: int
    time_ms: int
    kind: EventKind
    job_id: str | None
    seq: int | None
    queue: str | None
    run: int | None
    worker: int | None
    detail: Mapping[str, Any]


class Committed(NamedTuple):
    """What one commit made true. `ready`: a job became startable, or there is more for a turn to do.

    `unfinished`: jobs of a batch wait to be let in, or children of an ended job to be told; a turn does some of them,
    whether or not a worker is free.

    `counts` and `queues` are what it changed, for the `LiveCounts`.
    """

    events: Sequence[Event]
    ready: bool
    due: Due
    unfinished: bool = False
    counts: Mapping[tuple[int, int, str, int], int] = {}
    queues: Sequence[tuple[int, str, bool]] = ()


class TimeAnchor(NamedTuple):
    """One reading of all clocks together, by which store time goes on after a restart."""

    boot_id: str
    boottime_ms: int
    wall_ms: int
    store_ms: int


class ResolvedSelector(NamedTuple):
    """What a selector named in a first look: jobs up to the number `upto`."""

    selector: Last | Criteria
    upto: int
    seqs: Sequence[int]


ResolvedSelectors = Mapping[str, ResolvedSelector]
"""By what was written."""


class Added(NamedTuple):
    """Ids and sequence numbers of the jobs of one request, in its order."""

    ids: list[str]
    seqs: list[int]
    skipped: Sequence[int] = ()
    """The places, from 0, of those that were there before: they have the unique key that was asked for."""


class AddedOne(NamedTuple):
    """The job of a request. `skipped`: it was there before; `replaced`: the id of the one whose place it has taken."""

    job: Job
    skipped: bool = False
    replaced: str | None = None


class AddedSummary(NamedTuple):
    """What a committed batch holds. An empty one has 0, 0, 0."""

    count: int  # type: ignore[assignment]  # the name is the wire's; nobody counts in this tuple
    first_seq: int
    last_seq: int


class StoredOutcome(NamedTuple):
    """An outcome that is on disk. `state` is what became of the job; None: it was known, or too late to matter."""

    seq: int
    run: int
    job_id: str | None
    state: JobState | None


class Turn(NamedTuple):
    """What one turn did. `more`: another one is worth taking now."""

    stored: list[StoredOutcome]
    claimed: list[Claimed]
    more: bool


class Cancelled(NamedTuple):
    """A job that was cancelled; `run` and `worker` are set when a worker still has to end it."""

    job: Job
    run: int | None
    worker: int | None


class JobName(NamedTuple):
    """A job, and no more of it than what it is called."""

    id: str
    seq: int


class Removed(NamedTuple):
    """Jobs that are gone, what they were called, and the files with their output, which are now nobody's.

    There are no `jobs` where nobody wants more than their names.
    """

    jobs: list[Job]
    names: list[JobName]
    files: list[str]


class ActionResult(NamedTuple):
    """The jobs it was done to, as they are now, and why it was not done to others.

    There are no `jobs` where nobody wants more than their names. `running`: those cancelled that a worker has still to
    end. `files`: output that is now nobody's.
    """

    jobs: list[Job]
    names: list[JobName]
    refused: list[Refused]
    running: list[Cancelled]
    files: list[str]


class MoveTarget(NamedTuple):
    """Where a job is to go: `first` or `last` of its queue, `before` a job (its seq or id), to a `queue` by name."""

    end: str | None = None
    before: int | str | None = None
    queue: str | None = None


class Pruned(NamedTuple):
    """How many jobs are gone, and the files with their output, which are now nobody's."""

    count: int  # type: ignore[assignment]  # nobody counts in this tuple
    files: list[str]


MAX_LOOKED_AT: Final = 5_000
"""Jobs that one page of a listing looks at, so that a rare kind of job among millions keeps nobody waiting."""
DEFAULT_LIMIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which jobs to list. Everything given must hold; `states` empty: any.

    `after` is the `next` of the page before. `since_ms` is the earliest time of enqueueing, in Unix time; `now_ms` is
    the time of the question, from which a filter counts ages. `seqs`: of these jobs alone, in this order. `upto`: no
    job with a higher number. `name` may be a pattern, as in a filter.
    """

    states: frozenset[JobState] = frozenset()
    queue: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    batch: str | None = None
    since_ms: int | None = None
    where: Filter | None = None
    now_ms: int = 0
    seqs: Sequence[int] | None = None
    newest_first: bool = False
    after: str | None = None
    upto: int | None = None
    limit: int = DEFAULT_LIMIT


class Page(NamedTuple):
    """One page of a listing. `next` is where the next one starts; None: this was the last."""

    jobs: list[Job]
    next: str | None


class Rows(NamedTuple):
    """One page of a listing of a few keys. Times are Unix time in milliseconds, durations milliseconds."""

    rows: list[tuple[Any, ...]]
    next: str | None


class Counts(NamedTuple):
    """How many jobs there are, by state; how many are ready, by queue; which queues are paused."""

    by_state: dict[JobState, int]
    ready: dict[str, int]
    paused: list[str]

    @property
    def is_quiet(self) -> bool:
        """Whether no job is about to run, running, or failed and about to run again."""
        if self.by_state[JobState.PROCESSING] or self.by_state[JobState.FAILED]:
            return False
        paused = set(self.paused)
        return all(queue in paused for queue in self.ready)


class QueueRow(NamedTuple):
    """A queue and how many jobs of each state are in it."""

    name: str
    paused: bool
    paused_because: str | None
    concurrency: int | None
    rate: str | None
    failure_limit: int | None
    failures: int
    counts: Mapping[JobState, int]
    ready: int


class Rule(NamedTuple):
    """Something that holds a job back: a word for programs, a sentence, until when (Unix ms), and because of whom."""

    rule: str
    words: str
    until_ms: int | None = None
    jobs: tuple[str, ...] = ()


class Explanation(NamedTuple):
    """Why a job does not run now. No rules: it starts in a moment.

    `position` is its place in line, 1 for the next one, and at least that where `exact` is false; None: it stands in
    no line. `starts_ms` is the earliest moment (Unix ms) that is known; None: it depends on others.
    """

    id: str
    state: JobState
    rules: list[Rule]
    position: int | None
    exact: bool
    starts_ms: int | None
    worker: int | None = None
    """Whose run of it is not over."""


class PoolRow(NamedTuple):
    """A pool of workers. `wanted` is how many it is to have; `job_seq` is set for a pool of one job alone."""

    id: int
    kind: str
    wanted: int
    job_seq: int | None
    created_ms: int


class WorkerRow(NamedTuple):
    """A worker that was added and has not ended, as stored. `number` counts within its pool."""

    id: int
    pool: int
    number: int
    host: str
    pid: int | None
    start_time: int | None
    boot_id: str | None
    started_ms: int


class Busy(NamedTuple):
    """A processing job and who has it."""

    seq: int
    run: int
    worker: int
    id: str
