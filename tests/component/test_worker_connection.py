"""A worker and its daemon: how they find each other, part, and meet again; nothing of a job is lost meanwhile."""

import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from queuectld.boot import boot_id
from queuectld.workerwire import procfs, runmark, spool, statefile
from tests.support.eventually import eventually
from tests.support.fakedaemon import FakeDaemon, open_gate
from tests.support.programs import needs


def gate(daemon: FakeDaemon) -> Path:
    """A job that reads from it waits until the test writes to it."""
    path = daemon.home / "gate"
    os.mkfifo(path)
    return path


def run_until_gate(daemon: FakeDaemon, **job: object) -> None:
    daemon.run("echo before; read -r _ < gate; echo after; exit 4", cwd=str(daemon.home), **job)


def spooled(daemon: FakeDaemon) -> list[dict[str, object]]:
    return [body for _, body in spool.read_all(str(daemon.state))]


def spool_names(daemon: FakeDaemon) -> list[str]:
    return sorted(entry.name for entry in (daemon.state / "spool").iterdir())


def test_hello_says_who_it_is(daemon: FakeDaemon) -> None:
    hello = daemon.hello
    assert (hello["worker"], hello["pid"], hello["protocol"], hello["jobs_done"]) == (12, daemon.pid, 1, 0)
    assert hello["start_time"] == procfs.start_time(daemon.pid)
    assert hello["boot_id"] == boot_id()
    assert (hello["running"], hello["ended"], hello["draining"]) == (None, [], False)


def test_a_long_job_is_told_to_run_and_a_short_one_only_to_have_ended(daemon: FakeDaemon) -> None:
    pipe = gate(daemon)
    run_until_gate(daemon)
    running = daemon.expect("running")
    assert (running["seq"], running["run"]) == (1, 1)
    assert running["start_time"] == procfs.start_time(running["pid"])
    open_gate(pipe)
    assert daemon.expect("ended")["pid"] == running["pid"]


def test_the_state_file_tells_the_run_in_hand(daemon: FakeDaemon) -> None:
    pipe = gate(daemon)
    run_until_gate(daemon, seq=5, run=2)
    running = daemon.expect("running")
    path = Path(statefile.path_of(str(daemon.state), 12))
    record = eventually(lambda: statefile.read(str(path)))
    group = record.pop("cgroup")  # where the tests themselves run in a group that is delegated to them
    assert group is None or group.endswith(f"/queuectl-w12-{daemon.pid}")
    assert record.pop("mark") == runmark.of(running["pid"])
    assert record == {
        "seq": 5,
        "run": 2,
        "job": "job_5",
        "pid": running["pid"],
        "start_time": running["start_time"],
        "started_ms": running["started_ms"],
        "socket": str(daemon.home / "queuectl.sock"),
        "worker_pid": daemon.pid,
        "worker_start_time": procfs.start_time(daemon.pid),
        "boot_id": boot_id(),
    }
    assert path.stat().st_mode & 0o777 == 0o600
    open_gate(pipe)
    daemon.expect("ended")


def test_the_state_file_is_written_before_the_process_exists(daemon: FakeDaemon) -> None:
    script = f"cp {statefile.path_of(str(daemon.state), 12)} seen"
    daemon.outcome(script, cwd=str(daemon.home), seq=8, run=3)
    record = statefile.read(str(daemon.home / "seen"))
    assert record is not None
    assert (record["seq"], record["run"], record["pid"]) == (8, 3, 0)


def test_a_run_that_comes_while_it_is_busy_is_returned(daemon: FakeDaemon) -> None:
    pipe = gate(daemon)
    run_until_gate(daemon)
    daemon.run("echo two", seq=2)
    assert daemon.expect("returned") == {"seq": 2, "run": 1}
    open_gate(pipe)
    assert daemon.expect("ended")["exit_code"] == 4


def test_a_job_ends_while_the_daemon_is_gone_and_its_outcome_is_spooled(daemon: FakeDaemon) -> None:
    pipe = gate(daemon)
    run_until_gate(daemon)
    daemon.expect("running")
    daemon.vanish()
    open_gate(pipe)
    body = eventually(lambda: spooled(daemon), message="the outcome in the spool")[0]
    assert (body["kind"], body["exit_code"]) == ("exit", 4)
    assert daemon.output(body) == b"before\nafter\n"
    assert (daemon.state / "spool/12.1.1").stat().st_mode & 0o777 == 0o600

    daemon.listen()
    assert daemon.accept()["ended"] == [body]
    assert spooled(daemon) == [body]  # until it is stored
    daemon.stored()
    eventually(lambda: spooled(daemon) == [], message="the spool is empty")
    assert daemon.output(daemon.outcome("echo next", seq=2)) == b"next\n"


def test_a_running_job_is_taken_back_with_its_output_and_pause(daemon: FakeDaemon) -> None:
    pipe = gate(daemon)
    run_until_gate(daemon)
    told = daemon.expect("running")
    daemon.vanish()
    daemon.listen()
    running = daemon.accept()["running"]
    assert running == {**told, "paused": False}
    daemon.send("pause", {"seq": 1, "run": 1})
    eventually(lambda: (process := procfs.look(told["pid"])) is not None and process.state == "T")
    daemon.vanish()
    daemon.listen()
    assert daemon.accept()["running"] == {**told, "paused": True}
    daemon.send("resume", {"seq": 1, "run": 1})
    open_gate(pipe)
    assert daemon.output(daemon.expect("ended")) == b"before\nafter\n"


def test_an_outcome_that_was_told_and_not_stored_is_told_again(daemon: FakeDaemon) -> None:
    daemon.run("echo out")
    body = daemon.expect("ended")
    daemon.vanish()
    eventually(lambda: spooled(daemon) == [body], message="spooled")
    daemon.listen()
    assert daemon.accept()["ended"] == [body]
    daemon.stored()
    eventually(lambda: spooled(daemon) == [])
    daemon.vanish()
    daemon.listen()
    assert daemon.accept()["ended"] == []


def test_the_kill_ladder_goes_on_when_the_daemon_goes(daemon: FakeDaemon) -> None:
    daemon.run("trap '' TERM; : > ready; while :; do :; done", cwd=str(daemon.home))
    eventually((daemon.home / "ready").exists)
    daemon.kill("cancelled", grace_ms=300)
    daemon.vanish()
    body = eventually(lambda: spooled(daemon))[0]
    assert (body["signal"], body["words"]) == (signal.SIGKILL, "cancelled")


def test_environments_are_sent_anew_on_a_new_connection(daemon: FakeDaemon) -> None:
    daemon.outcome("true", environment={"WHICH": "old"})
    daemon.vanish()
    daemon.listen()
    daemon.accept()
    assert daemon.output(daemon.outcome("echo $WHICH", environment={"WHICH": "new"})) == b"new\n"
    daemon.vanish()
    daemon.listen()
    daemon.accept()
    daemon.run("echo $WHICH", environment=None)  # what it had before does not count any more
    assert daemon.has_hung_up()


def test_a_run_without_its_environment_is_not_begun_and_the_connection_is_made_anew(daemon: FakeDaemon) -> None:
    daemon.run("touch begun", cwd=str(daemon.home), environment=None)
    assert daemon.has_hung_up()
    assert daemon.accept()["running"] is None
    assert not (daemon.home / "begun").exists()


@pytest.mark.parametrize("rubbish", [b"\xc1", b"\x01\x02\x03", b"\xdd\xff\xff\xff\xff", b"\x92\x01\x80"])
def test_rubbish_makes_it_connect_anew_and_the_job_goes_on(daemon: FakeDaemon, rubbish: bytes) -> None:
    pipe = gate(daemon)
    run_until_gate(daemon)
    daemon.expect("running")
    daemon.send_bytes(rubbish)
    assert daemon.has_hung_up()
    assert daemon.accept()["running"]["seq"] == 1
    open_gate(pipe)
    assert daemon.expect("ended")["exit_code"] == 4


def test_frames_that_are_not_known_are_passed_over(daemon: FakeDaemon) -> None:
    daemon.send("something-new", {"with": ["anything"]})
    assert daemon.output(daemon.outcome("echo next")) == b"next\n"


@pytest.mark.parametrize("how", ["frame", "SIGTERM", "SIGINT"])
def test_drain_lets_the_job_finish_and_waits_until_it_is_stored(daemon: FakeDaemon, how: str) -> None:
    pipe = gate(daemon)
    run_until_gate(daemon)
    daemon.expect("running")
    if how == "frame":
        daemon.send("drain", {})
    else:
        os.kill(daemon.pid, getattr(signal, how))
    daemon.run("echo two", seq=2)
    daemon.expect("returned")
    open_gate(pipe)
    assert daemon.expect("ended")["exit_code"] == 4
    assert daemon.process is not None
    assert daemon.process.poll() is None
    daemon.stored()
    assert daemon.expect("drained") == {}
    assert daemon.wait_for_exit() == 0
    assert spool_names(daemon) == []


def test_an_idle_worker_drains_at_once(daemon: FakeDaemon) -> None:
    daemon.send("drain", {})
    daemon.expect("drained")
    assert daemon.wait_for_exit() == 0
    assert list(daemon.logs.iterdir()) == []


def test_a_hangup_does_not_touch_it(daemon: FakeDaemon) -> None:
    os.kill(daemon.pid, signal.SIGHUP)
    assert daemon.output(daemon.outcome("echo next")) == b"next\n"


def test_an_idle_worker_without_a_daemon_gives_up(idle_daemon: FakeDaemon) -> None:
    idle_daemon.start_worker("--patience", "0.2")
    idle_daemon.vanish()
    assert idle_daemon.wait_for_exit() == 0
    assert spool_names(idle_daemon) == []


def test_a_worker_that_never_finds_a_daemon_gives_up(idle_daemon: FakeDaemon) -> None:
    idle_daemon.launch("--patience", "0.2")
    idle_daemon.vanish()
    assert idle_daemon.wait_for_exit() == 0


def test_a_busy_worker_does_not_give_up_and_leaves_its_outcome_behind(idle_daemon: FakeDaemon) -> None:
    idle_daemon.start_worker("--patience", "0.2")
    pipe = gate(idle_daemon)
    run_until_gate(idle_daemon)
    idle_daemon.expect("running")
    idle_daemon.vanish()
    past_its_patience = time.monotonic() + 0.6
    eventually(lambda: time.monotonic() > past_its_patience, message="time goes by")
    assert idle_daemon.process is not None
    assert idle_daemon.process.poll() is None
    open_gate(pipe)
    assert idle_daemon.wait_for_exit() == 0
    assert [body["exit_code"] for body in spooled(idle_daemon)] == [4]
    assert spool_names(idle_daemon) == ["12.1.1"]


@needs("strace")
def test_a_full_disk_does_not_lose_an_outcome(idle_daemon: FakeDaemon) -> None:
    trace = idle_daemon.home / "trace"
    reserve = idle_daemon.state / "spool/12.reserve"
    inject = ("-e", "trace=openat,pwrite64", "-e", "inject=pwrite64:error=ENOSPC", "-P", str(reserve))
    idle_daemon.start_worker("--patience", "0.2", prefix=("strace", "-o", str(trace), *inject))
    pipe = gate(idle_daemon)
    run_until_gate(idle_daemon)
    idle_daemon.expect("running")
    idle_daemon.vanish()
    open_gate(pipe)
    complaint = "cannot spool an outcome: [Errno 28] No space left on device"
    # Once when the job ends, and again when its patience is over: it does not give up.
    eventually(lambda: idle_daemon.log.read_text().count(complaint) > 1, message="it says so again")
    idle_daemon.listen()
    ended = idle_daemon.accept()["ended"]  # the outcome was in its memory alone
    assert [body["exit_code"] for body in ended] == [4]


def test_the_reserve_is_there_before_it_is_needed(daemon: FakeDaemon) -> None:
    reserve = daemon.state / "spool/12.reserve"
    assert reserve.stat().st_blocks * 512 >= spool.RESERVE_BYTES
    assert reserve.parent.stat().st_mode & 0o777 == 0o700


AS_ANOTHER_USER = (
    sys.executable,
    "-c",
    "import os, runpy, sys; os.geteuid = lambda: 4242; sys.argv = sys.argv[3:];"
    "runpy.run_module('queuectld.worker.main', run_name='__main__', alter_sys=True)",
)


def test_a_listener_of_another_user_is_not_talked_to(idle_daemon: FakeDaemon) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(idle_daemon.socket))
    if os.geteuid() == 0:
        # The peer credentials of a listener are those of the process that called listen(2).
        child = os.fork()
        if child == 0:
            os.setresuid(65534, 65534, 65534)
            listener.listen()
            os._exit(0)
        os.waitpid(child, 0)
    else:
        listener.listen()
    listener.settimeout(20)
    idle_daemon.use(listener)
    # A plain user cannot become another one, so there it is the worker that believes to be somebody else.
    idle_daemon.launch("--patience", "0.3", prefix=() if os.geteuid() == 0 else AS_ANOTHER_USER)
    assert idle_daemon.wait_for_exit() == 0
    stranger, _ = listener.accept()
    with stranger:
        stranger.settimeout(20)
        assert stranger.recv(1) == b""


def test_a_socket_path_longer_than_the_kernel_takes(idle_daemon: FakeDaemon) -> None:
    deep = idle_daemon.home / ("d" * 120)
    deep.mkdir()
    idle_daemon.listen()
    idle_daemon.socket.rename(deep / "workers.sock")
    idle_daemon.socket = deep / "workers.sock"
    idle_daemon.start_worker()
    assert idle_daemon.output(idle_daemon.outcome("echo next")) == b"next\n"


def test_a_job_ends_and_is_recorded_though_the_installed_package_is_gone(idle_daemon: FakeDaemon) -> None:
    package = idle_daemon.home / "package"
    root = Path(spool.__file__).parents[2]
    shutil.copytree(root / "queuectld", package / "queuectld")
    shutil.copytree(root / "queuectl_client", package / "queuectl_client")
    idle_daemon.start_worker(package=package)
    shutil.rmtree(package)
    pipe = gate(idle_daemon)
    run_until_gate(idle_daemon, timeout_ms=60_000)
    idle_daemon.expect("running")
    idle_daemon.vanish()
    open_gate(pipe)
    eventually(lambda: spooled(idle_daemon))
    idle_daemon.listen()
    idle_daemon.accept()
    idle_daemon.stored()
    body = idle_daemon.outcome("setsid sleep 600 & exit 1", seq=2)
    assert body["exit_code"] == 1


def test_a_worker_does_not_grow_with_the_jobs_it_has_run(daemon: FakeDaemon) -> None:
    def resident_kib() -> int:
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    for seq in range(1, 101):
        daemon.outcome("echo out", seq=seq)
    before = resident_kib()
    for seq in range(101, 701):
        daemon.outcome("echo out", seq=seq)
    assert resident_kib() - before < 1024
