"""Controls running executions on behalf of the services; implements `scheduler.run_control`."""

from collections.abc import Container, Mapping
from typing import Any

from queuectld.pool.followers import FollowedOutput, OutputFollowers
from queuectld.pool.process import RunKey, Worker
from queuectld.pool.stdin import StdinSender
from queuectld.pool.watchdog import Watchdog
from queuectld.scheduler.run_control import Capacity


class RunController:
    """Sends requests about runs to their workers, and tracks followers, input and deadlines of runs."""

    def __init__(
        self, workers: Mapping[int, Worker], awaiting_client: Container[int], dedication: Mapping[int, int]
    ) -> None:
        """Keep references to the pool's workers, foreground pools awaiting their client, and dedicated pools."""
        self._workers = workers
        self._ownerless = awaiting_client
        self._dedication = dedication
        self.output_followers = OutputFollowers()
        self.stdin_sender = StdinSender()
        self.watchdog = Watchdog()

    def kill(self, worker: int, seq: int, run: int, *, grace_ms: int, why: str) -> None:
        """Send TERM to all processes of the job, and KILL after `grace_ms`."""
        body = {"seq": seq, "run": run, "reason": why, "grace_ms": grace_ms, "only_signal": None}
        found = self._workers.get(worker)
        if found is not None:
            self.watchdog.continue_if_stopped(found)
            self.watchdog.expect_run_end(found, RunKey(seq, run), grace_ms, why)
        self._tell(worker, "kill", body)

    def signal(self, worker: int, seq: int, run: int, number: int) -> None:
        """Send a signal to all processes of the job."""
        body = {"seq": seq, "run": run, "reason": "signal", "grace_ms": 0, "only_signal": number}
        self._tell(worker, "kill", body)

    def pause(self, worker: int, seq: int, run: int, *, paused: bool) -> None:
        """Send STOP or CONT to all processes of the job."""
        self._tell(worker, "pause" if paused else "resume", {"seq": seq, "run": run})

    def follow(self, worker: int, seq: int, run: int) -> FollowedOutput | None:
        """Return the live output of an execution, or None if this worker does not run it."""
        return self.output_followers.follow(self._workers.get(worker), RunKey(seq, run))

    async def send(self, worker: int, seq: int, run: int, data: bytes, *, eof: bool) -> str | None:
        """Write to the stdin of an execution. None once its worker has the data, else the reason of the refusal."""
        return await self.stdin_sender.send(self._workers.get(worker), RunKey(seq, run), data, eof=eof)

    def over(self, key: RunKey) -> None:
        """End everything tracked for an execution; followers read its output from the store from now on."""
        self.stdin_sender.over(key)
        self.output_followers.over(key)
        self.watchdog.settled(key)

    def worker_count(self) -> int:
        """Return the number of workers."""
        return len(self._workers)

    def capacity(self) -> Capacity:
        """Return how many workers take any job and how many slots there are, now or after their current job."""
        pools = [w.pool_id for w in self._workers.values() if not w.is_leaving and w.pool_id not in self._ownerless]
        kept = sum(map(self._dedication.__contains__, pools)) if self._dedication else 0
        return Capacity(len(pools) - kept, len(pools))

    def why_unavailable(self) -> str | None:
        """Explain why none of the workers takes jobs. None if one does, or there are no workers."""
        if not self._workers or self.capacity().slots:
            return None
        if all(w.pool_id in self._ownerless for w in self._workers.values()):
            return "All workers wait for the client that started them to reconnect, and start no jobs until then."
        if all(w.is_leaving for w in self._workers.values()):
            return "All workers have been told to end, and start no more jobs."
        return "No worker starts jobs: they were told to end, or wait for the client that started them to reconnect."

    def is_recovered(self, worker: int) -> bool:
        """Whether this worker is gone and its run is being recovered."""
        found = self._workers.get(worker)
        return found is None or found.has_ended

    def _tell(self, worker_id: int, kind: str, body: Mapping[str, Any]) -> None:
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.tell(kind, body)
