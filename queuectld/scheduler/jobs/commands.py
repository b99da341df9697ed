"""Commands on jobs that are there: cancel, kill, pause, resume, hold, release, retry, remove, edit, move, explain."""

import signal as signals
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from queuectl_client.protocol.messages import JobIds, JobMove
from queuectl_client.protocol.vocabulary import WAITING_STATES, ErrorCode, JobState
from queuectld import failpoints
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.domain.permits import JobAction
from queuectld.domain.states import has_ended
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs import dependency_selectors, editing, selection
from queuectld.scheduler.jobs.bulk import Action, BulkCursor, BulkExecutor, BulkResult
from queuectld.scheduler.run_control import RunControl
from queuectld.scheduler.settings import ConfigService
from queuectld.store.records import ActionResult, Explanation, MoveTarget, Rule
from queuectld.store.store import Store

RemoveFiles = Callable[[Sequence[str]], None]
"""Deletes log files that no attempt names any longer."""


class JobCommands:
    """Verbs on jobs that are there. What changes something returns after its commit, or is Refused.

    For those on many jobs see `bulk`: an id that is named must allow it, a selector takes those that do.
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
        """End jobs for good. Recorded before the first signal; their workers stay busy until the processes are gone."""
        return await self._each(JobAction.CANCEL, request, partial(self._cancel, request.brief))

    async def kill(self, request: JobIds, signal: str | int) -> BulkResult:
        """Send a signal to all of each running job; what comes of it is an ordinary end."""
        number = _signal_number(signal)

        async def act(seqs: Sequence[int], _: BulkCursor, picked: bool) -> ActionResult:
            done = await self._store.preview(JobAction.KILL, seqs, picked=picked)
            for job in done.jobs:
                assert job.worker is not None
                self._runs.signal(job.worker, job.seq, job.run, number)
            return done

        return await self._each(JobAction.KILL, request, act)

    async def pause(self, request: JobIds) -> BulkResult:
        """Stop running jobs where they stand."""
        return await self._each(JobAction.PAUSE, request, partial(self._pause, JobAction.PAUSE))

    async def resume(self, request: JobIds) -> BulkResult:
        """Let paused jobs go on."""
        return await self._each(JobAction.RESUME, request, partial(self._pause, JobAction.RESUME))

    async def hold(self, request: JobIds) -> BulkResult:
        """Keep waiting jobs back until released."""
        return await self._each(JobAction.HOLD, request, partial(self._act, JobAction.HOLD, request.brief))

    async def release(self, request: JobIds) -> BulkResult:
        """Let held jobs go."""
        return await self._each(JobAction.RELEASE, request, partial(self._act, JobAction.RELEASE, request.brief))

    async def retry(self, request: JobIds) -> BulkResult:
        """Run ended jobs again, in place; a failed one at once."""
        return await self._each(JobAction.RETRY, request, partial(self._act, JobAction.RETRY, request.brief))

    async def remove(self, request: JobIds) -> BulkResult:
        """Forget jobs that do not run, their attempts and their output."""
        return await self._each(JobAction.REMOVE, request, partial(self._act, JobAction.REMOVE, request.brief))

    async def edit(self, ref: str, changes: Mapping[str, Any], rev: int | None) -> Job:
        """Change a waiting job. `rev`: the one the caller has read; Refused (conflict) when it was changed since."""
        job = await selection.id_or_seq(self._store, ref)
        edited = editing.stored_changes(changes, self._config.value)
        seen = await dependency_selectors.first_look(self._store, [edited.get("depends_on")])
        return await self._store.edit(job, edited, rev=rev, now=self._clock.now(), resolved=seen)

    async def move(self, request: JobMove) -> Job:
        """Give a waiting job another place."""
        if request.dry_run:
            named = [each for each in (request.id, request.before) if each is not None]
            seqs = [await selection.resolve_one(self._store, each) for each in named]
            return (await self._store.preview(JobAction.MOVE, seqs)).jobs[0]
        job = await selection.id_or_seq(self._store, request.id)
        before = None if request.before is None else await selection.id_or_seq(self._store, request.before)
        end = "first" if request.first else "last" if request.last else None
        return await self._store.move(job, MoveTarget(end, before, request.queue), now=self._clock.now())

    async def explain(self, ref: str) -> Explanation:
        """Why a job does not run now, and when it may."""
        told = await self._store.explain(await selection.id_or_seq(self._store, ref), now=self._clock.now())
        if self._is_draining() and not has_ended(told.state) and told.state is not JobState.PROCESSING:
            told.rules.insert(0, Rule("draining", "The daemon starts no jobs now: it was told to drain."))
            return told._replace(starts_ms=None)
        if told.state in WAITING_STATES and (words := self._runs.why_unavailable()) is not None:
            told.rules[:] = [rule for rule in told.rules if rule.rule != "workers-busy"]
            told.rules.append(Rule("workers", words))
            return told._replace(starts_ms=None)
        if told.worker is not None and self._runs.is_recovered(told.worker):
            its = "It is cancelled; its" if has_ended(told.state) else "Its"
            words = f"{its} worker w{told.worker} has ended, and what the run has left is ended, within its kill_grace."
            told.rules[0] = Rule("recovery", words)
        return told

    async def _each(self, verb: JobAction, request: JobIds, action: Action) -> BulkResult:
        return await self._bulk.apply(verb, request.ids, request, action)

    async def _act(
        self, verb: JobAction, brief: bool, seqs: Sequence[int], _: BulkCursor, picked: bool
    ) -> ActionResult:
        done = await self._store.apply(verb, seqs, now=self._clock.now(), picked=picked, brief=brief)
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
