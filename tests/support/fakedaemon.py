"""The daemon's side of the worker wire, as small as a test needs it, and a real worker process at the other end."""

import contextlib
import errno
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from queuectld.workerwire import frames, statefile
from tests.support import processes
from tests.support.eventually import eventually

DEADLINE = 20.0
ROOT = Path(__file__).parents[2]


def open_gate(fifo: Path) -> None:
    """Let the job that reads a line from `fifo` go on. Fails, and does not hang, when no job reads from it."""

    def opened() -> int | None:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    descriptor = eventually(opened, deadline=DEADLINE, message=f"a job reads from {fifo}")
    try:
        os.write(descriptor, b"\n")
    finally:
        os.close(descriptor)


class FakeDaemon:
    """Listens on the worker socket, starts a worker, sends it frames and hands back what it says.

    A frame that a test does not ask for, but for `running`, fails it at the next `expect`.
    """

    def __init__(self, home: Path, worker: int = 12) -> None:
        self.home = home
        self.worker = worker
        self.socket = home / "workers.sock"
        self.state = home / "state"
        self.logs = home / "logs"
        for folder in (self.state, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.log = home / "worker.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.hello: dict[str, Any] = {}
        self._listener: socket.socket | None = None
        self._connection: socket.socket | None = None
        self._frames = frames.Frames()
        self._waiting: list[frames.Frame] = []
        self._environments = frames.RecentEnvironments()

    # The worker process

    def start_worker(self, *options: str, prefix: tuple[str, ...] = (), **popen: Any) -> None:
        """Start the worker and take its hello."""
        self.launch(*options, prefix=prefix, **popen)
        self.accept()

    def launch(self, *options: str, prefix: tuple[str, ...] = (), package: Path = ROOT, **popen: Any) -> None:
        """Start the worker, from the source below `package`, and do not wait for it."""
        self.listen()
        command = [*prefix, sys.executable, "-m", "queuectld.worker.main", "--id", str(self.worker)]
        command += ["--socket", str(self.socket), "--state", str(self.state), "--logs", str(self.logs)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--nofile", "1024", *options],
                env=os.environ | {"QUEUECTL_HOME": str(self.home), "FROM": "daemon"},
                cwd=package,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **popen,
            )

    @property
    def pid(self) -> int:
        """The worker's."""
        assert self.process is not None
        return self.process.pid

    def wait_for_exit(self) -> int:
        """The worker's exit code, negative for a signal."""
        assert self.process is not None
        return self.process.wait(timeout=DEADLINE)

    # The socket

    def listen(self) -> None:
        """Be there for a worker. Harmless when we already are."""
        if self._listener is None:
            self.socket.unlink(missing_ok=True)
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self.socket))
            self._listener.listen()
            self._listener.settimeout(DEADLINE)

    def use(self, listener: socket.socket) -> None:
        """Take this listener for ours."""
        self._listener = listener

    def accept(self, *, welcome: bool = True) -> dict[str, Any]:
        """Take the worker's next connection; its hello."""
        assert self._listener is not None
        if self._connection is not None:
            self._connection.close()
        try:
            self._connection, _ = self._listener.accept()
        except TimeoutError:
            raise AssertionError(f"no worker connected; it said: {self.log.read_text()}") from None
        self._connection.settimeout(DEADLINE)
        self._frames = frames.Frames()
        self._environments = frames.RecentEnvironments()
        self._waiting = []
        self.hello = self.expect("hello")
        if welcome:
            self.send("welcome", {})
        return self.hello

    def pass_over(self, count: int, *, say_welcome: bool = False) -> None:
        """Take so many connections of the worker that come to nothing, and see each end."""
        assert self._listener is not None
        for _ in range(count):
            with self._listener.accept()[0] as connection:
                connection.settimeout(DEADLINE)
                if say_welcome:
                    connection.sendall(frames.pack("welcome", {}))
                with contextlib.suppress(ConnectionResetError):
                    while connection.recv(1 << 16):
                        pass

    def state_record(self) -> dict[str, Any]:
        """What the worker's state file says."""
        record = statefile.read(statefile.path_of(str(self.state), self.worker))
        assert record is not None
        return record

    def vanish(self) -> None:
        """Be gone as a killed daemon is: the connection and the listener closed, the socket file left."""
        for end in (self._connection, self._listener):
            if end is not None:
                end.close()
        self._connection = self._listener = None

    def send(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send a frame."""
        assert self._connection is not None
        self._connection.sendall(frames.pack(kind, body))

    def send_bytes(self, data: bytes) -> None:
        """Send what may be no frame at all."""
        assert self._connection is not None
        self._connection.sendall(data)

    def expect(self, kind: str) -> dict[str, Any]:
        """The next frame, which is of this kind; `running` and `output` are passed over unless asked for."""
        ends_at = time.monotonic() + DEADLINE
        while True:
            while self._waiting:
                said, body = self._waiting.pop(0)
                if said == kind:
                    return body
                if said not in ("running", "output"):
                    raise AssertionError(f"the worker said {said} {body}, not {kind}; log: {self.log.read_text()}")
            if not self._receive(max(0.0, ends_at - time.monotonic())):
                raise AssertionError(f"the worker did not say {kind}; log: {self.log.read_text()}")

    def said_nothing_else(self) -> bool:
        """Whether no frame is waiting to be read."""
        return not self._waiting and not self._receive(0)

    def has_hung_up(self) -> bool:
        """Whether the worker closes its connection before the deadline. Frames before that are passed over."""
        assert self._connection is not None
        try:
            while self._connection.recv(1 << 20):
                pass
        except TimeoutError:
            return False
        except ConnectionResetError:
            pass
        return True

    def _receive(self, timeout: float) -> bool:
        assert self._connection is not None
        if not select.select([self._connection], [], [], timeout)[0]:
            return False
        data = self._connection.recv(1 << 20)
        self._waiting.extend(self._frames.feed(data))
        return bool(data)

    # Jobs

    def run(self, command: str | list[str], *, seq: int = 1, run: int = 1, **job: Any) -> None:
        """Send a job to run, with everything about it that the test does not name as plain as can be."""
        environment = job.pop("environment", {"PATH": os.environ["PATH"], "HOME": "/root", "FROM": "submitter"})
        environment_id = job.pop("environment_id", 1)
        body = {
            "seq": seq,
            "id": f"job_{seq}",
            "run": run,
            "attempt": 1,
            "worker": self.worker,
            "queue": "default",
            "command": command,
            "cwd": "/",
            "umask": 0o022,
            "environment_id": environment_id,
            "env": {},
            "stdin": None,
            "timeout_ms": None,
            "stall_timeout_ms": None,
            "kill_grace_ms": 10_000,
            "split_output": False,
            "stdin_open": False,
            "shell": ["/bin/sh", "-c"],
            "socket": str(self.home / "queuectl.sock"),
            "log_max_bytes": 64 << 20,
        }
        if environment is None:
            pass
        elif environment_id in self._environments:
            self._environments.recall(environment_id)
        else:
            self._environments.keep(environment_id)
            body["environment"] = environment
        self.send("run", body | job)

    def outcome(self, command: str | list[str], *, seq: int = 1, run: int = 1, **job: Any) -> dict[str, Any]:
        """Run a job to its end, acknowledge its outcome, return it."""
        self.run(command, seq=seq, run=run, **job)
        body = self.expect("ended")
        self.stored(seq, run)
        return body

    def stored(self, seq: int = 1, run: int = 1) -> None:
        """Tell the worker that this outcome is on disk."""
        self.send("stored", {"runs": [[seq, run]]})

    def kill(self, reason: str = "cancelled", grace_ms: int = 10_000, only_signal: int | None = None) -> None:
        """Send `kill` for job 1, run 1."""
        self.send("kill", {"seq": 1, "run": 1, "reason": reason, "grace_ms": grace_ms, "only_signal": only_signal})

    def output(self, outcome: Mapping[str, Any], stream: str = "both") -> bytes:
        """What was kept of a stream, the pieces one after the other."""
        _, inline, files = outcome["output"][stream]
        if inline is not None:
            return bytes(inline)
        return b"".join((self.logs / name).read_bytes()[:length] for name, _, length in files)

    def close(self) -> None:
        """End the worker, if it is still there, and whatever its jobs left running."""
        self.vanish()
        processes.end_all(self.home)
        if self.process is not None:
            self.process.wait(timeout=DEADLINE)
