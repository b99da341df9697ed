"""The supervisor: manages worker pools, their size and their clients."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Sequence
from functools import partial
from typing import Any, Final

from queuectl_client.protocol.messages import WorkerStart, WorkerStop
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.states import has_ended
from queuectld.pool import job_pools
from queuectld.pool.pool import WorkerPool
from queuectld.pool.process import Worker
from queuectld.pool.views import DETACHED, FOREGROUND, JOB, Pool, StartedWorkers, StoppedWorkers, WorkerView, view
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.dispatcher import RETRY_SECONDS, TRANSIENT_ERRORS
from queuectld.scheduler.jobs import selection
from queuectld.store.records import Committed
from queuectld.store.store import Store

log = logging.getLogger(__name__)

RECLAIM_SECONDS: Final = 10
"""How long a foreground pool waits for its client after a restart of the daemon, before it drains.

Until then it gets no new workers, and its workers start no jobs: the client may have died with the daemon.
"""
SUSPENDED: Final = "detached_suspended"
"""Flag in the store: the daemon was stopped by a user, so an automatic start does not restart detached workers."""
SHORT_LIFE_MS: Final = 5_000
"""A worker that ended sooner, without having run a job, is replaced after a growing delay."""
LONGEST_PAUSE_SECONDS: Final = 60
STOP_SECONDS: Final = 12
"""How long `stop --now` waits for a worker in addition to its job's grace. The watchdog kills one that hangs sooner."""


PoolTask = Callable[[Pool], Coroutine[Any, Any, None]]
"""A repeatable task for a pool."""


class Supervisor:
    """Worker methods, and maintenance of pools."""

    def __init__(self, store: Store, clock: Clock, workers: WorkerPool) -> None:
        self._store = store
        self._clock = clock
        self._workers = workers
        self._pools: dict[int, Pool] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._closing = False
        self._ending_all = False
        """Whether `end_all` has told all workers to end, so that none is started or replaced."""

    # --- verbs ---

    async def start(self, wanted: WorkerStart, client: Hashable) -> StartedWorkers:
        """Start workers and return once they are up; or reclaim a pool; or start a worker for one job."""
        event_seq = self._store.last_event_seq
        if wanted.pool is not None:
            return self._reclaim(wanted.pool, client, event_seq)
        self._refuse_while_stopping()
        if wanted.job is not None:
            return await self._start_for_job(wanted.job, event_seq)
        await self._store.set_flag(SUSPENDED, None)
        if not wanted.detach:
            return await self._start_foreground(wanted, client, event_seq)
        pool = await self._detached()
        await self._fill(pool)
        await self._set_target(pool, pool.wanted + wanted.count)
        started = await self._fill(pool)
        return StartedWorkers([self._view(worker) for worker in started], pool.id, event_seq)

    async def stop(self, wanted: WorkerStop) -> StoppedWorkers:
        """Let workers finish their jobs and end, idle ones first; with `now`, kill the jobs."""
        scope = [w for w in self._workers.workers.values() if wanted.pool is None or w.pool_id == wanted.pool]
        scope.sort(key=lambda worker: (worker.job is not None, worker.draining, worker.id))
        chosen = scope if wanted.count is None else [w for w in scope if not w.draining][: wanted.count]
        if wanted.count is None:
            for pool in self._scope(wanted.pool):
                await self._set_target(pool, 0)
        told = [(worker, self._view(worker)) for worker in chosen]
        grace_ms = await self._end(chosen, now=wanted.now, lower=wanted.count is not None)
        left: Sequence[str] = ()
        if wanted.wait:
            left = await self._wait_until_gone(chosen, grace_ms if wanted.now else None)
            told = [each for each in told if each[0].gone.done()]
        return StoppedWorkers([view for _, view in told], len(scope) - len(told), list(left))

    def list(self) -> Sequence[WorkerView]:
        """Return all workers, oldest first."""
        return [self._view(worker) for worker in self._workers.workers.values()]

    async def scale(self, count: int | None) -> Sequence[WorkerView]:
        """Scale to `count` detached workers, starting or draining some. None restores the previous number."""
        self._refuse_while_stopping()
        await self._store.set_flag(SUSPENDED, None)
        pool = await self._detached()
        count = pool.wanted if count is None else count
        await self._set_target(pool, count)
        await self._fill(pool)
        own = [w for w in self._in(pool) if not w.draining]
        own.sort(key=lambda worker: (worker.job is not None, -worker.id))
        await self._end(own[: max(0, len(own) - count)], now=False, lower=False)
        return [self._view(worker) for worker in self._in(pool) if not worker.draining]

    def client_gone(self, client: Hashable) -> None:
        """Drain the pools of a client that disconnected, unless the daemon leaves its workers to the next one."""
        if self._closing:
            return
        for pool in list(self._pools.values()):
            if pool.client == client:
                pool.client = None
                log.info("the client of worker pool %d disconnected; draining its workers", pool.id)
                self._spawn(self._end_pool, pool)

    # --- start and stop of the daemon ---

    async def restore_pools(self, *, by_hand: bool) -> None:
        """Load the pools of the previous daemon. `by_hand` clears the flag that keeps detached workers stopped."""
        for row in await self._store.queries.pools():
            self._pools[row.id] = Pool(row.id, row.kind, row.wanted, row.job_seq)
            if row.job_seq is not None:
                self._workers.dedication[row.id] = row.job_seq
            if row.kind == FOREGROUND:
                self._workers.awaiting_client.add(row.id)
        if by_hand:
            await self._store.set_flag(SUSPENDED, None)

    async def start_pools(self) -> None:
        """After recovery: start missing workers, and wait for the clients of foreground pools."""
        suspended = self._store.flag(SUSPENDED) is not None
        for pool in list(self._pools.values()):
            if pool.kind == DETACHED and not suspended:
                self._spawn(self._refill, pool)
            elif pool.kind == FOREGROUND and pool.client is None:
                asyncio.get_running_loop().call_later(RECLAIM_SECONDS, self._reclaim_expired, pool)
            elif pool.kind == JOB:
                self._spawn(self._maintain_job_pool, pool)

    async def end_all(self, *, now: bool) -> Sequence[str]:
        """End all workers, and set the flag that keeps detached ones from restarting automatically.

        Returns descriptions of what did not end. With `now`, waits at most for the jobs' grace and STOP_SECONDS, even
        if the store cannot be written.
        """
        self._ending_all = True
        everyone = list(self._workers.workers.values())
        grace_ms = await self._end(everyone, now=now, lower=False)
        if not now:
            await self._store.set_flag(SUSPENDED, "1")
            return await self._all_forgotten(everyone, None)
        left, noted = await asyncio.gather(
            self._all_forgotten(everyone, grace_ms), self._store.set_flag(SUSPENDED, "1"), return_exceptions=True
        )
        for error in (left, noted):
            if isinstance(error, Refused):
                log.error("cannot record that all workers were told to end: %s", error.message)
            elif isinstance(error, BaseException):
                raise error
        return [] if isinstance(left, BaseException) else left

    async def undo_end_all(self) -> None:
        """Start workers again after `end_all` was cancelled. Those that were told to end finish their job and end."""
        self._ending_all = False
        await self._store.set_flag(SUSPENDED, None)
        for pool in list(self._pools.values()):
            self._spawn(self._maintain_job_pool if pool.kind == JOB else self._refill, pool)

    def _refuse_while_stopping(self) -> None:
        if self._ending_all:
            message = "the daemon is stopping and starts no workers; to keep it, use: queuectl daemon start"
            raise Refused(ErrorCode.WRONG_STATE, message)

    async def _all_forgotten(self, everyone: Sequence[Worker], grace_ms: int | None) -> Sequence[str]:
        left = await self._wait_until_gone(everyone, grace_ms)
        if not left:
            for pool in list(self._pools.values()):
                if pool.kind != DETACHED:
                    await self._forget(pool)
        return left

    def close(self) -> None:
        """Stop maintaining pools; the next daemon takes over the workers."""
        self._closing = True
        for task in self._work:
            task.cancel()

    # --- notifications ---

    def committed(self, commit: Committed) -> None:
        """Handle a commit: start the dedicated worker of a job that may run now, end that of one that has ended."""
        if not self._workers.dedication:
            return
        for pool in list(job_pools.to_maintain(commit, self._pools, lambda pool: not self._in(pool))):
            self._spawn(self._maintain_job_pool, pool)

    def reaped(self, worker: Worker) -> None:
        """Handle a dead worker: start a replacement if its pool needs one, or remove a drained pool."""
        pool = self._pools.get(worker.pool_id)
        if pool is None or self._closing or self._ending_all:
            return
        if pool.id in self._workers.awaiting_client and pool.wanted:
            return  # filled when it is reclaimed
        if worker.draining and pool.wanted == 0 and not self._in(pool) and pool.kind != DETACHED:
            self._spawn(self._forget, pool)
        elif len(self._in(pool)) < pool.wanted:
            lived_ms = self._clock.now().wall_ms - worker.since_ms
            pool.failures = pool.failures + 1 if lived_ms < SHORT_LIFE_MS and worker.jobs_done == 0 else 0
            pause = 0 if pool.failures < 2 else min(2 ** (pool.failures - 2), LONGEST_PAUSE_SECONDS)
            log.warning("worker %s is gone; starting another one in %d s", worker.name, pause)
            refill = self._maintain_job_pool if pool.kind == JOB else self._refill
            asyncio.get_running_loop().call_later(pause, self._spawn, refill, pool)

    # --- pools ---

    async def _detached(self) -> Pool:
        for pool in self._pools.values():
            if pool.kind == DETACHED:
                return pool
        return await self._new_pool(DETACHED, 0)

    async def _new_pool(self, kind: str, wanted: int, job_seq: int | None = None) -> Pool:
        pool_id = await self._store.pool_add(kind, wanted, job_seq, now=self._clock.now())
        pool = self._pools[pool_id] = Pool(pool_id, kind, wanted, job_seq)
        if job_seq is not None:
            self._workers.dedication[pool_id] = job_seq
        return pool

    async def _set_target(self, pool: Pool, count: int) -> None:
        before = pool.wanted
        if before == count:
            return
        pool.wanted = count
        try:
            await self._store.pool_set(pool.id, count)
        except Refused:
            pool.wanted = before  # so that a retry stores it
            raise

    async def _forget(self, pool: Pool) -> None:
        await self._store.pool_remove(pool.id)
        self._pools.pop(pool.id, None)
        self._workers.dedication.pop(pool.id, None)
        self._workers.awaiting_client.discard(pool.id)

    async def _fill(self, pool: Pool) -> Sequence[Worker]:
        """Start missing workers, and return them once they are up."""
        async with pool.filling:
            own = self._in(pool)
            taken = {worker.number for worker in own}
            missing = max(0, pool.wanted - sum(not worker.draining for worker in own))
            numbers = [n for n in range(1, len(own) + missing + 1) if n not in taken][:missing]
            started = [await self._workers.add(pool.id, number) for number in numbers]
        for worker in started:
            await asyncio.shield(worker.ready)
        return started

    async def _refill(self, pool: Pool) -> None:
        may_start = not (self._closing or self._ending_all or pool.id in self._workers.awaiting_client)
        if may_start and pool.id in self._pools:
            await self._fill(pool)

    async def _end_pool(self, pool: Pool) -> None:
        await self._set_target(pool, 0)
        own = self._in(pool)
        if own:
            await self._end(own, now=False, lower=False)
        else:
            await self._forget(pool)

    async def _end(self, workers: Sequence[Worker], *, now: bool, lower: bool) -> int:
        """Drain workers; with `now`, kill their jobs and return the longest grace in ms."""
        grace_ms = await self._graces(workers) if now else {}
        for worker in workers:
            pool = self._pools.get(worker.pool_id)
            if lower and pool is not None and not worker.draining:
                await self._set_target(pool, max(0, pool.wanted - 1))
            self._workers.drain(worker)
            if now and worker.job is not None:
                seq, run = worker.job
                self._workers.runs.kill(worker.id, seq, run, grace_ms=grace_ms.get(seq, 0), why="shutdown")
        return max(grace_ms.values(), default=0)

    async def _graces(self, workers: Sequence[Worker]) -> dict[int, int]:
        """Return the grace (ms) of each running job, by seq."""
        seqs = [worker.job.seq for worker in workers if worker.job is not None]
        return {job.seq: job.options.kill_grace_ms for job in await self._store.queries.many(seqs)} if seqs else {}

    async def _wait_until_gone(self, workers: Sequence[Worker], grace_ms: int | None) -> Sequence[str]:
        """Wait for the end of workers, at most `grace_ms` plus STOP_SECONDS (None: forever). Describes what is left."""
        timeout = None if grace_ms is None else grace_ms / 1000 + STOP_SECONDS
        if workers:
            await asyncio.wait([worker.gone for worker in workers], timeout=timeout)
        left = [worker.describe_leftover for worker in workers if not worker.gone.done()]
        left += self._workers.survivors.words()
        for each in left:
            log.warning("left behind: %s", each)
        return left

    async def _start_foreground(self, wanted: WorkerStart, client: Hashable, event_seq: int) -> StartedWorkers:
        """Start a foreground pool; a repeated request continues the pool that it started."""
        pool_id, event_seq, is_new = await self._store.pool_add_once(
            FOREGROUND, wanted.count, event_seq, now=self._clock.now(), request=wanted.request
        )
        pool = self._pools.get(pool_id)
        if is_new:
            pool = self._pools[pool_id] = Pool(pool_id, FOREGROUND, wanted.count)
        elif pool is None or pool.wanted == 0:
            pool = await self._new_pool(FOREGROUND, wanted.count)  # that one has drained meanwhile
        self._attach_client(pool, client)
        try:
            await self._fill(pool)
        except BaseException:
            self._spawn(self._end_pool, pool)
            raise
        return StartedWorkers([self._view(worker) for worker in self._in(pool)], pool.id, event_seq)

    def _reclaim(self, pool_id: int, client: Hashable, event_seq: int) -> StartedWorkers:
        pool = self._pools.get(pool_id)
        if pool is None or pool.kind != FOREGROUND or pool.wanted == 0:
            raise Refused(ErrorCode.NOT_FOUND, f"no such worker pool: {pool_id}", {"pool": pool_id})
        self._attach_client(pool, client)
        self._spawn(self._refill, pool)  # replace workers lost meanwhile
        return StartedWorkers([self._view(worker) for worker in self._in(pool)], pool_id, event_seq)

    def _attach_client(self, pool: Pool, client: Hashable) -> None:
        pool.client = client
        self._workers.client_attached(pool.id)

    def _reclaim_expired(self, pool: Pool) -> None:
        if pool.id in self._workers.awaiting_client and not self._closing and pool.id in self._pools:
            log.info("no client reclaimed worker pool %d within %d s; draining it", pool.id, RECLAIM_SECONDS)
            self._spawn(self._end_pool, pool)

    # --- a worker for one job ---

    async def _start_for_job(self, ref: str, event_seq: int) -> StartedWorkers:
        """Start a dedicated worker if no other takes the job, or as soon as the job may run."""
        seq = await selection.resolve_one(self._store, ref)
        job = (await selection.load(self._store, [seq]))[0]
        if job.state is JobState.PROCESSING or has_ended(job.state):
            return StartedWorkers([], None, event_seq)
        if any(pool.job_seq == seq and pool.wanted for pool in self._pools.values()):
            return StartedWorkers([], None, event_seq)
        is_needed = await job_pools.needs_worker(self._store, job, self._workers.runs.capacity)
        if not is_needed and job.ready and self._workers.runs.capacity().workers:
            return StartedWorkers([], None, event_seq)
        pool = await self._new_pool(JOB, 1, seq)
        started = await self._fill(pool) if is_needed else ()
        self._spawn(self._maintain_job_pool, pool)  # the job may have changed before the pool was there
        return StartedWorkers([self._view(worker) for worker in started], pool.id, event_seq)

    async def _maintain_job_pool(self, pool: Pool) -> None:
        """Start the worker of a job that may run, keep it as long as the job may run again, then end it."""
        pool.is_checked = False
        jobs = await self._store.queries.many([pool.job_seq or 0])
        if not jobs or has_ended(jobs[0].state):
            if pool.wanted or not self._in(pool):
                await self._end_pool(pool)
        elif await job_pools.needs_worker(self._store, jobs[0], self._workers.runs.capacity):
            await self._refill(pool)

    # --- helpers ---

    def _scope(self, pool_id: int | None) -> Sequence[Pool]:
        return [pool for pool in self._pools.values() if pool_id is None or pool.id == pool_id]

    def _in(self, pool: Pool) -> Sequence[Worker]:
        return [worker for worker in self._workers.workers.values() if worker.pool_id == pool.id]

    def _view(self, worker: Worker) -> WorkerView:
        return view(worker, self._pools.get(worker.pool_id))

    def _spawn(self, care: PoolTask, pool: Pool) -> None:
        """Run a pool task in the background, retried on transient errors of the store."""
        task = asyncio.ensure_future(care(pool))
        self._work.add(task)
        task.add_done_callback(partial(self._done, care, pool))

    def _done(self, care: PoolTask, pool: Pool, task: "asyncio.Task[None]") -> None:
        self._work.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Refused):
            log.error("%s", error.message)
            if error.code in TRANSIENT_ERRORS and not self._closing:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._spawn, care, pool)
        elif error is not None:
            log.error("a task for a worker pool failed", exc_info=error)
