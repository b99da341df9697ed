"""The job service: add, list and wait for jobs, send input. `commands` changes existing jobs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from queuectl_client.protocol import filters
from queuectl_client.protocol.filters import Filter
from queuectl_client.protocol.jobspec import JobSpec
from queuectl_client.protocol.messages import JobWait, ListJobs
from queuectl_client.protocol.submissions import Submitter
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld import failpoints
from queuectld.domain.errors import Refused
from queuectld.domain.job import Attempt, Job, NewJob
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs import criteria, dependency_selectors, selection, stdin
from queuectld.scheduler.jobs.commands import JobCommands, RemoveFiles
from queuectld.scheduler.jobs.submission import Submission
from queuectld.scheduler.jobs.wait_calls import WaitPage, WaitService
from queuectld.scheduler.run_control import RunControl
from queuectld.scheduler.settings import ConfigService
from queuectld.store.records import Added, AddedOne, AddedSummary, ListQuery, Page, Rows
from queuectld.store.store import Store


def _where(request: ListJobs) -> Filter | None:
    parts = [] if request.filter is None else [filters.parse(request.filter)]
    parts += [] if request.ended_since is None else [criteria.ended_since(request.ended_since)]
    parts += [] if request.reason is None else criteria.with_reason(request.reason)
    return selection.all_of(*parts)


class Status(NamedTuple):
    """Summary of the queue. `workers`: those that take jobs, without draining ones and those that wait for a client."""

    counts: dict[JobState, int]
    workers: int
    paused: list[str]
    event_seq: int


class JobService:
    """Job methods. A method that changes something returns after its commit, or raises Refused and changes nothing."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        clock: Clock,
        config: ConfigService,
        runs: RunControl,
        remove_files: RemoveFiles,
        is_draining: Callable[[], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._runs = runs
        self.commands = JobCommands(store, clock, config, runs, remove_files, is_draining)
        self._waits = WaitService(store, bus)

    async def enqueue(self, spec: JobSpec, submitter: Submitter, request: str | None) -> AddedOne:
        """Store one job. A repeated `request` token returns the job stored the first time."""
        seen = await dependency_selectors.first_look(self._store, (spec.depends_on,)) if spec.depends_on else None
        new = Submission(self._config.value, seen).new_job(spec, submitter)
        failpoints.reached("enqueue.received")
        added = await self._store.intake.add(new, now=self._clock.now(), request=request)
        failpoints.reached("enqueue.stored")
        return added

    async def enqueue_many(
        self, specs: Sequence[JobSpec], submitters: Sequence[Submitter], request: str | None
    ) -> Added:
        """Store all of the jobs, or none."""
        new = await self._new_jobs(specs, submitters)
        return await self._store.intake.add_many(new, now=self._clock.now(), request=request)

    async def batch_open(self) -> str:
        """Open a batch and return its token."""
        return await self._store.intake.open_upload(now=self._clock.now())

    async def batch_add(self, token: str, specs: Sequence[JobSpec], submitters: Sequence[Submitter]) -> Added:
        """Store more jobs of an open batch; they stay invisible until its commit."""
        new = await self._new_jobs(specs, submitters)
        added = await self._store.intake.add_to_upload(token, new, now=self._clock.now())
        failpoints.reached("batch.added")
        return added

    async def batch_commit(self, token: str, request: str | None) -> AddedSummary:
        """Commit a batch: all of its jobs become visible at once."""
        summary = await self._store.intake.commit_upload(token, now=self._clock.now(), request=request)
        failpoints.reached("batch.committed")
        return summary

    async def batch_discard(self, token: str) -> None:
        """Discard an open batch and its jobs."""
        await self._store.intake.discard_upload(token)

    async def status(self) -> Status:
        """Return counts by state and the number of workers that take jobs."""
        counts = await self._store.counts()
        return Status(counts.by_state, self._runs.capacity().slots, counts.paused, self._store.last_event_seq)

    async def page(self, request: ListJobs) -> Page:
        """Return one page of jobs, oldest or newest first; named jobs in the order named."""
        return await self._store.queries.page(await self._listing(request))

    async def rows(self, request: ListJobs, keys: Sequence[str]) -> Rows:
        """Like `page`, but only these keys of each job."""
        return await self._store.queries.rows(await self._listing(request), keys)

    async def _listing(self, request: ListJobs) -> ListQuery:
        seqs = request.seqs if request.ids is None else await selection.resolve_all(self._store, request.ids)
        query = ListQuery(
            states=frozenset(request.state or ()),
            queue=request.queue,
            labels=request.label or {},
            name=request.name,
            batch=request.batch,
            since_ms=request.since,
            where=_where(request),
            now_ms=self._clock.now().wall_ms,
            seqs=seqs,
            newest_first=request.order == "newest",
            after=request.after,
            limit=request.limit,
        )
        if request.sort is None:
            return query
        return await self._store.queries.first_by(query, request.sort, descending=request.descending)

    async def get(self, ref: str) -> tuple[Job, list[Attempt]]:
        """Return a job and its ended attempts, oldest first."""
        seq = await selection.resolve_one(self._store, ref)
        jobs = await selection.load(self._store, [seq])
        if not jobs:
            raise Refused(ErrorCode.NOT_FOUND, f"no such job: {ref!r}", {"id": ref})
        return jobs[0], await self._store.queries.attempts(seq)

    def wait(self, request: JobWait) -> Awaitable[WaitPage]:
        """Wait for jobs to end; see `WaitService.wait`."""
        return self._waits.wait(request)

    async def send(self, ref: str, data: bytes, *, eof: bool) -> Job:
        """Write to the stdin of a running job; `eof` closes it. Returns once the worker has the data."""
        return await stdin.send(self._store, self._runs, ref, data, eof=eof)

    async def _new_jobs(self, specs: Sequence[JobSpec], submitters: Sequence[Submitter]) -> list[NewJob]:
        seen = await dependency_selectors.first_look(self._store, (spec.depends_on for spec in specs))
        submission = Submission(self._config.value, seen)
        return [submission.new_job(spec, by) for spec, by in zip(specs, submitters, strict=True)]
