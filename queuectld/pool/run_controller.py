"""What the services ask of the runs in hand, and of the workers that have them (`scheduler.run_control`)."""

from collections.abc import Container, Mapping
from typing import Any

from queuectld.pool.followers import FollowedOutput, OutputFollowers
from queuectld.pool.process import RunKey, Worker
from queuectld.pool.stdin import StdinSender
from queuectld.pool.watchdog import Watchdog
from queuectld.scheduler.run_control import Capacity


class RunController:
    """What may be asked of the workers that run something, and what is under way with their runs."""

    def __init__(
        self, workers: Mapping[int, Worker], awaiting_client: Container[int], dedication: Mapping[int, int]
    ) -> None:
        """The workers by their id, the foreground pools that wait for their clients, and those kept for one job.

        The pool changes all three.
        """
        self._workers = workers
        self._ownerless = awaiting_client
        self._dedication = dedication
        self.output_followers = OutputFollowers()
        self.stdin_sender = StdinSender()
        self.watchdog = Watchdog()

    def kill(self, worker: int, seq: int, run: int, *, grace_ms: int, why: str) -> None:
        """Begin the kill ladder at the worker that runs this."""
        body = {"seq": seq, "run": run, "reason": why, "grace_ms": grace_ms, "only_signal": None}
        found = self._workers.get(worker)
        if found is not None:
            self.watchdog.continue_if_stopped(found)
            self.watchdog.expect_run_end(found, RunKey(seq, run), grace_ms, why)
        self._tell(worker, "kill", body)

    def signal(self, worker: int, seq: int, run: int, number: int) -> None:
        """Send one signal to all of the job."""
        body = {"seq": seq, "run": run, "reason": "signal", "grace_ms": 0, "only_signal": number}
        self._tell(worker, "kill", body)

    def pause(self, worker: int, seq: int, run: int, *, paused: bool) -> None:
        """STOP or CONT to all of the job."""
        self._tell(worker, "pause" if paused else "resume", {"seq": seq, "run": run})

    def follow(self, worker: int, seq: int, run: int) -> FollowedOutput | None:
        """The output of this execution from now on; None when this worker does not run it."""
        return self.output_followers.follow(self._workers.get(worker), RunKey(seq, run))

    async def send(self, worker: int, seq: int, run: int, data: bytes, *, eof: bool) -> str | None:
        """More for the stdin of this; None once its worker has it, else why not."""
        return await self.stdin_sender.send(self._workers.get(worker), RunKey(seq, run), data, eof=eof)

    def over(self, key: RunKey) -> None:
        """This execution will tell no more: whoever follows its output reads it from the store from now on."""
        self.stdin_sender.over(key)
        self.output_followers.over(key)
        self.watchdog.settled(key)

    def worker_count(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def capacity(self) -> Capacity:
        """How many workers take any job, and how many bring a slot; now or when they are up or have ended another."""
        pools = [w.pool_id for w in self._workers.values() if not w.is_leaving and w.pool_id not in self._ownerless]
        kept = sum(map(self._dedication.__contains__, pools)) if self._dedication else 0
        return Capacity(len(pools) - kept, len(pools))

    def why_unavailable(self) -> str | None:
        """Why there are workers and none of them takes a job, in words; None where one does, or there are none."""
        if not self._workers or self.capacity().slots:
            return None
        if all(w.pool_id in self._ownerless for w in self._workers.values()):
            return "All workers wait for the client that started them to come back, and start no job until then."
        if all(w.is_leaving for w in self._workers.values()):
            return "All workers have been told to end, and start no job any more."
        return "No worker starts a job: they were told to end, or wait for the client that started them to come back."

    def is_recovered(self, worker: int) -> bool:
        """Whether this worker is gone, and what it ran is being ended."""
        found = self._workers.get(worker)
        return found is None or found.has_ended

    def _tell(self, worker_id: int, kind: str, body: Mapping[str, Any]) -> None:
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.tell(kind, body)
