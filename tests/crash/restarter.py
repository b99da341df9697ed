"""Restarts a daemon whenever it ends, like a service manager."""

import signal
import sys
import threading
from types import TracebackType
from typing import Any, Final, Self

from queuectl_client import Client
from queuectl_client.errors import ConnectionLost, DaemonUnreachable
from tests.support.daemon import Daemon, Home
from tests.support.eventually import eventually

MOST_FAILED_STARTS: Final = 5
DEADLINE_S: Final = 60


class Restarter:
    """Keeps a daemon running in a home. `env` is added to the environment of the next one."""

    def __init__(self, home: Home, python: str = sys.executable) -> None:
        self.home = home
        self.env: dict[str, str] = {}
        self.python = python
        """The interpreter of the next one."""
        self.exits: list[int] = []
        """Exit codes of the daemons that were ready, oldest first."""
        self._daemon: Daemon | None = None
        self._may_start = threading.Event()
        self._may_start.set()
        self._changed = threading.Condition()
        self._clients = threading.local()
        self._closing = False
        self._thread = threading.Thread(target=self._keep, name="restarter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.daemon()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._closing = True
        self._may_start.set()
        with self._changed:
            daemon = self._daemon
        if daemon is not None:
            daemon.kill()
        self._thread.join(DEADLINE_S)
        self._forget_client()

    def daemon(self) -> Daemon:
        """Return the current daemon when it is ready."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._daemon, timeout=DEADLINE_S)
        assert found is not None, f"no daemon came up:\n{self.home.daemon_log()[-3000:]}"
        return found

    def end(self, number: int = signal.SIGKILL, *, stay_down: bool = False) -> int:
        """Signal the daemon, wait for its end, return its exit code. `stay_down`: start no other one until `start`."""
        if stay_down:
            self._may_start.clear()
        daemon = self.daemon()
        before = len(self.exits)
        daemon.send_signal(number)
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.exits) > before, timeout=DEADLINE_S), "it does not end"
        return daemon.returncode

    def hold(self) -> None:
        """Do not start another daemon until `start` when the current one ends."""
        self._may_start.clear()

    def start(self) -> None:
        """Start daemons again."""
        self._may_start.set()

    def ask(self, method: str, **params: Any) -> Any:
        """Repeat an idempotent call until a daemon answers, and return its result."""

        def once() -> list[Any]:
            try:
                return [self._client().call(method, **params)]
            except (ConnectionLost, DaemonUnreachable) as error:
                self._forget_client()
                raise AssertionError(str(error)) from None

        found: Any = eventually(once, deadline=DEADLINE_S, message=f"no answer to {method}")[0]
        return found

    def _client(self) -> Client:
        """Return the client of this thread, connected again if necessary."""
        if not hasattr(self._clients, "client"):
            self._clients.client = Client(autostart=False, environ=self.home.env)
        client: Client = self._clients.client
        return client

    def _forget_client(self) -> None:
        self._client().close()
        del self._clients.client

    def _keep(self) -> None:
        failed = 0
        while failed < MOST_FAILED_STARTS:
            self._may_start.wait()
            if self._closing:
                return
            try:
                daemon = self.home.start_daemon(env=self.env, python=self.python)
            except AssertionError:
                failed += 1  # killed before it was ready
                continue
            with self._changed:
                self._daemon = daemon
                self._changed.notify_all()
            if self._closing:
                daemon.kill()
            code = daemon.wait()
            with self._changed:
                self._daemon = None
                self.exits.append(code)
                self._changed.notify_all()
