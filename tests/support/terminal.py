"""A terminal for a test: `queuectl` on a pty of 80 columns, what it shows, and keys pressed."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

from tests.support.daemon import QUEUECTL, Home

_SHAPING = frozenset({"COLUMNS", "LINES", "NO_COLOR"})
"""Variables of the terminal that the tests run on."""


class Terminal:
    """One `queuectl` on a terminal of its own, which controls it: Ctrl-C comes as it does from a keyboard."""

    def __init__(
        self, home: Home, words: Sequence[str], *, columns: int = 80, env: Mapping[str, str] | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.shown = b""
        self.process = subprocess.Popen(
            [QUEUECTL, *words],
            env={key: value for key, value in home.env.items() if key not in _SHAPING}
            | {"TERM": "xterm"}
            | dict(env or {}),
            cwd=home.path,
            preexec_fn=lambda: os.login_tty(slave),  # the only way to a controlling terminal
        )
        os.close(slave)

    def press(self, keys: bytes) -> None:
        """Press keys: b"\\x03" is Ctrl-C."""
        os.write(self._master, keys)

    def wait_for(self, text: bytes, deadline: float = 20) -> None:
        """Read until the text was shown. Fails with all that was."""
        until = time.monotonic() + deadline
        while text not in self.shown:
            assert self._read(until - time.monotonic()), f"{text!r} was not shown, but {self.shown!r}"

    def end(self, deadline: float = 20) -> int:
        """Read until the program has ended; its exit code. `shown` holds everything then."""
        until = time.monotonic() + deadline
        try:
            while self._read(until - time.monotonic()):
                pass
            return self.process.wait(timeout=max(until - time.monotonic(), 1))
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            os.close(self._master)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], max(seconds, 0))[0]:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:
            return False  # EIO: nobody holds the other end any more (pty(7))
        self.shown += piece
        return bool(piece)


def on_terminal(home: Home, *words: str, columns: int = 80, env: Mapping[str, str] | None = None) -> bytes:
    """What a `queuectl` that has to succeed shows on a terminal."""
    terminal = Terminal(home, words, columns=columns, env=env)
    code = terminal.end()
    assert code == 0, terminal.shown
    return terminal.shown
