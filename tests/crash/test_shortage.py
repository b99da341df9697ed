"""A worker that is short of descriptors, memory or processes: its jobs are not counted, and done by others."""

import pytest

from tests.crash.disks import allow_tracing, detach, inject
from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.programs import needs

pytestmark = needs("strace")


def start(home: Home, workers: int) -> list[int]:
    allow_tracing(home)
    home.start_daemon()
    home.ok("worker", "scale", str(workers))
    return [worker["pid"] for worker in home.json("worker", "list")]


@pytest.mark.parametrize("what", ["pipe2:error=EMFILE", "clone3,clone,vfork:error=EAGAIN", "chdir:error=ENOMEM"])
def test_another_worker_takes_the_jobs_and_none_pays_for_it(home: Home, what: str) -> None:
    short, _ = start(home, 2)
    trace = inject(short, what, log=home.path / "trace")
    try:
        home.ok("enqueue", "-q", "--max-retries", "1", "-f", "-", input="\n".join(["echo done"] * 20))
        assert home.cli("wait", "--timeout", "60", timeout=90).returncode == 0
    finally:
        detach(trace)
    jobs = home.json("list")
    assert {(job["state"], job["attempts"], job["runs"], job["crashes"]) for job in jobs} == {("completed", 0, 1, 0)}
    assert "INJECTED" in (home.path / "trace").read_text()
    assert home.daemon_log().count("cannot start a job ") == 1


def test_the_only_worker_begins_later_and_a_follower_sees_it(home: Home) -> None:
    (only,) = start(home, 1)
    trace = inject(only, "pipe2:error=EMFILE", log=home.path / "trace")
    try:
        home.ok("enqueue", "--id", "one", "--max-retries", "1", "echo done")
        follower = home.popen("follow", "one")
        # It has been tried, given back, and tried again.
        eventually(
            lambda: (home.path / "trace").read_text().count("INJECTED") > 5, deadline=30, message="it is tried again"
        )
    finally:
        detach(trace)
    out, said = follower.communicate(timeout=60)
    assert (follower.returncode, out) == (0, "done\n"), said
    job = home.json("show", "one")
    assert (job["state"], job["runs"], job["crashes"]) == ("completed", 1, 0)
