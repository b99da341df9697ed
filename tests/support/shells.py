"""An interactive shell on a terminal of its own, into which a test types, and in which it presses the tab key."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.daemon import Home

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0B]|[\x00-\x09\x0b-\x1f]")
PROMPT = "ready> "
_SHELLS = {
    "bash": (["bash", "--noprofile", "--rcfile", "{rc}", "-i"], f"PS1='{PROMPT}'\nbind 'set bell-style none'\n"),
    "zsh": (["zsh", "-f", "-i"], f"PS1='{PROMPT}'\nautoload -Uz compinit && compinit -u -D\n"),
    "fish": (["fish", "--no-config", "-i"], f"function fish_prompt; echo -n '{PROMPT}'; end\n"),
}


class Shell:
    """A shell that has taken in its completion script from `queuectl completion`."""

    def __init__(self, home: Home, name: str) -> None:
        words, begin = _SHELLS[name]
        load = "queuectl completion fish | source" if name == "fish" else f'eval "$(queuectl completion {name})"'
        rc = Path(home.path) / "shell.rc"
        rc.write_text(f"{begin}{load}\n")
        self.shown = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
        self.process = subprocess.Popen(
            [word.format(rc=rc) for word in words],
            env=home.env
            | {"TERM": "xterm", "HOME": str(home.path), "ZDOTDIR": str(home.path), "LC_ALL": "C.UTF-8"}
            | {"_QUEUECTL_PATIENCE": "30"},
            cwd=home.path,
            preexec_fn=lambda: os.login_tty(slave),
        )
        os.close(slave)
        if name != "bash":
            self.type(f"source {rc}\r")
        self._empty_line()

    def type(self, text: str) -> None:
        """Press these keys; a tab is the tab key."""
        os.write(self._master, text.encode())

    def completed(self, line: str, *expected: str, deadline: float = 20) -> None:
        """Type the line and press the tab key; then, or when it is pressed again, all of `expected` is shown."""
        assert not any(word in line for word in expected), "it would be shown anyway"
        self.shown = ""
        self.type(f"{line}\t")
        if not self._read_until(lambda: self._shows(expected), deadline / 4):
            self.type("\t")  # many words are shown only then
            assert self._read_until(lambda: self._shows(expected), deadline), (line, expected, self.shown)
        self._empty_line()

    def _shows(self, words: Sequence[str]) -> bool:
        text = _ESCAPES.sub("", self.shown)
        return all(word in text for word in words)

    def _empty_line(self) -> None:
        """Ctrl-U, and something by which it is seen that the shell has come so far."""
        self.type("\x15echo line''-empty\r")
        assert self._read_until(lambda: "line-empty" in self.shown, 30), self.shown

    def close(self) -> None:
        """End the shell."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read_until(self, enough: Callable[[], bool], seconds: float) -> bool:
        """Read what is shown until there is enough of it; False when that has not come in so many seconds."""
        until = time.monotonic() + seconds
        while not enough():
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._master], [], [], left)[0]:
                return False
            try:
                self.shown += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                return False  # EIO: the shell has ended
        return True
