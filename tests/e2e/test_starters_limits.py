"""The limits of the client that happened to start the daemon bind neither it nor the jobs of others."""

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from queuectl_client.autostart import own_environment
from queuectld.ownlimits import JOB_FILES, STACK_BYTES
from tests.support.daemon import QUEUECTL, Home

FREE = ("CPU", "FSIZE", "AS", "DATA", "NPROC", "STACK", "CORE", "NOFILE")
TIGHT = {"CPU": 3, "FSIZE": 1 << 20, "AS": 1 << 32, "DATA": 1 << 32, "NPROC": 500, "STACK": 1 << 20, "CORE": 1 << 20,
         "NOFILE": 64}  # fmt: skip
ASK = f"""
import json, os, resource
limits = {{name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in {FREE}}}
found = {{"limits": limits, "cpus": len(os.sched_getaffinity(0)), "nice": os.nice(0)}}
found["policy"] = os.sched_getscheduler(0)
print(json.dumps(found))
"""


def started_by(home: Home, *words: str, hard: bool = False, env: dict[str, str] | None = None) -> None:
    """Run a client with tight limits, on one processor, with a niceness and signals ignored."""

    def tighten() -> None:
        for name, value in TIGHT.items():
            which = getattr(resource, f"RLIMIT_{name}")
            before = resource.getrlimit(which)[1]
            soft = value if before == resource.RLIM_INFINITY else min(value, before)
            resource.setrlimit(which, (soft, (1 << 50) if hard and name == "FSIZE" else before))
        os.nice(5)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})

    subprocess.run(
        [QUEUECTL, *words], env=home.env | (env or {}), cwd=home.path, preexec_fn=tighten, check=True, timeout=60
    )


def as_it_should_be(name: str) -> tuple[int, int]:
    """The soft and hard limit of a daemon's job here, where the test itself has no tighter hard limits."""
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
    wanted = {"STACK": STACK_BYTES, "CORE": 0, "NOFILE": JOB_FILES}.get(name, hard)
    return (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard) if wanted >= 0 else hard), hard


@pytest.mark.parametrize("words", [["worker", "start", "-d"], ["daemon", "start"]], ids=["autostarted", "by hand"])
def test_what_bound_the_starter_binds_no_job(home: Home, words: list[str]) -> None:
    started_by(home, *words)
    home.ok("worker", "start", "-d")
    found = json.loads(home.ok("run", "--", "python3", "-c", ASK, env={"PATH": os.environ["PATH"]}))
    for name in FREE:
        limits = found["limits"][name]
        if limits[1] == resource.RLIM_INFINITY:  # where this user may raise hard ones, they are
            limits[1] = as_it_should_be(name)[1]
            limits[0] = as_it_should_be(name)[0] if limits[0] == resource.RLIM_INFINITY else limits[0]
        assert tuple(limits) == as_it_should_be(name), name
    assert found["cpus"] == len(os.sched_getaffinity(0))
    assert found["policy"] == os.SCHED_OTHER
    doctor = home.ok("doctor")
    told = "a niceness of" in doctor and "a niceness of" in home.daemon_log()
    assert (found["nice"] > os.nice(0)) is told, doctor
    assert "problem" not in doctor
    status = Path(f"/proc/{home.daemon_pid()}/status").read_text()
    assert "SigBlk:\t0000000000000000" in status
    ignored = int(status.partition("SigIgn:\t")[2][:16], 16)
    assert not ignored & sum(1 << number - 1 for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM))
    home.ok("daemon", "stop")


def test_a_hard_limit_that_cannot_be_raised_is_told(home: Home) -> None:
    started_by(home, "status", hard=True)
    hard = resource.prlimit(home.daemon_pid(), resource.RLIMIT_FSIZE)[1]
    if hard == resource.RLIM_INFINITY:
        assert "the size of a file" not in home.ok("doctor")  # root may raise it
    else:
        assert "limits of the daemon and all jobs: the size of a file: 1,125,899,906,842,624 bytes" in home.ok("doctor")
        assert "have limits that cannot be raised: the size of a file" in home.daemon_log()


def test_limits_that_a_service_manager_gives_are_kept(home: Home) -> None:
    daemon = home.start_daemon()
    resource.prlimit(daemon.pid, resource.RLIMIT_CPU, (5000, resource.prlimit(daemon.pid, resource.RLIMIT_CPU)[1]))
    home.ok("worker", "start", "-d")
    assert home.ok("run", "ulimit -St") == "5000\n"


def test_what_would_change_how_the_daemon_runs_stays_with_the_client(home: Home) -> None:
    given = {"PYTHONWARNINGS": "error", "PYTHONIOENCODING": "ascii", "PYTHONINSPECT": "1", "NOTIFY_SOCKET": "/nowhere"}
    home.ok("daemon", "start", env=given | {"QUEUECTL_RUN": "9", "QUEUECTL_JOB_ID": "x"})
    environ = Path(f"/proc/{home.daemon_pid()}/environ").read_bytes()
    for name in (*given, "QUEUECTL_RUN", "QUEUECTL_JOB_ID"):
        assert name.encode() + b"=" not in environ
    home.ok("worker", "start", "-d")
    assert home.ok("run", "echo $PYTHONWARNINGS-$PYTHONINSPECT", env={"PYTHONWARNINGS": "once"}) == "once-\n"
    home.ok("daemon", "stop")


def test_pythonpath_stays_where_this_package_is_found_by_it(tmp_path: Path) -> None:
    here = str(Path(__file__).parents[2])
    kept = {"PATH": "/bin", "PYTHONHOME": "/usr", "LD_LIBRARY_PATH": "/lib", "QUEUECTL_HOME": "/q"}
    given = kept | {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "x", "LD_PRELOAD": "x.so", "LISTEN_FDS": "1"}
    assert own_environment(given) == kept
    both = f"{tmp_path}:{here}"
    assert own_environment(given | {"PYTHONPATH": both}) == kept | {"PYTHONPATH": both}
