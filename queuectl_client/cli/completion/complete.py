"""Answer a shell's completion request. The candidates come from `completers`.

The shell's script passes the line up to the cursor in COMP_TEXT and gets one word per line, with a tab and a
description if the shell shows one. Lines that begin with a colon are instructions: `:file` and `:folder` to complete
paths itself, `:open` to add no space after a word. Prints nothing else, and starts no daemon.
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
"""Seconds to wait for the daemon, so that a hanging daemon does not block the shell. The environment variable
_QUEUECTL_PATIENCE overrides it, for slow machines."""
_LONGEST: Final = 60
_SPECIAL: Final = re.compile(r"([^\w@%+=:,./-])")
"""Characters at which bash splits words."""


class _TooLate(Exception):
    """The daemon did not answer in time."""


def answer(root: click.Command, invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Print the candidates for the shell. Return 0, also after an error, which prints nothing."""
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
    """Return the words before the cursor, without the program's name, and the word at the cursor."""
    words = split_arg_string(text)[1:]
    at_next = not text or text[-1].isspace()
    return (words, "") if at_next or not words else (words[:-1], words[-1])


def _candidates(root: click.Command, invocation: Invocation, words: Sequence[str], text: str) -> Iterator[Candidate]:
    """Yield the candidates for the text. An option with its value (`--queue=ni`) stays one word."""
    args = list(words)
    ctx = _resolve_context(root, {"obj": invocation}, "queuectl", args)
    wanted, incomplete = _resolve_incomplete(ctx, args, text)
    option = text.removesuffix(incomplete) if incomplete != text else ""
    if isinstance(wanted, LazyVerbGroup) and not incomplete.startswith("-"):
        if not ctx._protected_args:  # otherwise the verb is unknown
            yield from _verbs(wanted, incomplete)
        return
    source = completers.source(ctx, wanted) if isinstance(wanted, click.Parameter) else None
    if source is not None:
        taken = set(words)
        for value, description in source(invocation, ctx, incomplete):
            if value not in taken:
                yield Candidate(value if value.startswith(":") else option + value, description)
        return
    for item in wanted.shell_complete(ctx, incomplete):
        yield (
            Candidate(f"{option}{item.value}", item.help or "") if item.type == "plain" else Candidate(f":{item.type}")
        )


def _verbs(noun: LazyVerbGroup, incomplete: str) -> Iterator[Candidate]:
    """Yield the verbs with this prefix; aliases only if no first name has it."""
    found = [
        Candidate(name, entry.summary) for name, entry in noun.commands_by_name.items() if name.startswith(incomplete)
    ]
    yield from found or [
        Candidate(alias, noun.commands_by_name[name].summary)
        for alias, name in noun.names.items()
        if alias.startswith(incomplete)
    ]


def _lines(found: Iterable[Candidate], shell: str, begun: str) -> Iterator[str]:
    """Yield the lines for the shell. `begun`: the part of the word that bash has split off."""
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
    """Context manager that raises _TooLate in its block after so many seconds."""

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
