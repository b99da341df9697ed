"""Commands on existing jobs: cancel, kill, pause, resume, hold, release, retry, remove, edit, move, explain."""

import signal as signals
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from queuectl_client.protocol.messages import JobIds, JobMove, JobPrune, JobRetry
from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.selectors import Criteria
from queuectl_client.protocol.vocabulary import WAITING_STATES, ErrorCode, JobState
from queuectld import failpoints
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.domain.states import has_ended
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs import criteria, dependency_selectors, editing, selection
from queuectld.scheduler.jobs.bulk import Action, BulkCursor, BulkExecutor, BulkResult
from queuectld.scheduler.run_control import RunControl
from queuectld.scheduler.settings import ConfigService
from queuectld.store.records import ActionResult, Explanation, MoveTarget, Rule
from queuectld.store.store import NOTHING, Store

RemoveFiles = Callable[[Sequence[str]], None]
"""Deletes log files of removed jobs."""


class _Pruning(NamedTuple):
    """How a prune with filters is carried out: all of it in one call, jobs by their names alone."""

    dry_run: bool
    brief: bool = True
    limit: int | None = None
    after: str | None = None


class JobCommands:
    """Commands on existing jobs. Each returns after its commit, or raises Refused.

    For commands on many jobs see `bulk`: a named job must permit the command, a selector skips those that do not.
    """

    def __init__(
        self,
        store: Store,
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
        self._remove_files = remove_files
        self._is_draining = is_draining
        self._bulk = BulkExecutor(store, clock)

    async def cancel(self, request: JobIds) -> BulkResult:
        """Cancel jobs. Stored before the first signal is sent; workers stay busy until the processes have ended."""
        return await self._each(JobAction.CANCEL, request, partial(self._cancel, request.brief))

    async def kill(self, request: JobIds, signal: str | int) -> BulkResult:
        """Send a signal to all processes of running jobs. If they end, that is an ordinary end of the attempt."""
        number = _signal_number(signal)

        async def act(seqs: Sequence[int], _: BulkCursor, picked: bool) -> ActionResult:
            done = await self._store.preview(JobAction.KILL, seqs, picked=picked)
            for job in done.jobs:
                assert job.worker is not None
                self._runs.signal(job.worker, job.seq, job.run, number)
            return done

        return await self._each(JobAction.KILL, request, act)

    async def pause(self, request: JobIds) -> BulkResult:
        """Suspend running jobs."""
        return await self._each(JobAction.PAUSE, request, partial(self._pause, JobAction.PAUSE))

    async def resume(self, request: JobIds) -> BulkResult:
        """Continue suspended jobs."""
        return await self._each(JobAction.RESUME, request, partial(self._pause, JobAction.RESUME))

    async def hold(self, request: JobIds) -> BulkResult:
        """Hold waiting jobs until they are released."""
        return await self._each(JobAction.HOLD, request, partial(self._act, JobAction.HOLD, request.brief))

    async def release(self, request: JobIds) -> BulkResult:
        """Release held jobs."""
        return await self._each(JobAction.RELEASE, request, partial(self._act, JobAction.RELEASE, request.brief))

    async def retry(self, request: JobRetry) -> BulkResult:
        """Run ended jobs again under the same id; a failed job that waits for its backoff starts at once."""
        how: dict[str, Any] = {}
        if request.changes:
            how["changes"] = editing.stored_changes(request.changes, self._config.value)
        return await self._each(JobAction.RETRY, request, partial(self._act, JobAction.RETRY, request.brief, how=how))

    async def remove(self, request: JobIds) -> BulkResult:
        """Remove jobs that are not running, with their attempts and output."""
        return await self._each(JobAction.REMOVE, request, partial(self._act, JobAction.REMOVE, request.brief))

    async def prune(self, request: JobPrune) -> int:
        """Remove the ended jobs that a `job.prune` with filters asks for; return how many, or how many it would be."""
        before_ms = self._clock.now().wall_ms - round(request.older_than * 1000)
        how = _Pruning(dry_run=request.dry_run)
        listing = Criteria(criteria.prunable(request, before_ms))
        act = partial(self._act, JobAction.REMOVE, True)
        return (await self._bulk.apply(JobAction.REMOVE, (), how, act, listing=listing)).total

    async def edit(self, ref: str, changes: Mapping[str, Any], rev: int | None) -> Job:
        """Change a waiting job. Raises Refused (conflict) if it was changed since the caller read revision `rev`."""
        job = await selection.id_or_seq(self._store, ref)
        edited = editing.stored_changes(changes, self._config.value)
        seen = await dependency_selectors.first_look(self._store, [edited.get("depends_on")])
        return await self._store.edit(job, edited, rev=rev, now=self._clock.now(), resolved=seen)

    async def move(self, request: JobMove) -> Job:
        """Move a waiting job within its queue, or to another queue."""
        if request.dry_run:
            named = [each for each in (request.id, request.before) if each is not None]
            seqs = [await selection.resolve_one(self._store, each) for each in named]
            return (await self._store.preview(JobAction.MOVE, seqs)).jobs[0]
        job = await selection.id_or_seq(self._store, request.id)
        before = None if request.before is None else await selection.id_or_seq(self._store, request.before)
        end = "first" if request.first else "last" if request.last else None
        return await self._store.move(job, MoveTarget(end, before, request.queue), now=self._clock.now())

    async def explain(self, ref: str) -> Explanation:
        """Explain why a job does not run now, and when it may."""
        told = await self._store.explain(await selection.id_or_seq(self._store, ref), now=self._clock.now())
        if self._is_draining() and not has_ended(told.state) and told.state is not JobState.PROCESSING:
            told.rules.insert(0, Rule("draining", "The daemon is draining and starts no jobs."))
            return told._replace(starts_ms=None)
        if told.state in WAITING_STATES and (words := self._runs.why_unavailable()) is not None:
            told.rules[:] = [rule for rule in told.rules if rule.rule != "workers-busy"]
            told.rules.append(Rule("workers", words))
            return told._replace(starts_ms=None)
        if told.worker is not None and self._runs.is_recovered(told.worker):
            its = "It is cancelled; its" if has_ended(told.state) else "Its"
            words = f"{its} worker w{told.worker} has ended; remaining processes are being ended within its kill_grace."
            told.rules[0] = Rule("recovery", words)
        return told

    async def _each(self, verb: JobAction, request: JobIds, action: Action) -> BulkResult:
        return await self._bulk.apply(verb, request.ids, request, action)

    async def _act(
        self,
        verb: JobAction,
        brief: bool,
        seqs: Sequence[int],
        _: BulkCursor,
        picked: bool,
        how: Mapping[str, Any] = NOTHING,
    ) -> ActionResult:
        now = self._clock.now()
        done = await self._store.apply(verb, seqs, now=now, picked=picked, brief=brief, how=how)
        self._remove_files(done.files)
        return done

    async def _cancel(self, brief: bool, seqs: Sequence[int], _: BulkCursor, picked: bool) -> ActionResult:
        done = await self._store.apply(JobAction.CANCEL, seqs, now=self._clock.now(), picked=picked, brief=brief)
        failpoints.reached("cancel.committed")
        for job, run, worker in done.running:
            assert run is not None
            assert worker is not None
            self._runs.kill(worker, job.seq, run, grace_ms=job.options.kill_grace_ms, why="cancelled")
        return done

    async def _pause(self, verb: JobAction, seqs: Sequence[int], _: BulkCursor, picked: bool) -> ActionResult:
        paused = verb is JobAction.PAUSE
        done = await self._store.preview(verb, seqs, picked=picked)
        for job in done.jobs:
            assert job.worker is not None
            if await self._store.set_paused(job.seq, job.run, paused, now=self._clock.now()):
                self._runs.pause(job.worker, job.seq, job.run, paused=paused)
        return done._replace(jobs=await selection.load(self._store, [job.seq for job in done.jobs]))


def _signal_number(given: str | int) -> int:
    """Return the number of a signal such as `TERM`, `SIGTERM` or 15. Raises Refused (invalid_params) if unknown."""
    if isinstance(given, int) or given.isdecimal():
        number = int(given)
        if number in signals.valid_signals():
            return number
    else:
        name = "SIG" + given.upper().removeprefix("SIG")
        if name in signals.Signals.__members__:
            return int(signals.Signals[name])
    message = f"invalid signal: {given!r}; expected a name such as TERM or a number up to {signals.NSIG - 1}"
    raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "signal"})
