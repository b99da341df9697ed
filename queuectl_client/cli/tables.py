"""Tables on a terminal, drawn by rich. Imported only when there is one to draw."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from queuectl_client.cli.render import STATE_COLOURS, STATE_LABELS

GAP: Final = 2

_COLOUR_OF_LABEL = {label: STATE_COLOURS[state] for state, label in STATE_LABELS.items()}


def draw(headers: Sequence[str], rows: Sequence[Sequence[str]], *, colours: bool, width: int) -> None:
    """Draw the rows, never wider than the terminal: the widest column gives way, with an ellipsis.

    The cells are text, never markup.
    """
    console = Console(
        width=width,
        force_terminal=True,
        color_system="standard" if colours else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for header, room in zip(headers, fitted(headers, rows, width), strict=True):
        table.add_column(header, no_wrap=True, overflow="ellipsis", width=room)
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    console.print(table)


def fitted(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The width of each column so that all fit: what its widest cell needs; the widest columns give way."""
    widths = [min(width, max(map(cell_len, column))) for column in zip(headers, *rows, strict=True)]
    room = max(width - GAP * len(widths), len(widths))
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths


def _style(cell: str) -> str:
    return _COLOUR_OF_LABEL.get(cell.partition(",")[0], "")
