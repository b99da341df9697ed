"""The answer to a shell that completes a line: which words may stand at the cursor. What the words are is in `offers`.

The shell's script gives the line up to the cursor in COMP_TEXT and gets a word a line, with a tab and a description
where its shell shows one. Lines with a colon in front tell the shell what to do: `:file` and `:folder` to complete
paths itself, `:open` to put no space behind a word. Nothing is ever said besides, and no daemon is started.
"""

import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import click
from click.shell_completion import _resolve_context, _resolve_incomplete, split_arg_string

from queuectl_client.cli.completion import completers
from queuectl_client.cli.completion.completers import Candidate
from queuectl_client.cli.framework import LazyVerbGroup
from queuectl_client.cli.invocation import Invocation
from queuectl_client.errors import QueuectlError

PATIENCE_S: Final = 0.3
"""How long a shell waits for the daemon: one that hangs must not hang the line that is typed. _QUEUECTL_PATIENCE in
the environment is another number, for a machine that is slower than people are patient."""
_LONGEST: Final = 60
_SPECIAL: Final = re.compile(r"([^\w@%+=:,./-])")
"""What bash would not take for part of a word."""


class _TooLate(Exception):
    """The daemon has not answered in time."""


def answer(root: click.Command, invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Tell the shell that asks which words may come. Always 0, with nothing at all where something is wrong."""
    shell = environ["_QUEUECTL_COMPLETE"].removesuffix("_complete")
    words, incomplete = _split(environ.get("COMP_TEXT", ""))
    try:
        with _Alarm(float(environ.get("_QUEUECTL_PATIENCE", PATIENCE_S))):
            found = list(_candidates(root, invocation, words, incomplete))
    except (_TooLate, QueuectlError, click.ClickException, OSError):
        found = []
    begun = incomplete.removesuffix(environ.get("COMP_CUR", incomplete)) if shell == "bash" else ""
    sys.stdout.writelines(f"{line}\n" for line in _lines(found, shell, begun))
    return 0


def _split(text: str) -> tuple[list[str], str]:
    """The words before the cursor, without the program's name, and the word at the cursor."""
    words = split_arg_string(text)[1:]
    at_next = not text or text[-1].isspace()
    return (words, "") if at_next or not words else (words[:-1], words[-1])


def _candidates(root: click.Command, invocation: Invocation, words: Sequence[str], text: str) -> Iterator[Candidate]:
    """The words that may stand where the text is. An option and its value in one word (`--queue=ni`) stay one."""
    args = list(words)
    ctx = _resolve_context(root, {"obj": invocation}, "queuectl", args)
    wanted, incomplete = _resolve_incomplete(ctx, args, text)
    option = text.removesuffix(incomplete) if incomplete != text else ""
    if isinstance(wanted, LazyVerbGroup) and not incomplete.startswith("-"):
        if not ctx._protected_args:  # else a verb was typed that there is not
            yield from _verbs(wanted, incomplete)
        return
    source = completers.source(ctx, wanted) if isinstance(wanted, click.Parameter) else None
    if source is not None:
        taken = set(words)
        for value, told in source(invocation, ctx, incomplete):
            if value not in taken:
                yield Candidate(value if value.startswith(":") else option + value, told)
        return
    for item in wanted.shell_complete(ctx, incomplete):
        yield (
            Candidate(f"{option}{item.value}", item.help or "") if item.type == "plain" else Candidate(f":{item.type}")
        )


def _verbs(noun: LazyVerbGroup, incomplete: str) -> Iterator[Candidate]:
    """The verbs that begin so; another name of one only when no first name does."""
    found = [
        Candidate(name, entry.summary) for name, entry in noun.commands_by_name.items() if name.startswith(incomplete)
    ]
    yield from found or [
        Candidate(alias, noun.commands_by_name[name].summary)
        for alias, name in noun.names.items()
        if alias.startswith(incomplete)
    ]


def _lines(found: Iterable[Candidate], shell: str, begun: str) -> Iterator[str]:
    """The lines for the shell. `begun`: the part of the word that bash does not take for part of it."""
    shown = [candidate for candidate in found if candidate.value.isprintable()]
    if any(candidate.value.endswith(("=", ":")) for candidate in shown):
        yield ":open"
    for value, words in shown:
        if shell == "bash":
            yield value if value.startswith(":") else _SPECIAL.sub(r"\\\1", value.removeprefix(begun))
        elif words and words.isprintable():
            yield f"{value}\t{words if len(words) <= _LONGEST else words[: _LONGEST - 1] + '…'}"
        else:
            yield value


class _Alarm:
    """Raises _TooLate in what is done within it, wherever it waits, when so many seconds are over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    @staticmethod
    def _ring(*_: object) -> None:
        raise _TooLate
