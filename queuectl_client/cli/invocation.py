"""One call of `queuectl`: its global options, its connection, and its output.

Data goes to stdout, messages to stderr.
"""

import os
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from click import ClickException

    from queuectl_client.connection import Connection


class _AsOnATerminal(StringIO):
    """Collects text with its escape sequences, which click removes if the stream is not a terminal."""

    def isatty(self) -> bool:
        return True


class Invocation:
    """The global options given so far, before or after the verb, and the connection made from them."""

    def __init__(self) -> None:
        self.socket: str | None = None
        self.json = False
        self.quiet = False
        self.autostart = True
        self.color = "auto"
        self._client: Connection | None = None

    def client(self, *, autostart: bool = True) -> "Connection":
        """Return the connection, which opens on first use. `autostart`: whether the verb may start a daemon."""
        if self._client is None:
            from queuectl_client.connection import Connection

            self._client = Connection(self.socket, autostart=autostart and self.autostart, notice=self.say)
        return self._client

    def another(self) -> "Invocation":
        """Return a copy of the options with its own connection, for another thread."""
        other = Invocation()
        other.socket, other.autostart, other.quiet, other.color = self.socket, self.autostart, self.quiet, self.color
        return other

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a call, or raise its error."""
        return self.client().call(method, **params)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def data(self, line: str) -> None:
        """Write one line of data to stdout."""
        sys.stdout.write(line + "\n")

    def document(self, value: Any) -> None:
        """Write one JSON document to stdout."""
        from queuectl_client.cli.output.jsonlines import dumps

        self.data(dumps(value))

    def say(self, sentence: str) -> None:
        """Write a message to stderr, after flushing stdout; not with --quiet."""
        if not self.quiet:
            self._stderr(sentence)

    def error(self, sentence: str) -> None:
        """Write an error to stderr, also with --quiet."""
        self._stderr(f"Error: {sentence}")

    def warn(self, sentence: str) -> None:
        """Write a warning to stderr, also with --quiet."""
        self._stderr(f"Warning: {sentence}")

    def refusal(self, error: "ClickException") -> None:
        """Write a usage error of click to stderr, with the typed words escaped."""
        from click import MissingParameter  # loaded already, as the error is one of click's

        kept = _AsOnATerminal()
        error.show(kept)
        shown = kept.getvalue().removesuffix("\n")
        # The error of a missing argument lists the choices after tabs, and contains nothing that was typed.
        self._stderr(shown.expandtabs(4) if isinstance(error, MissingParameter) else shown)

    def colours(self, stream: TextIO) -> bool:
        """Return whether to use colours on this stream: by --color, else on a terminal unless NO_COLOR is set."""
        if self.color != "auto":
            return self.color == "always"
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()

    def _stderr(self, sentence: str) -> None:
        from queuectl_client.cli.output.render import escape_lines

        sys.stdout.flush()
        print(escape_lines(sentence), file=sys.stderr, flush=True)
