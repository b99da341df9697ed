"""What becomes of a job's output: its order, its bytes, its size, and the files it ends in."""

import itertools
import os
import sys
from pathlib import Path

import pytest

from queuectld.worker.capture import Capture
from queuectld.workerwire.outputfiles import OutputFiles
from tests.support.eventually import eventually
from tests.support.fakedaemon import FakeDaemon, open_gate
from tests.support.programs import needs

MIB = 1 << 20


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_both_streams_keep_their_order(daemon: FakeDaemon) -> None:
    body = daemon.outcome("echo a; echo b > /dev/stderr; echo c; echo d >&2; echo e > /dev/stdout")
    assert daemon.output(body) == b"a\nb\nc\nd\ne\n"


def test_the_streams_are_kept_apart_when_asked(daemon: FakeDaemon) -> None:
    body = daemon.outcome("echo a; echo b >&2; echo c", split_output=True)
    assert daemon.output(body, "stdout") == b"a\nc\n"
    assert daemon.output(body, "stderr") == b"b\n"


@pytest.mark.parametrize("times", [1, 1000], ids=["inline", "in a file"])
def test_every_byte_comes_back_as_it_was(daemon: FakeDaemon, times: int) -> None:
    body = daemon.outcome(python(f"import os\nfor i in range({times}): os.write(1, bytes(range(256)))"))
    assert daemon.output(body) == bytes(range(256)) * times


def test_little_output_makes_no_file(daemon: FakeDaemon) -> None:
    body = daemon.outcome(python("import os; os.write(1, b'x' * 16384)"))
    assert body["output"]["both"] == [16384, b"x" * 16384, []]
    assert daemon.outcome("true")["output"]["both"] == [0, b"", []]
    assert not list(daemon.logs.glob("0*")), "no file of a job"


@pytest.mark.parametrize(("size", "files"), [(16384, 0), (16385, 1)])
def test_a_file_is_made_when_there_is_more_than_a_row_holds(tmp_path: Path, size: int, files: int) -> None:
    """However long it takes, which on a busy machine may be more than the moment after which all output has one."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    os.write(writing, b"x" * size)
    os.close(writing)
    kept = OutputFiles(str(tmp_path), 12, "both")
    kept.begin(MIB)
    capture = Capture("both", reading, kept)
    while capture.take():
        pass
    os.close(reading)
    assert len(list(tmp_path.iterdir())) == files
    assert capture.finish(1, 1)[:2] == [size, None if files else b"x" * size]
    assert len(list(tmp_path.rglob("*.log"))) == files


def test_more_output_ends_in_a_file_of_the_jobs_own(daemon: FakeDaemon) -> None:
    body = daemon.outcome(python("import os; os.write(1, b'x' * 16385)"), seq=12345, run=2)
    assert body["output"]["both"] == [16385, None, [["000012/12345.2.both.log", 0, 16385]]]
    kept = daemon.logs / "000012/12345.2.both.log"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert daemon.output(body) == b"x" * 16385


def test_a_job_that_takes_long_and_writes_little_ends_inline_and_leaves_no_bytes_to_the_next(
    daemon: FakeDaemon,
) -> None:
    assert daemon.output(daemon.outcome("echo one; sleep 0.2; echo two")) == b"one\ntwo\n"
    live = daemon.logs / "worker-12.both.0.log"
    assert live.stat().st_size == 0
    assert daemon.output(daemon.outcome("sleep 0.2; echo three", seq=2)) == b"three\n"
    body = daemon.outcome("sleep 0.2; head -c 20000 /dev/zero", seq=3)
    assert daemon.output(body) == bytes(20000)
    assert not live.exists()


def test_output_is_in_a_file_before_the_job_ends(daemon: FakeDaemon) -> None:
    os.mkfifo(daemon.home / "gate")
    daemon.run("echo early; read -r _ < gate; echo late", cwd=str(daemon.home), env={"GATE": "gate"})
    live = daemon.logs / "worker-12.both.0.log"
    eventually(lambda: live.exists() and live.read_bytes() == b"early\n", message="output in the worker's file")
    assert live.stat().st_mode & 0o777 == 0o600
    open_gate(daemon.home / "gate")
    assert daemon.output(daemon.expect("ended")) == b"early\nlate\n"


def test_a_follower_is_told_where_the_output_stands(daemon: FakeDaemon) -> None:
    # Two, for whoever opens the first again may find its writer there, about to leave: an end of file.
    os.mkfifo(daemon.home / "gate")
    os.mkfifo(daemon.home / "second")
    daemon.run("printf 12345; read -r _ < gate; printf 678; read -r _ < second", cwd=str(daemon.home))
    daemon.send("follow", {"seq": 1, "run": 1, "on": True})

    def told(size: int) -> list[object]:
        while True:
            body = daemon.expect("output")
            if body["output"]["both"][0] == size:
                return list(body["output"]["both"])

    assert told(5) == [5, None, [["worker-12.both.0.log", 0, 5]]]
    open_gate(daemon.home / "gate")
    assert told(8) == [8, None, [["worker-12.both.0.log", 0, 8]]]
    assert (daemon.logs / "worker-12.both.0.log").read_bytes() == b"12345678"
    open_gate(daemon.home / "second")
    assert daemon.output(daemon.expect("ended")) == b"12345678"


def numbered(size: int, end: str) -> str:
    """Code that writes `size` bytes: lines of 16 bytes, each of them with its own offset, and `end` at its end."""
    return (
        f"import os\nsize, end = {size}, {end.encode()!r}\nfor start in range(0, size, 1 << 20):\n"
        "    stop = min(start + (1 << 20), size)\n"
        "    data = b''.join((b'%d ' % n).ljust(16 - len(end)) + end for n in range(start, stop, 16))\n"
        "    while data: data = data[os.write(1, data):]\n"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""], ids=["lf", "crlf", "bars", "one line"])
def test_much_output_is_capped_with_its_head_and_its_newest_part_kept(daemon: FakeDaemon, end: str) -> None:
    """In whole lines: half of the limit is no multiple of theirs."""
    limit, size = 4 * MIB + 1000, 40 * MIB
    body = daemon.outcome(python(numbered(size, end)), log_max_bytes=limit)
    counted, inline, files = body["output"]["both"]
    assert (counted, inline, body["exit_code"]) == (size, None, 0)
    assert files[0] == ["000000/1.1.both.log", 0, limit // 2 - (4 if end else 0)]
    assert files[-1][1] + files[-1][2] == size
    assert sum(length for _, _, length in files) <= limit
    assert sum(length for _, _, length in files[1:]) >= limit * 3 // 8
    for name, offset, length in files:
        data = (daemon.logs / name).read_bytes()
        assert len(data) == length
        assert not end or (int(data.partition(b" ")[0]), data[-len(end) :]) == (offset, end.encode())
    gaps = [before[1] + before[2] < behind[1] for before, behind in itertools.pairwise(files)]
    assert gaps == [True] + [False] * (len(files) - 2), "one gap, between the head and the newest part"
    assert len(list(daemon.logs.rglob("*.log"))) == len(files)


def test_disk_and_memory_stay_bounded_while_a_job_writes(daemon: FakeDaemon) -> None:
    limit = 2 * MIB
    daemon.run("cat /dev/zero", log_max_bytes=limit, kill_grace_ms=0)
    daemon.send("follow", {"seq": 1, "run": 1, "on": True})
    largest = 0
    while daemon.expect("output")["output"]["both"][0] < 1 << 30:
        largest = max(largest, bytes_in(daemon.logs))
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    peak_kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    daemon.kill(grace_ms=0)
    body = daemon.expect("ended")
    assert 0 < largest <= limit
    assert peak_kib < 24 * 1024
    assert sum(length for _, _, length in body["output"]["both"][2]) <= limit


def bytes_in(folder: Path) -> int:
    """What the files below it hold; the worker removes pieces meanwhile."""
    total = 0
    for path in folder.rglob("*.log"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


@pytest.mark.parametrize("call", ["write", "splice", "openat"])
@needs("strace")
def test_a_full_disk_does_not_stop_the_job_and_is_told(idle_daemon: FakeDaemon, call: str) -> None:
    # Under strace the worker's calls on files in the log folder fail as on a full disk.
    trace = str(idle_daemon.home / "trace")
    live = idle_daemon.logs / "worker-12.both.0.log"
    inject = ("-e", f"inject={call}:error=ENOSPC", "-P", str(live))
    idle_daemon.start_worker(prefix=("strace", "-o", trace, *inject))
    body = idle_daemon.outcome(python("import os\nfor i in range(64): os.write(1, b'x' * 65536)"))
    assert (body["kind"], body["exit_code"]) == ("exit", 0)
    assert body["output"]["both"][0] == 64 * 65536
    assert "bytes of output were dropped: No space left on device" in body["words"]
    assert idle_daemon.output(idle_daemon.outcome("echo next", seq=2)) == b"next\n"


@needs("strace")
def test_output_goes_on_once_there_is_room_again(idle_daemon: FakeDaemon) -> None:
    live = idle_daemon.logs / "worker-12.both.0.log"
    inject = ("-e", "inject=write:error=ENOSPC:when=2", "-P", str(live))
    idle_daemon.start_worker(prefix=("strace", "-o", str(idle_daemon.home / "trace"), *inject))
    body = idle_daemon.outcome("head -c 40000 /dev/zero; sleep 0.2; head -c 100 /dev/zero; sleep 1.2; echo end")
    size, _, files = body["output"]["both"]
    assert size == 40104
    assert files[-1][1:] == [40100, 4]
    assert (idle_daemon.logs / files[-1][0]).read_bytes() == b"end\n"
