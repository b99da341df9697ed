"""Where a crash happens: a home, a daemon that comes back, jobs with marks, and all that must hold in the end."""

import os
import uuid
from pathlib import Path
from typing import Any, Final

from tests.crash.marks import Marked, Marks
from tests.crash.restarter import Restarter
from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.processes import processes_of

DEADLINE_S: Final = 60


class Stage:
    """One home. Use `restarter` as a context manager: there is a daemon inside it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.marks = Marks(home.path / "marks")
        self.restarter = Restarter(home)
        self.ask = self.restarter.ask
        self.jobs: list[Marked] = []
        self._gate_path = home.path / "gate"
        os.mkfifo(self._gate_path)
        self._gate = os.open(self._gate_path, os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Give back the gate."""
        os.close(self._gate)

    def scale(self, count: int) -> list[dict[str, Any]]:
        """Have so many detached workers; they are told."""
        found: list[dict[str, Any]] = self.ask("worker.scale", count=count)["workers"]
        return found

    def enqueue(self, *jobs: Marked, **keys: Any) -> None:
        """Store jobs, whatever it takes."""
        for job in jobs:
            self.ask("enqueue", **job.spec | keys, request=str(uuid.uuid4()))
            self.jobs.append(job)

    def gated(self, name: str = "gated", **keys: Any) -> Marked:
        """A job that goes on when the gate is opened."""
        return self.marks.job(name, meanwhile=f"read line < {self._gate_path}", **keys)

    def open_gate(self) -> None:
        """Let every run through, now and later."""
        os.write(self._gate, b"go\n" * 200)

    def run_gated(self, name: str = "gated", **keys: Any) -> Marked:
        """A job that has begun and waits at the gate."""
        job = self.gated(name)
        self.enqueue(job, **keys)
        eventually(lambda: self.marks.text(name), deadline=DEADLINE_S)
        return job

    def job(self, id: str) -> dict[str, Any]:
        """A job with its attempts."""
        found: dict[str, Any] = self.ask("job.get", id=id)
        return found

    def workers(self) -> list[dict[str, Any]]:
        """The workers as the daemon tells of them."""
        found: list[dict[str, Any]] = self.ask("worker.list")["workers"]
        return found

    def worker_of(self, job: str) -> int:
        """The pid of the worker that runs a job."""
        pids: list[int] = eventually(
            lambda: [worker["pid"] for worker in self.workers() if worker["job"] == job], deadline=DEADLINE_S
        )
        return pids[0]

    def processes(self, job: str) -> list[int]:
        """Living processes that a run of the job has started."""
        mark = b"QUEUECTL_JOB_ID=" + job.encode()
        return [pid for pid in processes_of(self.home.path) if mark in _proc(pid, "environ").split(b"\0")]

    def output(self, job: str) -> bytes:
        """All of what the last run of a job has written."""
        data, at = b"", 0
        while True:
            page = self.ask("job.logs", id=job, offset=at)
            data += page["data"]
            at = page["next"]
            if page["eof"] or not page["data"]:
                return data

    def wait(self) -> None:
        """Until every job has ended."""
        ids = [job.id for job in self.jobs]
        assert self.ask("job.wait", ids=ids, timeout=DEADLINE_S)["done"], f"not ended: {self.not_ended()}"

    def not_ended(self) -> list[str]:
        """Which jobs, in which state, at which worker."""
        jobs = self.ask("list", filter="state=pending or state=processing or state=failed or state=blocked")["jobs"]
        return [f"{job['id']} {job['state']} {job['worker']}" for job in jobs]

    def finish(self, *, workers: int) -> None:
        """Every job ends, and all is as it must be."""
        if self.jobs:
            self.wait()
        wrong = [fault for job in self.jobs for fault in self.faults_of(job)]
        assert wrong == [], "\n".join(wrong)
        counts = self.ask("status")["counts"]
        assert counts["processing"] == counts["pending"] == counts["failed"] == 0, counts
        eventually(lambda: self._all_workers_are_known(workers), deadline=DEADLINE_S, message="workers")
        eventually(self._nothing_is_left_over, deadline=DEADLINE_S, message="files")

    def faults_of(self, job: Marked) -> list[str]:
        """What is wrong with a job that has ended."""
        return self.marks.faults(job, self.job(job.id), None if job.output is None else self.output(job.id))

    def _all_workers_are_known(self, count: int) -> bool:
        """The pool has its size again, and no process but those is a worker of this home."""
        told = [worker["pid"] for worker in self.workers()]
        assert len(told) == count, told
        running = [pid for pid in processes_of(self.home.path) if b"queuectld.worker.main" in _proc(pid, "cmdline")]
        assert sorted(told) == sorted(running), (told, running)
        return True

    def _nothing_is_left_over(self) -> bool:
        """Files of dead workers, and outcomes that were stored, are gone."""
        known = {worker["id"].removeprefix("w") for worker in self.workers()}
        spool = list((self.home.state / "spool").iterdir())
        live = [*self.home.state.glob("worker-*.state"), *self.home.logs.glob("worker-*")]
        left = [file for file in spool if file.name.removesuffix(".reserve") not in known]
        left += [file for file in live if file.name.split("-")[1].split(".")[0] not in known]
        assert left == [], left
        return True


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
