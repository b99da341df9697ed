"""Print text on stdout: fields and tables."""

import sys
from collections.abc import Iterable, Sequence

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render


def fields(invocation: Invocation, pairs: Iterable[tuple[str, str]]) -> None:
    """Print aligned `Name:  value` lines. Values must be escaped."""
    shown = list(pairs)
    width = max((len(name) for name, _ in shown), default=0) + 1
    for name, value in shown:
        invocation.data(f"{name + ':':<{width}} {value}".rstrip())


def table(invocation: Invocation, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: fitted to a terminal by truncating the widest columns, unchanged elsewhere.

    Cells must be escaped. Cells such as `Completed` are coloured, on a terminal or with --color always.
    """
    if render.on_terminal():
        from queuectl_client.cli.output.tables import draw

        draw(headers, list(rows), colours=invocation.colours(sys.stdout), width=render.terminal_width())
        return
    for line in render.aligned(headers, rows, colours=invocation.colours(sys.stdout)):
        invocation.data(line)
