"""Arguments and results of the store besides jobs and attempts. Plain values; no SQL, no connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from queuectl_client.protocol.filters import Filter
from queuectl_client.protocol.selectors import Criteria, Last
from queuectl_client.protocol.vocabulary import ErrorCode, EventKind, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Claimed, Job, Now


class StoreRefused(Exception):
    """The store file was not opened: foreign, damaged, too new or inaccessible. It was not changed."""


class StoreFailed(Refused):
    """A disk error ended all writing. Pending requests were not acknowledged; no more are accepted."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INTERNAL, message)


class Due(NamedTuple):
    """When the next waiting job becomes due: the earliest in store time and in wall time."""

    store_ms: int | None
    wall_ms: int | None

    def is_past(self, now: Now) -> bool:
        """Whether one of the times has been reached."""
        return (self.store_ms is not None and self.store_ms <= now.store_ms) or (
            self.wall_ms is not None and self.wall_ms <= now.wall_ms
        )


class Event(NamedTuple):
    """A stored event. `detail` holds the rest of its keys."""

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
    """Result of one commit. `ready`: a job became startable, or a turn has more to do.

    `unfinished`: jobs of an upload have to be admitted, or children of an ended job resolved; a turn does some of
    that, whether or not a worker is free.

    `counts` and `queues` are what it changed, for the `LiveCounts`.
    """

    events: Sequence[Event]
    ready: bool
    due: Due
    unfinished: bool = False
    counts: Mapping[tuple[int, int, str, int], int] = {}
    queues: Sequence[tuple[int, str, bool]] = ()


class TimeAnchor(NamedTuple):
    """A reading of all clocks at one moment, from which store time continues after a restart."""

    boot_id: str
    boottime_ms: int
    wall_ms: int
    store_ms: int


class ResolvedSelector(NamedTuple):
    """The jobs that a selector matched on the reader thread, up to the number `upto`."""

    selector: Last | Criteria
    upto: int
    seqs: Sequence[int]


ResolvedSelectors = Mapping[str, ResolvedSelector]
"""By the text of the selector."""


class Added(NamedTuple):
    """Ids and sequence numbers of the jobs of one request, in its order."""

    ids: list[str]
    seqs: list[int]
    skipped: Sequence[int] = ()
    """Indexes of jobs that were skipped: their unique key was held by the job at that index."""


class AddedOne(NamedTuple):
    """The job of a request. `skipped`: it existed before; `replaced`: the id of the job it has replaced."""

    job: Job
    skipped: bool = False
    replaced: str | None = None


class AddedSummary(NamedTuple):
    """What a committed batch holds. An empty one has 0, 0, 0."""

    count: int  # type: ignore[assignment]  # the name on the wire; shadows tuple.count
    first_seq: int
    last_seq: int


class StoredOutcome(NamedTuple):
    """A stored outcome. `state` is the new state of the job; None: the outcome was repeated or too late."""

    seq: int
    run: int
    job_id: str | None
    state: JobState | None


class Turn(NamedTuple):
    """Result of a turn. `more`: another turn is needed now."""

    stored: list[StoredOutcome]
    claimed: list[Claimed]
    more: bool


class Cancelled(NamedTuple):
    """A cancelled job; `run` and `worker` are set if a worker still has to end it."""

    job: Job
    run: int | None
    worker: int | None


class JobName(NamedTuple):
    """Id and number of a job."""

    id: str
    seq: int


class Dependents(NamedTuple):
    """How many jobs waited for removed jobs: those that are `cancelled`, and those that do not wait for them now."""

    cancelled: int = 0
    freed: int = 0

    def __bool__(self) -> bool:
        return any(self)


class Removed(NamedTuple):
    """Removed jobs, their names, and the files of their output, which are to be deleted.

    `jobs` is empty in a brief result.
    """

    jobs: list[Job]
    names: list[JobName]
    files: list[str]
    dependents: Dependents = Dependents()


class ActionResult(NamedTuple):
    """Result of an action: the changed jobs as they are now, and the refusals of skipped ones.

    `jobs` is empty in a brief result. `running`: cancelled jobs that a worker still has to end. `files`: output to be
    deleted.
    """

    jobs: list[Job]
    names: list[JobName]
    refused: list[Refused]
    running: list[Cancelled]
    files: list[str]
    dependents: Dependents = Dependents()
    """Of removed jobs."""


class MoveTarget(NamedTuple):
    """Where to move a job: `first` or `last` of its queue, `before` a job (seq or id), to a `queue` by name."""

    end: str | None = None
    before: int | str | None = None
    queue: str | None = None


class Pruned(NamedTuple):
    """Number of removed jobs, and the files of their output, which are to be deleted."""

    count: int  # type: ignore[assignment]  # shadows tuple.count
    files: list[str]


MAX_LOOKED_AT: Final = 5_000
"""Jobs read for one page of a listing, so that a search for rare jobs among millions does not block others."""
FEW: Final = 100
"""Jobs of one request that goes before bulk requests; one with more lets shorter ones of other clients go first."""
DEFAULT_LIMIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which jobs to list. All conditions must hold; empty `states`: any.

    `after` is the `next` of the page before. `since_ms` is the earliest time of enqueueing, in Unix time; `now_ms` is
    the time of the query, from which a filter counts ages. `seqs`: of these jobs alone, in this order. `upto`: no
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
    """Something that holds a job back: a code, a sentence, until when (Unix ms), and because of which jobs."""

    rule: str
    words: str
    until_ms: int | None = None
    jobs: tuple[str, ...] = ()


class Explanation(NamedTuple):
    """Why a job does not run now. No rules: it starts in a moment.

    `position` is 1 for the next job, and a lower bound if `exact` is false; None: the job is not waiting in a lane or
    for its key. `starts_ms` is the earliest known start (Unix ms); None: it depends on others.
    """

    id: str
    state: JobState
    rules: list[Rule]
    position: int | None
    exact: bool
    starts_ms: int | None
    worker: int | None = None
    """The worker whose run of the job is not over."""


class PoolRow(NamedTuple):
    """A pool of workers. `wanted` is how many it should have; `job_seq` is set for a pool of one job alone."""

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
    """A processing job and its worker."""

    seq: int
    run: int
    worker: int
    id: str
