"""The worker pool: starts and watches worker processes, sends them jobs, takes them over after a daemon restart.

It owns the connections to workers and knows what each of them runs. The dispatcher decides which jobs run, the
supervisor how many workers there are.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld import failpoints
from queuectld.domain.errors import Refused
from queuectld.domain.job import Claimed
from queuectld.domain.outcome import EndKind, Outcome
from queuectld.pool.background import BackgroundTasks
from queuectld.pool.cooldown import cool_down
from queuectld.pool.link import WorkerLink, version_mismatch
from queuectld.pool.outcomes import outcome_from_map, run_body
from queuectld.pool.pending_outcomes import PendingOutcomes
from queuectld.pool.process import RunKey, Worker, WorkerPaths, collect_exit, end_child, spawn, watch_exit
from queuectld.pool.run_controller import RunController
from queuectld.pool.survivors import Survivors
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.inbox import Inbox
from queuectld.store.records import StoredOutcome, WorkerRow
from queuectld.store.store import Store
from queuectld.workerwire import procfs, spool

log = logging.getLogger(__name__)


class WorkerPool:
    """All workers of this daemon."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        setting: Callable[[str], Any],
        places: WorkerPaths,
        job_socket: str,
        inbox: Inbox,
    ) -> None:
        self._store = store
        self._clock = clock
        self._setting = setting
        self.places = places
        self.job_socket = job_socket
        """The value of QUEUECTL_SOCKET for jobs."""
        self._inbox = inbox
        self._death_handlers: list[Callable[[Worker], Awaitable[None]]] = []
        """Called for each dead worker; cleared when this daemon ends, since the next one recovers them."""
        self.workers: dict[int, Worker] = {}
        self.awaiting_client: set[int] = set()
        """Foreground pools that no client has reclaimed since this daemon started; their workers get no jobs."""
        self.dedication: dict[int, int] = {}
        """Pool id to the seq of the only job that its workers take."""
        self.runs = RunController(self.workers, self.awaiting_client, self.dedication)
        self.pending_outcomes = PendingOutcomes()
        self._background = BackgroundTasks()
        self.survivors = Survivors(store, clock)

    def on_death(self, settle: Callable[[Worker], Awaitable[None]]) -> None:
        """Call `settle` in the background for each worker whose process ends, until `close`."""
        self._death_handlers.append(settle)

    def admit(self, client: socket.socket) -> None:
        """Accept a connection to the worker socket; its hello identifies the worker."""
        self._background.start(asyncio.get_running_loop().connect_accepted_socket(lambda: WorkerLink(self), client))

    # --- for the dispatcher (scheduler.dispatcher.WorkerPool) ---

    def free(self) -> Sequence[int]:
        """Return the workers that can start any job now."""
        closed = self._closed()
        return [w.id for w in self.workers.values() if w.is_free and w.pool_id not in closed]

    def _closed(self) -> Container[int]:
        """Return the pools whose workers do not take any job: dedicated, or waiting for their client."""
        return self.dedication.keys() | self.awaiting_client if self.awaiting_client else self.dedication

    def dedicated(self) -> Mapping[int, int]:
        """Return the free workers dedicated to one job."""
        if not self.dedication:
            return {}
        return {
            w.id: self.dedication[w.pool_id]
            for w in self.workers.values()
            if w.pool_id in self.dedication and w.is_free
        }

    async def start(self, claimed: Claimed) -> bool:
        """Send the job to its worker. False when the worker is gone and has not received it."""
        failpoints.reached("claim.committed")
        body = run_body(
            claimed,
            shell=str(self._setting("shell")).split(),
            socket=self.job_socket,
            log_max_bytes=self._setting("log_max_bytes"),
        )
        worker = self.workers.get(claimed.worker)
        if worker is None or worker.link is None:
            return False
        if claimed.environment_id in worker.environments:
            worker.environments.recall(claimed.environment_id)
        else:
            try:
                environment = await self._store.queries.environment(claimed.environment_id)
            except LookupError:
                self._cannot_start(claimed, "its environment is missing from the store (see: queuectl doctor)")
                return True
            if not worker.is_connected or self.workers.get(worker.id) is not worker:
                return False
            worker.environments.keep(claimed.environment_id)
            body["environment"] = dict(environment)
        worker.job = RunKey(claimed.seq, claimed.run)
        worker.job_id = claimed.id
        worker.has_begun = False
        worker.link.send("run", body)
        self.runs.stdin_sender.begun(worker, worker.job)
        failpoints.reached("claim.sent")
        self.runs.watchdog.expect_run_start(worker, worker.job)
        timeout_ms, grace_ms = claimed.options.timeout_ms, claimed.options.kill_grace_ms
        if timeout_ms is not None:
            self.runs.watchdog.expect_run_end(worker, worker.job, timeout_ms + grace_ms, "timeout")
        return True

    def _cannot_start(self, claimed: Claimed, words: str) -> None:
        """Report that the run cannot start, so that a damaged job does not affect others."""
        now_ms = self._clock.now().wall_ms
        self._inbox.report(Outcome(claimed.seq, claimed.run, EndKind.CANNOT_START, now_ms, now_ms, words=words))

    def stored(self, outcomes: Sequence[StoredOutcome]) -> None:
        """Acknowledge stored outcomes to their workers, and remove the spool files of dead ones."""
        by_worker: dict[int, list[tuple[int, int]]] = {}
        for outcome in outcomes:
            failpoints.reached("outcome.committed")
            key = RunKey(outcome.seq, outcome.run)
            worker_id = self.pending_outcomes.stored(key)
            if worker_id is not None:
                by_worker.setdefault(worker_id, []).append((key.seq, key.run))
            self.runs.over(key)
        self.survivors.watch_new()
        for worker_id, keys in by_worker.items():
            worker = self.workers.get(worker_id)
            if worker is not None and worker.link is not None:
                worker.link.send("stored", {"runs": keys})
                failpoints.reached("outcome.acknowledged")

    # --- the life of a worker ---

    def client_attached(self, pool_id: int) -> None:
        """A client has reclaimed this pool: its workers may start jobs."""
        self.awaiting_client.discard(pool_id)
        self._inbox.wake()

    async def add(self, pool_id: int, number: int) -> Worker:
        """Start a worker. It is stored before it gets work, and up once its `ready` is done."""
        now = self._clock.now()
        worker = Worker(await self._store.worker_add(pool_id, number, now=now), pool_id, number, now.wall_ms)
        failpoints.reached("supervisor.stored")
        try:
            worker.pid = spawn(worker.id, self.places)
            failpoints.reached("supervisor.spawned")
            worker.start_time = procfs.start_time(worker.pid) or 0
            self._watch(worker)
        except OSError as error:
            if worker.pid:
                end_child(worker.pid)  # it could not be watched
            await self._store.worker_ended(worker.id, now=self._clock.now())
            raise Refused(ErrorCode.BUSY, f"cannot start a worker: {error.strerror}") from error
        self.workers[worker.id] = worker
        try:
            await self._store.worker_started(
                worker.id, worker.pid, worker.start_time, self._clock.boot_id, now=self._clock.now()
            )
        except Refused:
            procfs.send_signal(worker.pid, worker.start_time, signal.SIGKILL)  # what is not stored gets no work
            raise
        self.runs.watchdog.hello(worker, is_new=True)
        return worker

    def take_over(self, row: WorkerRow) -> Worker:
        """Add a worker that an earlier daemon started: alive and about to connect, or dead and to be reaped."""
        worker = Worker(row.id, row.pool, row.number, row.started_ms)
        worker.pid, worker.start_time = row.pid or 0, row.start_time or 0
        worker.ready.set_result(None)
        self.workers[row.id] = worker
        return worker

    def watch_taken_over(self, row: WorkerRow, worker: Worker) -> None:
        """Watch for its end; handled at once if it is of another boot, or gone already."""
        if row.pid and row.boot_id == self._clock.boot_id:
            self._watch(worker)
            self.runs.watchdog.hello(worker, is_new=False)
        else:
            self._ended(worker)

    def drain(self, worker: Worker) -> None:
        """Tell a worker to finish its job and exit."""
        worker.draining = True
        if worker.link is not None:
            worker.link.send("drain", {})
        if worker.job is None:
            self.runs.watchdog.continue_if_stopped(worker)
            self.runs.watchdog.expect_worker_end(worker)

    def adopt_spool(self, alive: Iterable[int]) -> list[Outcome]:
        """Return the spooled outcomes of workers that are not in `alive`; living ones report theirs themselves."""
        living = set(alive)
        found = []
        for path, body in spool.read_all(str(self.places.state)):
            outcome = outcome_from_map(body)
            if outcome.worker not in living:
                self.pending_outcomes.note(RunKey(outcome.seq, outcome.run), file=path)
                found.append(outcome)
        return found

    def reap(self, worker: Worker) -> None:
        """Have settled what a dead worker leaves, unless this daemon is ending: then the next one sees to it."""
        for settle in self._death_handlers:
            self._background.start(settle(worker))

    def forget(self, worker: Worker) -> None:
        """It is gone, and what it ran is settled."""
        del self.workers[worker.id]
        worker.gone.set_result(None)

    async def close(self) -> None:
        """Leave the workers to the next daemon: close every connection."""
        self._death_handlers.clear()
        for worker in self.workers.values():
            if worker.link is not None:
                worker.link.close()
        self.runs.watchdog.close()
        self.survivors.close()
        self._background.close()

    # --- what links tell (LinkOwner) ---

    def frame(self, link: WorkerLink, kind: str, body: Mapping[str, Any]) -> None:
        """A frame of a worker."""
        if kind == "hello":
            self._hello_received(link, body)
            return
        if link.worker is None and kind == "ended":
            link.send("stored", {"runs": [(body["seq"], body["run"])]})  # of one dismissed, which waits for this to end
        worker = self.workers.get(link.worker) if link.worker is not None else None
        if worker is None or worker.link is not link:
            return
        if kind == "ended":
            self._job_ended(worker, body)
        elif kind == "running":
            self._run_confirmed(worker, RunKey(body["seq"], body["run"]), body)
        elif kind == "returned":
            self._claim_returned(worker, RunKey(body["seq"], body["run"]), body.get("short"))
        elif kind == "output":
            self.runs.output_followers.told(body)
        elif kind == "sent":
            self.runs.stdin_sender.told(body)

    def lost(self, link: WorkerLink) -> None:
        """Handle a closed connection. The worker counts as dead only when its process has ended."""
        worker = self.workers.get(link.worker) if link.worker is not None else None
        if worker is not None and worker.link is link:
            worker.link = None
            if worker.job is not None:
                self.runs.stdin_sender.lost(worker.job)

    def _run_confirmed(self, worker: Worker, key: RunKey, body: Mapping[str, Any]) -> None:
        if worker.job == key:
            worker.has_begun = True
            if body.get("pid") and body.get("start_time"):
                self.runs.watchdog.leader(worker, key, body["pid"], body["start_time"])

    def _hello_received(self, link: WorkerLink, body: Mapping[str, Any]) -> None:
        worker = self.workers.get(body["worker"])
        if worker is None or worker.pid != link.pid:
            log.warning("an unknown worker connected: %r, pid %d", body.get("worker"), link.pid)
            link.dismiss(body)
            return
        if other_version := version_mismatch(worker.name, body):
            self._refuse(worker, link, other_version)
            return
        if worker.link is not None:
            worker.link.close()
        link.worker = worker.id
        worker.link = link
        worker.has_connected = True
        worker.environments = type(worker.environments)()
        worker.takes_input = "send" in (body.get("knows") or ())
        worker.jobs_done = body.get("jobs_done", worker.jobs_done)
        link.send("welcome", {})
        running = body.get("running")
        worker.is_stopped = bool(running and running.get("paused"))
        told = [outcome_from_map(ended) for ended in body.get("ended") or ()]
        self._reconcile(worker, running, told)
        for outcome in told:
            self._report(worker, outcome)
        if worker.draining or body.get("draining"):
            self.drain(worker)
        if not worker.ready.done():
            worker.ready.set_result(None)
        self._inbox.wake()

    def _reconcile(self, worker: Worker, body: Mapping[str, Any] | None, told: Sequence[Outcome]) -> None:
        """Reconcile what the worker says it runs with what it was sent."""
        given = worker.job
        running = RunKey(body["seq"], body["run"]) if body else None
        worker.job = running
        if given is not None and given != running and all((o.seq, o.run) != given for o in told):
            # The connection broke before the worker received the claim.
            self.runs.over(given)
            self._inbox.return_claim(given.seq, given.run)
        if running is not None and body is not None and worker.link is not None:
            self._run_confirmed(worker, running, body)
            self.runs.output_followers.resume(worker, running)
            self.runs.stdin_sender.begun(worker, running)
            self._background.start(self._check_running(worker, running))

    async def _check_running(self, worker: Worker, running: RunKey) -> None:
        """Kill a job that was cancelled while its worker was disconnected."""
        jobs = await self._store.queries.many([running.seq])
        job = jobs[0] if jobs else None
        worker.job_id = job.id if job is not None else None
        if job is None or job.run != running.run or job.worker != worker.id:
            grace_ms = job.options.kill_grace_ms if job is not None else 0
            self.runs.kill(worker.id, running.seq, running.run, grace_ms=grace_ms, why="cancelled")
            return
        worker.send_pending(running, paused=job.paused)
        if job.options.timeout_ms is not None:
            left_ms = max(0, (job.started_ms or 0) + job.options.timeout_ms - self._clock.now().wall_ms)
            self.runs.watchdog.expect_run_end(worker, running, left_ms + job.options.kill_grace_ms, "timeout")

    def _refuse(self, worker: Worker, link: WorkerLink, words: str) -> None:
        """Refuse a worker of another version. As without a daemon, it finishes its job, spools the outcome and ends."""
        link.close()
        worker.has_connected = True
        if not worker.is_refused:  # it keeps reconnecting; log once
            log.warning("%s", words)
        worker.is_refused = True
        if not worker.ready.done():
            worker.ready.set_exception(Refused(ErrorCode.VERSION, words))

    def _job_ended(self, worker: Worker, body: Mapping[str, Any]) -> None:
        outcome = outcome_from_map(body)
        worker.job = None
        worker.job_id = None
        worker.jobs_done += 1
        worker.failed_starts = 0
        self._report(worker, outcome)
        if worker.draining:
            self.runs.watchdog.expect_worker_end(worker)

    def _claim_returned(self, worker: Worker, key: RunKey, short: str | None) -> None:
        """The worker did not start the run: it was draining or busy, or lacks a resource (`short`)."""
        if worker.job == key:
            worker.job = None
            worker.job_id = None
        if short is not None:
            cool_down(worker, short, self._inbox.wake)
        self.runs.over(key)
        self._inbox.return_claim(key.seq, key.run)

    def _report(self, worker: Worker, outcome: Outcome) -> None:
        failpoints.reached("outcome.received")
        self.pending_outcomes.note(RunKey(outcome.seq, outcome.run), worker=worker.id)
        self._inbox.report(outcome)

    def _watch(self, worker: Worker) -> None:
        if watch_exit(worker.pid, worker.start_time, lambda: self._ended(worker)) is None:
            self._ended(worker)

    def _ended(self, worker: Worker) -> None:
        worker.has_ended = True
        collect_exit(worker.pid)
        if worker.link is not None:
            worker.link.close()
            worker.link = None
        if not worker.ready.done():
            worker.ready.set_exception(Refused(ErrorCode.INTERNAL, f"worker {worker.name} ended before it was up"))
            worker.ready.exception()
        self.reap(worker)
