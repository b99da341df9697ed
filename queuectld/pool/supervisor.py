"""The supervisor: how many workers there are, in which pools, and whose they are."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Sequence
from functools import partial
from typing import Any, Final

from queuectl_client.protocol.messages import WorkerStart, WorkerStop
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.states import has_ended
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

Until it is taken up it gets no worker and none of its workers starts a job: the client may have died with the daemon.
"""
SUSPENDED: Final = "detached_suspended"
"""Flag in the store: the daemon was stopped by hand, so an autostart does not bring detached workers back."""
SHORT_LIFE_MS: Final = 5_000
"""A worker that ended sooner, without having done a job, is replaced with a growing pause."""
LONGEST_PAUSE_SECONDS: Final = 60
STOP_SECONDS: Final = 12
"""Beside the grace of its job: how long `stop --now` waits for a worker. One that hangs is killed before."""


PoolTask = Callable[[Pool], Coroutine[Any, Any, None]]
"""Something that is done about a pool, and may be done again."""


class Supervisor:
    """Verbs on workers, and the care for pools."""

    def __init__(self, store: Store, clock: Clock, workers: WorkerPool) -> None:
        self._store = store
        self._clock = clock
        self._workers = workers
        self._pools: dict[int, Pool] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._closing = False

    # --- verbs ---

    async def start(self, wanted: WorkerStart, client: Hashable) -> StartedWorkers:
        """Start workers, and return once they are up; or take a pool up again; or give one job a worker of its own."""
        event_seq = self._store.last_event_seq
        if wanted.pool is not None:
            return self._reclaim(wanted.pool, client, event_seq)
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
        """Let workers finish their job and end, idle ones first; with `now` their jobs are ended by the kill ladder."""
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
        """Every worker, oldest first."""
        return [self._view(worker) for worker in self._workers.workers.values()]

    async def scale(self, count: int | None) -> Sequence[WorkerView]:
        """Have `count` detached workers: start what is missing, drain what is too much. None: as many as there were."""
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
        """The client's connection closed: its pools drain, unless this daemon is only making room for the next."""
        if self._closing:
            return
        for pool in list(self._pools.values()):
            if pool.client == client:
                pool.client = None
                log.info("the client of worker pool %d is gone; its workers drain", pool.id)
                self._spawn(self._end_pool, pool)

    # --- start and stop of the daemon ---

    async def restore_pools(self, *, by_hand: bool) -> None:
        """Take up the pools of the daemon before. Detached workers come back after a crash, or when started by hand."""
        for row in await self._store.queries.pools():
            self._pools[row.id] = Pool(row.id, row.kind, row.wanted, row.job_seq)
            if row.job_seq is not None:
                self._workers.dedication[row.id] = row.job_seq
            if row.kind == FOREGROUND:
                self._workers.awaiting_client.add(row.id)
        if by_hand:
            await self._store.set_flag(SUSPENDED, None)

    async def start_pools(self) -> None:
        """Once the living workers are known: start the missing ones, and wait for the clients of foreground pools."""
        suspended = self._store.flag(SUSPENDED) is not None
        for pool in list(self._pools.values()):
            if pool.kind == DETACHED and not suspended:
                self._spawn(self._refill, pool)
            elif pool.kind == FOREGROUND and pool.client is None:
                asyncio.get_running_loop().call_later(RECLAIM_SECONDS, self._reclaim_expired, pool)
            elif pool.kind == JOB:
                self._spawn(self._maintain_job_pool, pool)

    async def end_all(self, *, now: bool) -> Sequence[str]:
        """End all workers, and leave word that only a start by hand brings the detached ones back.

        Gives what did not end, in words. With `now` it waits no longer than the jobs' grace and some seconds, and a
        store that cannot be written keeps nobody.
        """
        self._closing = True
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
                log.error("the store does not know yet that all workers were told to end: %s", error.message)
            elif isinstance(error, BaseException):
                raise error
        return [] if isinstance(left, BaseException) else left

    async def _all_forgotten(self, everyone: Sequence[Worker], grace_ms: int | None) -> Sequence[str]:
        left = await self._wait_until_gone(everyone, grace_ms)
        if not left:
            for pool in list(self._pools.values()):
                if pool.kind != DETACHED:
                    await self._forget(pool)
        return left

    def close(self) -> None:
        """The daemon goes and leaves its workers to the next one."""
        self._closing = True
        for task in self._work:
            task.cancel()

    # --- told by others ---

    def committed(self, commit: Committed) -> None:
        """A job with a worker of its own has ended: that worker may go."""
        if not self._workers.dedication:
            return
        for event in commit.events:
            if event.seq is None:
                continue
            for pool in list(self._pools.values()):
                if pool.job_seq == event.seq:
                    self._spawn(self._maintain_job_pool, pool)

    def reaped(self, worker: Worker) -> None:
        """A worker is gone: start another where its pool wants one, or forget the pool when it is done with."""
        pool = self._pools.get(worker.pool_id)
        if pool is None or self._closing:
            return
        if pool.id in self._workers.awaiting_client and pool.wanted:
            return  # whoever takes it up fills it
        if worker.draining and pool.wanted == 0 and not self._in(pool) and pool.kind != DETACHED:
            self._spawn(self._forget, pool)
        elif len(self._in(pool)) < pool.wanted:
            lived_ms = self._clock.now().wall_ms - worker.since_ms
            pool.failures = pool.failures + 1 if lived_ms < SHORT_LIFE_MS and worker.jobs_done == 0 else 0
            pause = 0 if pool.failures < 2 else min(2 ** (pool.failures - 2), LONGEST_PAUSE_SECONDS)
            log.warning("worker %s is gone; another one starts in %d s", worker.name, pause)
            asyncio.get_running_loop().call_later(pause, self._spawn, self._refill, pool)

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
            pool.wanted = before  # or it would be taken for stored when this is tried again
            raise

    async def _forget(self, pool: Pool) -> None:
        await self._store.pool_remove(pool.id)
        self._pools.pop(pool.id, None)
        self._workers.dedication.pop(pool.id, None)
        self._workers.awaiting_client.discard(pool.id)

    async def _fill(self, pool: Pool) -> Sequence[Worker]:
        """Start what the pool is short of, and return the new workers once they are up."""
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
        if not self._closing and pool.id in self._pools:
            await self._fill(pool)

    async def _end_pool(self, pool: Pool) -> None:
        await self._set_target(pool, 0)
        own = self._in(pool)
        if own:
            await self._end(own, now=False, lower=False)
        else:
            await self._forget(pool)

    async def _end(self, workers: Sequence[Worker], *, now: bool, lower: bool) -> int:
        """Have them end; with `now` their jobs too, of which the longest grace (ms) is given."""
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
        """By job in hand: its grace."""
        seqs = [worker.job.seq for worker in workers if worker.job is not None]
        return {job.seq: job.options.kill_grace_ms for job in await self._store.queries.many(seqs)} if seqs else {}

    async def _wait_until_gone(self, workers: Sequence[Worker], grace_ms: int | None) -> Sequence[str]:
        """Wait until they are gone: at most for this grace and STOP_SECONDS (None: without end). What is left then."""
        timeout = None if grace_ms is None else grace_ms / 1000 + STOP_SECONDS
        if workers:
            await asyncio.wait([worker.gone for worker in workers], timeout=timeout)
        left = [worker.describe_leftover for worker in workers if not worker.gone.done()]
        left += self._workers.survivors.words()
        for each in left:
            log.warning("left behind: %s", each)
        return left

    async def _start_foreground(self, wanted: WorkerStart, client: Hashable, event_seq: int) -> StartedWorkers:
        """A new pool; or, when it is asked for again because the answer was lost, the one that was begun."""
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
            raise Refused(ErrorCode.NOT_FOUND, f"there is no worker pool {pool_id} to take up", {"pool": pool_id})
        self._attach_client(pool, client)
        self._spawn(self._refill, pool)  # what it lost while nobody had it
        return StartedWorkers([self._view(worker) for worker in self._in(pool)], pool_id, event_seq)

    def _attach_client(self, pool: Pool, client: Hashable) -> None:
        pool.client = client
        self._workers.client_attached(pool.id)

    def _reclaim_expired(self, pool: Pool) -> None:
        if pool.id in self._workers.awaiting_client and not self._closing and pool.id in self._pools:
            log.info("nobody took worker pool %d up within %d s; it drains", pool.id, RECLAIM_SECONDS)
            self._spawn(self._end_pool, pool)

    # --- a worker for one job ---

    async def _start_for_job(self, ref: str, event_seq: int) -> StartedWorkers:
        """A worker for this job alone, where no other could take it. Refused (wrong_state): says what holds it back."""
        seq = await selection.resolve_one(self._store, ref)
        job = (await selection.load(self._store, [seq]))[0]
        if job.state is JobState.PROCESSING or has_ended(job.state):
            return StartedWorkers([], None, event_seq)
        paused = (await self._store.counts()).paused
        if job.queue in paused:
            message = f"{job.id} does not start: queue {job.queue} is paused"
            raise Refused(ErrorCode.WRONG_STATE, message, {"id": job.id})
        if not job.ready and job.state is not JobState.FAILED:
            why = "it waits for its time" if job.state is JobState.PENDING else f"it is {job.state}"
            raise Refused(ErrorCode.WRONG_STATE, f"{job.id} does not start yet: {why}", {"id": job.id})
        if self._workers.runs.capacity().workers or any(p.job_seq == seq and p.wanted for p in self._pools.values()):
            return StartedWorkers([], None, event_seq)
        pool = await self._new_pool(JOB, 1, seq)
        started = await self._fill(pool)
        return StartedWorkers([self._view(worker) for worker in started], pool.id, event_seq)

    async def _maintain_job_pool(self, pool: Pool) -> None:
        """Keep the worker while its job may still run; then let it go."""
        jobs = await self._store.queries.many([pool.job_seq or 0])
        if jobs and not has_ended(jobs[0].state):
            await self._refill(pool)
        elif pool.wanted:
            await self._end_pool(pool)

    # --- small things ---

    def _scope(self, pool_id: int | None) -> Sequence[Pool]:
        return [pool for pool in self._pools.values() if pool_id is None or pool.id == pool_id]

    def _in(self, pool: Pool) -> Sequence[Worker]:
        return [worker for worker in self._workers.workers.values() if worker.pool_id == pool.id]

    def _view(self, worker: Worker) -> WorkerView:
        return view(worker, self._pools.get(worker.pool_id))

    def _spawn(self, care: PoolTask, pool: Pool) -> None:
        """Care for a pool in the background. What a full or locked store keeps from being done is done later."""
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
            log.error("care for workers failed", exc_info=error)
