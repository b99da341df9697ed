"""Recovery of runs that lost their worker: one code path for the start of the daemon and for the death of a worker."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from queuectld import failpoints
from queuectld.boot import boot_id
from queuectld.domain.errors import Refused
from queuectld.domain.job import Output
from queuectld.domain.outcome import EndKind, Outcome, Survivor
from queuectld.pool import orphans, output_recovery
from queuectld.pool.pool import WorkerPool
from queuectld.pool.process import RunKey, Worker
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.dispatcher import RETRY_SECONDS
from queuectld.scheduler.inbox import Inbox
from queuectld.store.records import StoreFailed
from queuectld.store.store import Store
from queuectld.workerwire import cgroup, spool, statefile

log = logging.getLogger(__name__)

LAST_GRACE_MS: Final = 1_000
"""Delay between TERM and KILL for a run that has had its grace and whose worker was killed."""
KIND_BY_REASON: Final = {
    "timeout": EndKind.TIMED_OUT,
    "cancelled": EndKind.SIGNALLED,
    "shutdown": EndKind.INTERRUPTED,
}
"""The end kind of a run whose worker was killed while ending it for this reason; otherwise it crashed."""


class Recovery:
    """Recovers lost runs. Their processes have ended before the job can run again."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        pool: WorkerPool,
        inbox: Inbox,
        reaped: Callable[[Worker], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._pool = pool
        self._inbox = inbox
        self._reaped = reaped

    async def recover(self) -> None:
        """At start: take over living workers, report spooled outcomes, settle the runs of dead workers."""
        rows = await self._store.queries.workers()
        workers = {row.id: self._pool.take_over(row) for row in rows}
        processing = await self._store.queries.processing()
        for seq, run, worker_id, job_id in processing:
            if worker_id in workers:
                workers[worker_id].job = RunKey(seq, run)
                workers[worker_id].job_id = job_id
        for outcome in self._pool.adopt_spool(workers):
            self._inbox.report(outcome)
        for row in rows:
            self._pool.watch_taken_over(row, workers[row.id])
        now_ms = self._clock.now().wall_ms
        for seq, run, worker_id, job_id in processing:
            if worker_id not in workers and RunKey(seq, run) not in self._pool.pending_outcomes:
                stray = Worker(worker_id, 0, 0, now_ms)
                await self.settle(stray, RunKey(seq, run), job_id)

    async def reap(self, worker: Worker) -> None:
        """Settle the run of a dead worker, by its spooled outcome or by ending its processes.

        On any failure it is retried after RETRY_SECONDS, so that no job stays `processing` without a worker.
        """
        try:
            await self._reap(worker)
        except StoreFailed:
            return  # the daemon is about to end; the next one recovers the run
        except (Refused, OSError) as error:
            self._reap_later(worker, error)
        except Exception as error:  # a bug must not affect other runs
            self._reap_later(worker, error, traceback=True)

    def _reap_later(self, worker: Worker, why: Exception, *, traceback: bool = False) -> None:
        words = "cannot clean up after worker %s, retrying in %d s: %s"
        log.warning(words, worker.name, RETRY_SECONDS, why, exc_info=why if traceback else None)
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._pool.reap, worker)

    async def _reap(self, worker: Worker) -> None:
        """Every step is idempotent."""
        for outcome in self._pool.adopt_spool(other for other in self._pool.workers if other != worker.id):
            self._inbox.report(outcome)
        left = await self._left_running(worker)
        for key, job_id in left:
            if key not in self._pool.pending_outcomes:
                await self.settle(worker, key, job_id)
            self._pool.runs.over(key)
        for key, _ in left:
            await self._pool.pending_outcomes.until_stored(key)
        failpoints.reached("recovery.settled")
        self._clear_files(worker)
        failpoints.reached("recovery.forgotten")
        await self._store.worker_ended(worker.id, now=self._clock.now())
        self._pool.forget(worker)
        self._reaped(worker)

    async def settle(self, worker: Worker, key: RunKey, job_id: str) -> None:
        """End the remaining processes and report the run as crashed; return the claim if it never started."""
        state, socket = self._pool.places.state, self._pool.job_socket
        trace = orphans.find(state, worker.id, key, job_id, socket)
        if trace.record is None and not trace.processes and self._wrote_all_runs(worker):
            log.info("job %d (run %d) never reached worker %s", key.seq, key.run, worker.name)
            await self._store.return_claims([key], now=self._clock.now())
            return
        kind, words = _how_it_ended(worker, key)
        log.warning("ending job %d (run %d): %s", key.seq, key.run, words)
        await self._end_run(worker, key, job_id, kind, words)

    def _wrote_all_runs(self, worker: Worker) -> bool:
        """Whether the state file of the worker can be believed when it does not know a run.

        It is not synced, so after a power cut it may be older than the run; and a store that was restored from a
        backup, or copied alone, comes without it. A run of which nothing is known may have begun.
        """
        record = statefile.read(statefile.path_of(str(self._pool.places.state), worker.id))
        return record is not None and record.get("boot_id") == boot_id()

    async def _end_run(self, worker: Worker, key: RunKey, job_id: str, kind: EndKind, words: str) -> None:
        state, socket = self._pool.places.state, self._pool.job_socket
        jobs = await self._store.queries.many([key.seq])
        grace_ms = jobs[0].options.kill_grace_ms if jobs else 0
        if kind is not EndKind.CRASHED:
            grace_ms = min(grace_ms, LAST_GRACE_MS)
        record = orphans.find(state, worker.id, key, job_id, socket).record or {}
        left = await orphans.end(state, worker.id, key, job_id, socket, grace_ms)
        survivors = tuple(Survivor(*each) for each in left)
        failpoints.reached("recovery.ended")
        now = self._clock.now()
        started_ms = min(record.get("started_ms") or now.wall_ms, now.wall_ms)
        self._pool.pending_outcomes.note(key)
        self._inbox.report(
            Outcome(
                seq=key.seq,
                run=key.run,
                kind=kind,
                started_ms=started_ms,
                finished_ms=now.wall_ms,
                duration_ms=now.wall_ms - started_ms,
                signal=9 if kind is EndKind.SIGNALLED else None,
                words="; ".join((words, *(each.words for each in survivors))),
                worker=worker.id,
                pid=record.get("pid") or None,
                left_behind=describe(survivors),
                survivors=survivors,
                output=self._recovered_output(worker, key),
            )
        )

    def _recovered_output(self, worker: Worker, key: RunKey) -> dict[str, Output]:
        try:
            return output_recovery.output(self._pool.places.logs, worker.id, *key)
        except OSError as error:
            # Lost output must not keep the job from running again.
            log.error("cannot recover the output of job %d (run %d): %s", key.seq, key.run, error)
            return {}

    def _clear_files(self, worker: Worker, *, again: bool = False) -> None:
        """Remove its files; retried in the background on failure."""
        places = self._pool.places
        try:
            output_recovery.clear(places.logs, worker.id)
            spool.drop_reserve(str(places.state), worker.id)
            path = statefile.path_of(str(places.state), worker.id)
            group = (statefile.read(path) or {}).get("cgroup")
            if group and not cgroup.remove(group):
                log.warning("processes remain in control group %s of worker %s", group, worker.name)
            spool.remove(path)
        except OSError as error:
            if not again:
                words = "cannot remove the files of worker %s, retrying every %d s: %s"
                log.warning(words, worker.name, RETRY_SECONDS, error)
            later = partial(self._clear_files, worker, again=True)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, later)

    async def _left_running(self, worker: Worker) -> list[tuple[RunKey, str]]:
        """Return the runs that the store assigns to it, and a cancelled one that it still had."""
        left = {
            RunKey(seq, run): job_id
            for seq, run, by, job_id in await self._store.queries.processing()
            if by == worker.id
        }
        if worker.job is not None and worker.job not in left:
            left[worker.job] = worker.job_id or ""
        return list(left.items())


def describe(survivors: Sequence[Survivor]) -> str | None:
    """Describe the survivors, as `procfs.describe` does; None if there are none."""
    return ", ".join(f"{each.name} (pid {each.pid})" for each in survivors) or None


def _how_it_ended(worker: Worker, key: RunKey) -> tuple[EndKind, str]:
    """Return the end kind of a dead worker's run, and its description."""
    if worker.unfinished_run is None or worker.unfinished_run[0] != key:
        return EndKind.CRASHED, f"worker {worker.name} died"
    why = worker.unfinished_run[1]
    return KIND_BY_REASON.get(why, EndKind.CRASHED), f"worker {worker.name} was killed, as it did not answer ({why})"
