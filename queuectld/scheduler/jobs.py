"""All that a request may do with jobs: add, look, wait, and lay hands on."""

import signal as signals
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from queuectl_client.protocol import filters
from queuectl_client.protocol.jobspec import JobSpec
from queuectl_client.protocol.messages import JobMove, ListJobs
from queuectl_client.protocol.submissions import Submitter
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld import failpoints
from queuectld.domain.errors import Refused
from queuectld.domain.job import Attempt, Job, NewJob
from queuectld.domain.states import has_ended
from queuectld.scheduler import editing, selection, waiting
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.hands import Hands
from queuectld.scheduler.settings import ConfigService
from queuectld.scheduler.submission import Submission
from queuectld.store.places import Target
from queuectld.store.queries import ListQuery
from queuectld.store.records import Added, AddedSummary, Explanation, Page, Rows, Rule
from queuectld.store.store import Store

RemoveFiles = Callable[[Sequence[str]], None]
"""Deletes log files that no attempt names any longer."""


class Status(NamedTuple):
    """The queue at a glance."""

    counts: dict[JobState, int]
    workers: int
    paused: list[str]
    event_seq: int


class JobService:
    """Verbs on jobs. What changes something returns after its commit, or is Refused and changed nothing."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        clock: Clock,
        config: ConfigService,
        hands: Hands,
        remove_files: RemoveFiles,
        is_draining: Callable[[], bool],
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._config = config
        self._hands = hands
        self._remove_files = remove_files
        self._is_draining = is_draining

    async def enqueue(self, spec: JobSpec, submitter: Submitter, request: str | None) -> Job:
        """Store one job. A repeated `request` gives the job of the first time."""
        new = Submission(self._config.value).new_job(spec, submitter)
        failpoints.reached("enqueue.received")
        job = await self._store.add(new, now=self._clock.now(), request=request)
        failpoints.reached("enqueue.stored")
        return job

    async def enqueue_many(
        self, specs: Sequence[JobSpec], submitters: Sequence[Submitter], request: str | None
    ) -> Added:
        """Store all of the jobs, or none."""
        new = self._new_jobs(specs, submitters)
        return await self._store.add_many(new, now=self._clock.now(), request=request)

    async def batch_open(self) -> str:
        """Open a batch; its token names it in what follows."""
        return await self._store.batch_open(now=self._clock.now())

    async def batch_add(self, token: str, specs: Sequence[JobSpec], submitters: Sequence[Submitter]) -> Added:
        """Store more jobs of an open batch, invisible to everybody until its commit."""
        new = self._new_jobs(specs, submitters)
        added = await self._store.batch_add(token, new, now=self._clock.now())
        failpoints.reached("batch.added")
        return added

    async def batch_commit(self, token: str, request: str | None) -> AddedSummary:
        """Make a batch visible at once and whole."""
        summary = await self._store.batch_commit(token, now=self._clock.now(), request=request)
        failpoints.reached("batch.committed")
        return summary

    async def batch_discard(self, token: str) -> None:
        """Drop an open batch and all it holds."""
        await self._store.batch_discard(token)

    async def status(self) -> Status:
        """Counts by state and the number of workers."""
        counts = await self._store.counts()
        return Status(counts.by_state, self._hands.worker_count(), counts.paused, self._store.last_event_seq)

    async def page(self, wanted: ListJobs) -> Page:
        """One page of jobs, oldest or newest first; of named ones in the order named."""
        return await self._store.page(await self._listing(wanted))

    async def rows(self, wanted: ListJobs, keys: Sequence[str]) -> Rows:
        """As `page`, but these keys alone."""
        return await self._store.rows(await self._listing(wanted), keys)

    async def _listing(self, wanted: ListJobs) -> ListQuery:
        seqs = wanted.seqs if wanted.ids is None else await selection.several(self._store, wanted.ids)
        return ListQuery(
            states=frozenset(wanted.state or ()),
            queue=wanted.queue,
            labels=wanted.label or {},
            name_glob=wanted.name,
            batch=wanted.batch,
            since_ms=wanted.since,
            where=None if wanted.filter is None else filters.parse(wanted.filter),
            now_ms=self._clock.now().wall_ms,
            seqs=seqs,
            newest_first=wanted.order == "newest",
            after=wanted.after,
            limit=wanted.limit,
        )

    async def get(self, ref: str) -> tuple[Job, list[Attempt]]:
        """A job and its attempts that have ended, oldest first."""
        seq = await selection.one(self._store, ref)
        jobs = await selection.load(self._store, [seq])
        if not jobs:
            raise Refused(ErrorCode.NOT_FOUND, f"there is no job {ref!r}", {"id": ref})
        return jobs[0], await self._store.attempts(seq)

    async def wait(self, refs: Sequence[str] | None, any_one: bool, timeout: float | None) -> tuple[list[Job], bool]:
        """Wait for jobs to end; without refs until nothing is ready, failed or processing. False: time was over."""
        if refs is None:
            return [], await waiting.for_quiet(self._store, self._bus, timeout=timeout)
        seqs = await selection.several(self._store, refs)
        done = await waiting.for_jobs(self._store, self._bus, seqs, any_one=any_one, timeout=timeout)
        return await selection.load(self._store, seqs), done

    async def cancel(self, refs: Sequence[str]) -> list[Job]:
        """End jobs for good. Recorded before the first signal; their workers stay busy until the processes are gone."""
        seqs = await selection.several(self._store, refs)
        cancelled = await self._store.cancel(seqs, now=self._clock.now(), reason="cancelled")
        failpoints.reached("cancel.committed")
        for job, run, worker in cancelled:
            if worker is not None and run is not None:
                self._hands.kill(worker, job.seq, run, grace_ms=job.kill_grace_ms, why="cancelled")
        return [entry.job for entry in cancelled]

    async def kill(self, refs: Sequence[str], signal: str | int) -> list[Job]:
        """Send a signal to all of each running job; what comes of it is an ordinary end."""
        number = _signal_number(signal)
        jobs = await self._running(refs)
        for job in jobs:
            assert job.worker is not None
            self._hands.signal(job.worker, job.seq, job.run, number)
        return jobs

    async def pause(self, refs: Sequence[str]) -> list[Job]:
        """Stop running jobs where they stand."""
        return await self._pause(refs, paused=True)

    async def resume(self, refs: Sequence[str]) -> list[Job]:
        """Let paused jobs go on."""
        return await self._pause(refs, paused=False)

    async def hold(self, refs: Sequence[str]) -> list[Job]:
        """Keep waiting jobs back until released."""
        return await self._store.hold(await selection.several(self._store, refs), now=self._clock.now())

    async def release(self, refs: Sequence[str]) -> list[Job]:
        """Let held jobs go."""
        return await self._store.release(await selection.several(self._store, refs), now=self._clock.now())

    async def retry(self, refs: Sequence[str]) -> list[Job]:
        """Run ended jobs again, in place; a failed one at once."""
        return await self._store.retry(await selection.several(self._store, refs), now=self._clock.now())

    async def edit(self, ref: str, changes: Mapping[str, Any], rev: int | None) -> Job:
        """Change a waiting job. `rev`: the one the caller has read; Refused (conflict) when it was changed since."""
        seq = await selection.one(self._store, ref)
        edited = editing.stored_changes(changes, self._config.value)
        return await self._store.edit(seq, edited, rev=rev, now=self._clock.now())

    async def move(self, wanted: JobMove) -> Job:
        """Give a waiting job another place."""
        seq = await selection.one(self._store, wanted.id)
        before = None if wanted.before is None else await selection.one(self._store, wanted.before)
        end = "first" if wanted.first else "last" if wanted.last else None
        return await self._store.move(seq, Target(end, before, wanted.queue), now=self._clock.now())

    async def explain(self, ref: str) -> Explanation:
        """Why a job does not run now, and when it may."""
        told = await self._store.explain(await selection.one(self._store, ref), now=self._clock.now())
        if self._is_draining() and not has_ended(told.state) and told.state is not JobState.PROCESSING:
            told.rules.insert(0, Rule("draining", "The daemon starts no jobs now: it was told to drain."))
            return told._replace(starts_ms=None)
        return told

    async def remove(self, refs: Sequence[str]) -> list[Job]:
        """Forget jobs that do not run, their attempts and their output."""
        seqs = await selection.several(self._store, refs)
        removed = await self._store.remove(seqs, now=self._clock.now())
        self._remove_files(removed.files)
        return removed.jobs

    def _new_jobs(self, specs: Sequence[JobSpec], submitters: Sequence[Submitter]) -> list[NewJob]:
        submission = Submission(self._config.value)
        return [submission.new_job(spec, by) for spec, by in zip(specs, submitters, strict=True)]

    async def _running(self, refs: Sequence[str]) -> list[Job]:
        jobs = await selection.load(self._store, await selection.several(self._store, refs))
        for job in jobs:
            if job.state is not JobState.PROCESSING:
                what = "has ended" if has_ended(job.state) else "is not running"
                raise Refused(ErrorCode.WRONG_STATE, f"{job.id} {what} ({job.state})", {"id": job.id})
        return jobs

    async def _pause(self, refs: Sequence[str], *, paused: bool) -> list[Job]:
        jobs = await self._running(refs)
        for job in jobs:
            assert job.worker is not None
            if await self._store.set_paused(job.seq, job.run, paused, now=self._clock.now()):
                self._hands.pause(job.worker, job.seq, job.run, paused=paused)
        return await selection.load(self._store, [job.seq for job in jobs])


def _signal_number(given: str | int) -> int:
    """The number of `TERM`, `SIGTERM` or 15. Refused (invalid_params) when there is no such signal."""
    if isinstance(given, int) or given.isdecimal():
        number = int(given)
        if number in signals.valid_signals():
            return number
    else:
        name = "SIG" + given.upper().removeprefix("SIG")
        if name in signals.Signals.__members__:
            return int(signals.Signals[name])
    message = f"signal {given!r} is not known; use a name like TERM or a number up to {signals.NSIG - 1}"
    raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "signal"})
