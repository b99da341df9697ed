"""A home of its own for a test: folder, environment, daemon, commands.

Ends only what it started. Its teardown checks the store by the product's own invariants.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import processes

BIN = Path(sys.executable).parent
QUEUECTL = str(BIN / "queuectl")
QUEUECTLD = str(BIN / "queuectld")

Completed = subprocess.CompletedProcess[str]


class Home:
    """A QUEUECTL_HOME under /tmp with a short path, and all that is run against it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="qh", dir="/tmp"))
        self.socket = self.path / "queuectl.sock"
        self.store = self.path / "queuectl.db"
        self.lock = self.path / "queuectld.lock"
        self.logs = self.path / "logs"
        self.state = self.path / "state"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("QUEUECTL_")}
        self.env |= {"QUEUECTL_HOME": str(self.path), "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}"}
        self._started: list[subprocess.Popen[Any]] = []

    def start_daemon(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        deadline: float = 20,
        python: str = sys.executable,
        cwd: str | Path = "/",
    ) -> "Daemon":
        """Start `queuectld serve` (as installed for `python`) and return when it says that it is ready."""
        reading, writing = os.pipe()
        log = open(self.path / "test-daemon.log", "ab")  # noqa: SIM115  (closed below; the child has its own)
        try:
            process = subprocess.Popen(
                [python, "-P", "-m", "queuectld", "serve", "--ready-fd", str(writing), *args],
                env=self.env | dict(env or {}),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                start_new_session=True,
            )
        finally:
            os.close(writing)
            log.close()
        self._started.append(process)
        try:
            said = _first_line(reading, deadline)
        finally:
            os.close(reading)
        if said != "ready":
            raise AssertionError(f"the daemon is not ready, it said {said!r}:\n{self.daemon_log()}")
        return process

    def daemon_log(self) -> str:
        """What the daemons of this home have logged, for a failure's text."""
        logs = [self.path / "test-daemon.log", self.logs / "queuectld.log"]
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def daemon_pid(self) -> int:
        """The id of the daemon that holds the lock, however it was started."""
        return int(json.loads(self.lock.read_text())["pid"])

    def cli(
        self,
        *args: str,
        input: str | None = None,  # named as in subprocess.run
        timeout: float = 30,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> Completed:
        """Run `queuectl` and return what it said. Bytes that are not UTF-8 come as surrogate escapes."""
        return subprocess.run(
            [QUEUECTL, *args],
            env=self.env | dict(env or {}),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            cwd=cwd or self.path,
            check=False,
        )

    def ok(self, *args: str, **options: Any) -> str:
        """The stdout of a `queuectl` that has to succeed."""
        done = self.cli(*args, **options)
        if done.returncode != 0:
            raise AssertionError(f"queuectl {args} exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *args: str, **options: Any) -> Any:
        """What a `queuectl … --json` that has to succeed prints, decoded."""
        return json.loads(self.ok(*args, "--json", **options))

    def popen(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """A `queuectl` that goes on (`worker start`, `logs -f`): text pipes, a session of its own."""
        settings: dict[str, Any] = {
            "env": self.env | dict(options.pop("env", {})),
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "encoding": "utf-8",
            "errors": "surrogateescape",
            "cwd": self.path,
            "start_new_session": True,
        }
        process: subprocess.Popen[str] = subprocess.Popen([QUEUECTL, *args], **(settings | options))
        self._started.append(process)
        return process

    def states(self) -> dict[str, str]:
        """Every job's state by its id."""
        return {job["id"]: job["state"] for job in self.json("list")}

    def stop(self) -> None:
        """End every process of this home: what was started here and all that came of it."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
        processes.end_all(self.path)
        for process in self._started:
            process.wait(timeout=20)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        self._started.clear()

    def remove(self) -> None:
        """Delete the folder. `stop` comes first."""
        shutil.rmtree(self.path, ignore_errors=True)

    def broken_promises(self) -> Sequence[str]:
        """What is wrong with the store, by its own integrity check and the project's invariants."""
        if not self.store.exists() or self.store.stat().st_size == 0:
            return []
        from queuectld.store.reads.invariants import check_invariants

        return check_invariants(self.store)


Daemon = subprocess.Popen[Any]


def terminate(process: subprocess.Popen[Any], deadline: float = 20) -> int:
    """SIGTERM, then its exit code. Fails when it does not end."""
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=deadline)


def _first_line(descriptor: int, deadline: float) -> str:
    """The first line from a pipe, without its end; what came so far at EOF or after `deadline` seconds of silence."""
    text = b""
    while not text.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], deadline)
        chunk = os.read(descriptor, 4096) if readable else b""
        if not chunk:
            break
        text += chunk
    return text.decode().rstrip("\n")
