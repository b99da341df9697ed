"""What the services ask of the runs in hand, and of the workers that have them (`scheduler.hands.Hands`)."""

from collections.abc import Mapping
from typing import Any

from queuectld.pool.followers import FollowedRun, Follows
from queuectld.pool.process import RunKey, Worker
from queuectld.pool.stdin import Sending
from queuectld.pool.watchdog import Overdue


class RunHands:
    """The workers by their id, and what may be asked of those that run something."""

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self.ownerless: set[int] = set()
        """Foreground pools that no client has taken up since this daemon started: their workers start no job."""
        self._follows = Follows()
        self._sending = Sending()
        self._overdue = Overdue()

    def kill(self, worker: int, seq: int, run: int, *, grace_ms: int, why: str) -> None:
        """Begin the kill ladder at the worker that runs this."""
        body = {"seq": seq, "run": run, "reason": why, "grace_ms": grace_ms, "only_signal": None}
        found = self.workers.get(worker)
        if found is not None:
            self._overdue.rouse(found)
            self._overdue.end_of_run(found, RunKey(seq, run), grace_ms, why)
        self._tell(worker, "kill", body)

    def signal(self, worker: int, seq: int, run: int, number: int) -> None:
        """Send one signal to all of the job."""
        body = {"seq": seq, "run": run, "reason": "signal", "grace_ms": 0, "only_signal": number}
        self._tell(worker, "kill", body)

    def pause(self, worker: int, seq: int, run: int, *, paused: bool) -> None:
        """STOP or CONT to all of the job."""
        self._tell(worker, "pause" if paused else "resume", {"seq": seq, "run": run})

    def follow(self, worker: int, seq: int, run: int) -> FollowedRun | None:
        """The output of this execution from now on; None when this worker does not run it."""
        return self._follows.follow(self.workers.get(worker), RunKey(seq, run))

    async def send(self, worker: int, seq: int, run: int, data: bytes, *, eof: bool) -> str | None:
        """More for the stdin of this; None once its worker has it, else why not."""
        return await self._sending.send(self.workers.get(worker), RunKey(seq, run), data, eof=eof)

    def worker_count(self) -> int:
        """How many workers there are."""
        return len(self.workers)

    def open_count(self) -> int:
        """How many of them take jobs, or will when they are up or have ended what they run."""
        return sum(not w.is_leaving and w.pool_id not in self.ownerless for w in self.workers.values())

    def why_none_is_open(self) -> str | None:
        """Why there are workers and none of them takes a job, in words; None where one does, or there are none."""
        if not self.workers or self.open_count():
            return None
        if all(w.pool_id in self.ownerless for w in self.workers.values()):
            return "All workers wait for the client that started them to come back, and start no job until then."
        if all(w.is_leaving for w in self.workers.values()):
            return "All workers have been told to end, and start no job any more."
        return "No worker starts a job: they were told to end, or wait for the client that started them to come back."

    def is_recovered(self, worker: int) -> bool:
        """Whether this worker is gone, and what it ran is being ended."""
        found = self.workers.get(worker)
        return found is None or found.has_ended

    def _tell(self, worker_id: int, kind: str, body: Mapping[str, Any]) -> None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.tell(kind, body)
