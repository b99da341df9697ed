"""One call of `queuectl`: its global options, its connection, and the two places its words go to.

Data goes to stdout, everything a person is told to stderr. Holds no verb and formats nothing.
"""

import os
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from click import ClickException

    from queuectl_client.connection import Connection


class _AsOnATerminal(StringIO):
    """Keeps all that is written: to what is no terminal, click leaves escape sequences out."""

    def isatty(self) -> bool:
        return True


class Invocation:
    """The global options as given so far, before the verb or after it, and the client made from them."""

    def __init__(self) -> None:
        self.socket: str | None = None
        self.json = False
        self.quiet = False
        self.autostart = True
        self.color = "auto"
        self._client: Connection | None = None

    def client(self, *, autostart: bool = True) -> "Connection":
        """The connection of this call, opened by its first use. `autostart` False: a verb that starts no daemon."""
        if self._client is None:
            from queuectl_client.connection import Connection

            self._client = Connection(self.socket, autostart=autostart and self.autostart, notice=self.say)
        return self._client

    def another(self) -> "Invocation":
        """The same options, with a connection of its own: for another thread."""
        other = Invocation()
        other.socket, other.autostart, other.quiet, other.color = self.socket, self.autostart, self.quiet, self.color
        return other

    def call(self, method: str, **params: Any) -> Any:
        """What the daemon answers; raises the error it answers."""
        return self.client().call(method, **params)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def data(self, line: str) -> None:
        """One line of what was asked for, to stdout."""
        sys.stdout.write(line + "\n")

    def document(self, value: Any) -> None:
        """One JSON document to stdout."""
        from queuectl_client.cli.output.jsonlines import dumps

        self.data(dumps(value))

    def say(self, sentence: str) -> None:
        """Tell a person something, on stderr; not with --quiet. What is on stdout before it is shown before it."""
        if not self.quiet:
            self._stderr(sentence)

    def error(self, sentence: str) -> None:
        """Tell a person what went wrong, on stderr, --quiet or not."""
        self._stderr(f"Error: {sentence}")

    def warn(self, sentence: str) -> None:
        """Tell a person what to look after, on stderr, --quiet or not."""
        self._stderr(f"Warning: {sentence}")

    def refusal(self, error: "ClickException") -> None:
        """Tell a person what click says of the words that were typed, which may hold anything."""
        kept = _AsOnATerminal()
        error.show(kept)
        self._stderr(kept.getvalue().removesuffix("\n"))

    def colours(self, stream: TextIO) -> bool:
        """Whether this stream is to get colours: --color, else a terminal, unless NO_COLOR is set."""
        if self.color != "auto":
            return self.color == "always"
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()

    def _stderr(self, sentence: str) -> None:
        from queuectl_client.cli.output.render import escape_lines

        sys.stdout.flush()
        print(escape_lines(sentence), file=sys.stderr, flush=True)
