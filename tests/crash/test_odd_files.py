"""Whatever lies where a file of ours is looked for, and whatever takes what is written: an answer in words, in time."""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectld.workerwire import spool, statefile
from tests.support.daemon import QUEUECTL, Home
from tests.support.terminal import on_terminal

FILES = ["queuectl.toml", "queuectld.lock", "start.lock", "queuectl.db", "logs/queuectld.log"]


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "folder": Path.mkdir,
    "socket": a_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "NUL": lambda path: path.write_bytes(bytes(5000)),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe" * 2000),
    "deep": lambda path: path.write_text("[" * 50_000),
    "huge": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
}
WRITTEN_OVER = {"queuectld.lock", "start.lock", "logs/queuectld.log"}
"""Whatever a regular file of this name holds is no concern of ours."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_a_command_ends_in_words_whatever_lies_there(home: Home, name: str, kind: str) -> None:
    path = home.path / name
    path.parent.mkdir(exist_ok=True, mode=0o700)
    KINDS[kind](path)
    is_file = kind in ("NUL", "not UTF-8", "deep", "huge")
    done = home.cli("list", timeout=20)
    assert "fault" not in done.stderr
    assert "Traceback" not in done.stderr
    if is_file and name in WRITTEN_OVER:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 3, done.stderr
        assert str(path) in done.stderr.replace("/dev/zero", str(path))
        assert len(done.stderr) < 1000
    home.cli("doctor" if name == "queuectld.lock" else "status", "--no-autostart", timeout=20)
    if name == "logs/queuectld.log":
        home.cli("daemon", "logs", timeout=20)
    if name == "queuectl.db":
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_or_spool_file_of_another_kind_is_no_record(home: Home, kind: str) -> None:
    home.ok("worker", "start", "-d")
    home.ok("daemon", "stop")
    folder = home.state / "spool"
    for path in (folder / "1.1.1", home.state / "worker-1.state", home.state / "worker-2.state", folder / "2.reserve"):
        path.unlink(missing_ok=True)
        KINDS[kind](path)
    assert spool.read_all(str(home.state)) == []
    assert statefile.read(str(home.state / "worker-1.state")) is None
    assert "problem" not in home.ok("doctor", timeout=20)
    home.ok("daemon", "start", timeout=20)
    home.cli("status", timeout=20)


def test_a_record_that_is_deep_is_none() -> None:
    assert statefile.unseal(statefile.seal({"a": 1})) == {"a": 1}
    packed = b"\x91" * 5000 + b"\xc0"
    sealed = statefile._HEADER.pack(statefile.MAGIC, len(packed), __import__("zlib").crc32(packed)) + packed
    assert statefile.unseal(sealed) is None


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:surrogateescape"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=str,
)
def test_any_text_is_written_whatever_the_encoding(home: Home, env: dict[str, str]) -> None:
    text = "echo ö → 日本 \udcff"
    home.ok("enqueue", text, "--name", "ö→")
    home.ok("enqueue", "-f", "-", input="echo ö\n", env=env)
    assert [job["command"] for job in home.json("list")] == [text, "echo ö"]
    assert [job["command"] for job in home.json("list", env=env)] == [text, "echo ö"]
    for words in (["list"], ["list", "--jsonl"], ["list", "-q"], ["show", "job_1"], ["explain", "job_1"], ["events"]):
        assert home.cli(*words, env=env).returncode == 0, words
    for words in (["show", "ö→"], ["config", "get", "ö→"], ["enqueue", "--queue", "ö→ ", "true"], ["ö→"]):
        done = home.cli(*words, env=env)
        assert done.returncode in (2, 4), words
        assert "fault" not in done.stderr
    on_terminal(home, "list", env=env)
    on_terminal(home, "show", "job_1", env=env)


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "job_1"], ["status"], ["--help"], ["doctor"]])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_full_disk_or_a_closed_stream_is_no_fault(home: Home, words: list[str], encoding: str) -> None:
    home.ok("enqueue", "echo ö")
    env = home.env | {"PYTHONIOENCODING": encoding}
    for ending, code in ((">/dev/full", 1), (">&-", 0), ("<&- >/dev/null", 0)):
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {ending}', "sh", QUEUECTL, *words],
            env=env, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == code, (ending, done)
        assert "fault" not in done.stderr
        assert "Traceback" not in done.stderr
        if code:
            assert "No space left on device" in done.stderr
