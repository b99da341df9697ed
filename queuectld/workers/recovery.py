"""What becomes of a run that lost its worker: one code path for start-up and for a live worker's death."""

import logging
from typing import Protocol

from queuectld.domain.outcome import EndKind, Outcome
from queuectld.scheduler.clock import Clock
from queuectld.store.store import Store
from queuectld.workers import orphans
from queuectld.workers.pool import WorkerPool
from queuectld.workers.process import RunKey, Worker

log = logging.getLogger(__name__)


class Reports(Protocol):
    """Who takes outcomes."""

    def report(self, outcome: Outcome) -> None:
        """An execution ended."""
        ...


class Recovery:
    """Settles lost runs. The orphan is dead before its job can run again."""

    def __init__(self, store: Store, clock: Clock, pool: WorkerPool, reports: Reports) -> None:
        self._store = store
        self._clock = clock
        self._pool = pool
        self._reports = reports

    async def take_stock(self) -> None:
        """At start: take over the workers that live, apply spooled outcomes, settle the runs of the dead."""
        rows = await self._store.workers()
        workers = {row.id: self._pool.take_over(row) for row in rows}
        processing = await self._store.processing()
        for seq, run, worker_id, job_id in processing:
            if worker_id in workers:
                workers[worker_id].job = RunKey(seq, run)
                workers[worker_id].job_id = job_id
        for outcome in self._pool.adopt_spool(workers):
            self._reports.report(outcome)
        for row in rows:
            self._pool.watch_taken_over(row, workers[row.id])
        now_ms = self._clock.now().wall_ms
        for seq, run, worker_id, job_id in processing:
            if worker_id not in workers and not self._pool.is_reported(RunKey(seq, run)):
                stray = Worker(worker_id, 0, 0, now_ms)
                await self.settle(stray, RunKey(seq, run), job_id)

    async def settle(self, worker: Worker, key: RunKey, job_id: str) -> None:
        """End what is left of the run, then report it as crashed; or, where it never began, give the claim back."""
        state, socket = self._pool.places.state, self._pool.job_socket
        trace = orphans.find(state, worker.id, key, job_id, socket)
        if trace.record is None and not trace.processes:
            log.info("job %d run %d never reached worker %s", key.seq, key.run, worker.name)
            await self._store.return_claims([key], now=self._clock.now())
            return
        log.warning("worker %s died while it ran job %d (run %d)", worker.name, key.seq, key.run)
        jobs = await self._store.many([key.seq])
        grace_ms = jobs[0].kill_grace_ms if jobs else 0
        await orphans.end(state, worker.id, key, job_id, socket, grace_ms)
        now = self._clock.now()
        record = trace.record or {}
        started_ms = min(record.get("started_ms") or now.wall_ms, now.wall_ms)
        self._reports.report(
            Outcome(
                seq=key.seq,
                run=key.run,
                kind=EndKind.CRASHED,
                started_ms=started_ms,
                finished_ms=now.wall_ms,
                duration_ms=now.wall_ms - started_ms,
                words=f"worker {worker.name} died",
                worker=worker.id,
                pid=record.get("pid") or None,
            )
        )


