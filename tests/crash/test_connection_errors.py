"""Sends and receives of daemon and workers that fail beside a load: nothing is lost, nothing waits for ever."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.disks import allow_tracing, detach, inject
from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.programs import needs

pytestmark = needs("strace")
JOBS = 40
FAULTS = [
    pytest.param("sendto:error=ENOBUFS:when=3+5", "", id="workers send"),
    pytest.param("recvfrom:error=ENOMEM:when=3+5", "", id="workers receive"),
    pytest.param("", "sendto:error=ENOBUFS:when=5+7", id="daemon sends"),
    pytest.param("", "recvfrom:error=ENOMEM:when=5+7", id="daemon receives"),
    pytest.param("sendto,recvfrom:error=EIO:when=4+6", "sendto,recvfrom:error=EIO:when=7+11", id="all of it"),
]


@pytest.fixture
def traceable(home: Home) -> Home:
    """A home with a daemon and three workers that strace may attach to."""
    allow_tracing(home)
    home.start_daemon()
    home.ok("worker", "scale", "3")
    return home


def worker_pids(home: Home) -> list[int]:
    return [worker["pid"] for worker in home.json("worker", "list")]


@pytest.mark.parametrize(("of_workers", "of_daemon"), FAULTS)
def test_every_job_runs_once_and_its_end_is_told_whatever_fails(
    traceable: Home, of_workers: str, of_daemon: str
) -> None:
    home = traceable
    pids = worker_pids(home)
    with ExitStack() as traces:
        for pid, what in [*((pid, of_workers) for pid in pids), (home.daemon_pid(), of_daemon)]:
            if what:
                traces.callback(detach, inject(pid, what, log=home.path / f"trace-{pid}"))
        for first in range(0, JOBS, 20):
            lines = "\n".join(f"echo {n} >> {home.path}/ran" for n in range(first, first + 20))
            home.ok("enqueue", "-q", "-f", "-", input=lines, timeout=60)
        home.ok("wait", "--timeout", "60", timeout=90)
        assert sorted(map(int, (home.path / "ran").read_text().split())) == list(range(JOBS)), "each ran once"
        jobs = home.json("list")
        assert {(job["state"], job["runs"], job["crashes"]) for job in jobs} == {("completed", 1, 0)}
        # A job that would go on for long, and a stop that has to reach it.
        home.ok("enqueue", "--id", "long", "--kill-grace", "1", "sleep 600")
        eventually(lambda: home.states()["long"] == "processing", deadline=20, message="it runs")
        daemon = home.daemon_pid()
        # Of a call that changes something a lost answer is told, and it is for the caller to ask again.
        eventually(lambda: home.cli("daemon", "stop", "--now", timeout=60).returncode == 0, deadline=60)
        assert not Path(f"/proc/{daemon}").exists() or Path(f"/proc/{daemon}/stat").read_text().split()[2] == "Z"
    noted = "".join(path.read_text() for path in home.path.glob("trace-*"))
    assert noted.count("INJECTED") > 5


@pytest.mark.parametrize("verb", ["cancel", "timeout"])
def test_an_end_is_told_over_the_next_connection(traceable: Home, verb: str) -> None:
    """One failed send and no more: it is the very frame that tells the end of the run."""
    home = traceable
    home.ok("worker", "scale", "1")
    eventually(lambda: len(worker_pids(home)) == 1, deadline=20, message="one worker is left")
    trace = inject(worker_pids(home)[0], "sendto:error=ENOBUFS:when=2", log=home.path / "trace")
    try:
        limit = ("--timeout", "1") if verb == "timeout" else ()
        home.ok("enqueue", "--max-retries", "0", "--kill-grace", "1", *limit, "echo begun; exec sleep 600")
        eventually(lambda: home.json("show", "1")["state"] == "processing", deadline=20, message="it runs")
        if verb == "cancel":
            eventually(lambda: "sendto" in (home.path / "trace").read_text(), deadline=20, message="it was announced")
            home.ok("cancel", "1")
        assert home.cli("wait", "1", "--timeout", "30", timeout=60).returncode == 0
        assert home.ok("run", "echo next", timeout=60) == "next\n", "the worker is free"
    finally:
        detach(trace)
    assert "INJECTED" in (home.path / "trace").read_text()
