"""The parts of a worker that the daemon uses, too: frames, state file, spool, processes."""

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectld.pool import process
from queuectld.worker import capture
from queuectld.workerwire import frames, outputfiles, procfs, runmark, spool, statefile
from tests.support.eventually import eventually

FORBIDDEN = {"asyncio", "typing", "dataclasses", "subprocess", "re", "json", "sqlite3", "peewee", "threading", "click"}


def test_a_worker_imports_little() -> None:
    code = "import sys, queuectld.worker.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not FORBIDDEN.intersection(loaded)
    assert not [name for name in loaded if name.startswith(("queuectl_client", "queuectld.domain", "queuectld.store"))]


@given(cuts=st.lists(st.integers(1, 40), max_size=30), text=st.text(st.characters(), max_size=30), data=st.binary())
def test_frames_come_out_whole_however_they_were_cut(cuts: list[int], text: str, data: bytes) -> None:
    odd = data.decode("utf-8", "surrogateescape")
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte never comes out of os.fsdecode
        text = ""
    sent = [("run", {"command": text, "odd": odd, "data": data, "n": [1, None]}), ("drain", {})]
    stream = b"".join(frames.pack(kind, body) for kind, body in sent)
    decoder = frames.Frames()
    got: list[frames.Frame] = []
    for cut in cuts:
        piece, stream = stream[:cut], stream[cut:]
        got += decoder.feed(piece)
    got += decoder.feed(stream)
    assert got == sent


@pytest.mark.parametrize(
    "data", [b"\xc1", b"\x05", b"\x91\x01", b"\x92\x01\x80", b"\x92\xa1x\x90", b"\xdd\xff\xff\xff\xff"]
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(frames.WireError):
        list(frames.Frames().feed(data))


def test_the_environments_kept_are_the_most_recent_ones() -> None:
    recent = frames.RecentEnvironments()
    for number in range(frames.ENVIRONMENTS_KEPT):
        recent.keep(number, str(number))
    assert recent.recall(0) == "0"
    recent.keep(100, "100")
    assert 0 in recent
    assert 1 not in recent
    with pytest.raises(KeyError):
        recent.recall(1)


RECORD = {"seq": 3, "run": 1, "job": "job_3", "pid": 4711, "socket": "/x\udcff"}


def test_a_shorter_record_replaces_a_longer_one(tmp_path: Path) -> None:
    path = statefile.path_of(str(tmp_path), 7)
    descriptor = statefile.open_for_writing(path)
    try:
        assert statefile.read(path) is None
        statefile.write(descriptor, RECORD | {"job": "j" * 128})
        statefile.write(descriptor, RECORD)
    finally:
        os.close(descriptor)
    assert statefile.read(path) == RECORD
    assert os.stat(path).st_mode & 0o777 == 0o600


@given(cut=st.integers(0, 200), flip=st.integers(0, 2000))
def test_a_torn_record_is_noticed(cut: int, flip: int) -> None:
    whole = statefile.seal(RECORD)
    older = statefile.seal(RECORD | {"run": 0, "job": "an older one"}).ljust(300, b"\0")
    cut %= len(whole)
    assert statefile.unseal(whole[:cut] + older[cut:]) in (None, RECORD, statefile.unseal(older))
    assert statefile.unseal(whole[:cut]) is None
    at, bit = divmod(flip % (len(whole) * 8), 8)
    assert statefile.unseal(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]) is None


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert statefile.read(str(tmp_path / "none")) is None
    assert spool.read_all(str(tmp_path)) == []


def test_the_spool_keeps_what_was_saved_and_leaves_out_what_is_torn(tmp_path: Path) -> None:
    state = str(tmp_path)
    descriptors = len(os.listdir("/proc/self/fd"))
    spool.create_reserve(state, 12)
    first, second = {"seq": 9, "run": 1, "words": "a"}, {"seq": 10, "run": 2, "words": "b" * 100_000}
    spool.save(state, 12, first)
    spool.save(state, 12, second)  # without a reserve, and longer than one
    assert len(os.listdir("/proc/self/fd")) == descriptors
    (tmp_path / "spool/12.11.1").write_bytes(statefile.seal(first)[:-1])
    assert spool.read_all(state) == [
        (spool.path_of(state, 12, 10, 2), second),
        (spool.path_of(state, 12, 9, 1), first),
    ]
    for path, _ in spool.read_all(state):
        spool.remove(path)
        spool.remove(path)
    assert spool.read_all(state) == []


def test_a_reserve_takes_its_room_and_gives_it_back(tmp_path: Path) -> None:
    state = str(tmp_path)
    spool.create_reserve(state, 12)
    spool.save(state, 12, {"seq": 1, "run": 1})
    assert os.stat(spool.path_of(state, 12, 1, 1)).st_size < 100
    spool.create_reserve(state, 12)
    spool.drop_reserve(state, 12)
    assert os.listdir(spool.folder_of(state)) == ["12.1.1"]


def test_the_live_files_of_a_worker_are_told_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    for name in ("worker-1.both.0.log", "worker-1.both.9.log", "worker-1.both.10.log", "worker-12.both.0.log", "other"):
        (tmp_path / name).write_bytes(b"xyz")
    assert outputfiles.live_files(str(tmp_path), 1) == [
        ("worker-1.both.0.log", "both", 0, 3),
        ("worker-1.both.9.log", "both", 9, 3),
        ("worker-1.both.10.log", "both", 10, 3),
    ]


def test_somebody_who_never_stops_writing_cannot_keep_a_run_from_ending(tmp_path: Path) -> None:
    class Endless(capture.Capture):
        def take(self) -> bool:
            assert self.size < 1 << 24
            self.size += capture.READ_BYTES
            return True

    endless = Endless("both", -1, outputfiles.OutputFiles(str(tmp_path), 1, "both"))
    endless.drain()
    assert not endless.at_end


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process with an awkward name, an environment of its own, and a child."""
    code = (
        "import ctypes, os, time\n"
        "ctypes.CDLL(None).prctl(15, b'a) R (b\\x1b[1', 0, 0, 0)\n"
        "os.posix_spawn('/bin/sleep', ['sleep', '600'], os.environ, setsid=True)\n"
        "print('up', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={"QUEUECTL_RUN": "1", "TOKEN": "a"}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"up\n"
        yield process
    finally:
        procfs.signal_all(lambda: procfs.descendants(process.pid), signal.SIGKILL)
        process.kill()
        process.wait(timeout=20)
        process.stdout.close()


def test_a_process_with_an_awkward_name_is_read_and_shown(sleeper: subprocess.Popen[bytes]) -> None:
    seen = procfs.look(sleeper.pid)
    assert seen is not None
    assert (seen.comm, seen.parent) == ("a) R (b\x1b[1", os.getpid())
    assert seen.state in "SR"
    assert procfs.describe([seen]) == f"a) R (b?[1 (pid {sleeper.pid})"
    child = procfs.descendants(sleeper.pid)[0]
    assert (child.comm, child.parent, child.session) == ("sleep", sleeper.pid, child.pid)
    assert child.identity in [member.identity for member in procfs.session_members(child.pid)]


def test_processes_are_found_by_the_whole_of_what_is_asked(sleeper: subprocess.Popen[bytes]) -> None:
    def found(**wanted: str) -> list[int]:
        return [process.pid for process in procfs.find_by_environ(wanted)]

    child = procfs.children(sleeper.pid)[0]
    # The child may be about to become `sleep`: a process has no environment while it is made anew.
    eventually(lambda: {sleeper.pid, child} <= set(found(QUEUECTL_RUN="1", TOKEN="a")))
    assert sleeper.pid not in found(QUEUECTL_RUN="1", TOKEN="b")
    assert sleeper.pid not in found(QUEUECTL_RUN="1", TOKEN="a", MORE="c")
    assert sleeper.pid not in found(QUEUECTL_RUN="1", OKEN="a")


def test_a_stranger_with_the_same_pid_is_not_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    started = procfs.start_time(sleeper.pid)
    assert started is not None
    assert not procfs.send_signal(sleeper.pid, started + 2, signal.SIGKILL)
    assert not procfs.is_alive(sleeper.pid, started + 2)
    assert procfs.is_alive(sleeper.pid, started)
    assert procfs.send_signal(sleeper.pid, started, signal.SIGTERM)
    eventually(lambda: not procfs.is_alive(sleeper.pid, started), message="a zombie does not count as alive")
    sleeper.wait(timeout=20)
    assert not procfs.send_signal(sleeper.pid, started, signal.SIGTERM)
    assert procfs.look(sleeper.pid) is None


def test_where_a_job_has_lowered_its_workers_hard_limit_the_next_goes_without_a_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_limit: int, _values: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")  # as Python tells EPERM and EINVAL of setrlimit(2)

    marks = runmark.Marks()
    before = resource.getrlimit(runmark.RLIMIT_LOCKS)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    marks.apply(runmark.LOWEST)
    marks.clear()
    assert resource.getrlimit(runmark.RLIMIT_LOCKS) == before


def test_the_end_of_a_process_is_told_though_its_descriptor_cannot_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def close(descriptor: int) -> None:
        real(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    real = os.close

    async def scenario() -> None:
        child = subprocess.Popen(["sleep", "60"])
        ended = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        assert process.watch_exit(child.pid, procfs.start_time(child.pid) or 0, ended.set) is not None
        child.kill()
        monkeypatch.setattr(os, "close", close)
        await asyncio.wait_for(ended.wait(), 10)
        monkeypatch.undo()
        child.wait()

    asyncio.run(scenario())
