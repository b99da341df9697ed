"""Tables on a terminal, drawn by rich. Imported only when one is drawn."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from queuectl_client.cli.output.render import COLOUR_OF_LABEL, terminal_height, terminal_width

GAP: Final = 2
ENOUGH: Final = 14
"""Characters that distinguish a long id or name from others."""
LEAST: Final = 8


def draw(headers: Sequence[str], rows: Sequence[Sequence[str]], *, colours: bool, width: int) -> None:
    """Draw the rows within the width; the widest columns are truncated with an ellipsis.

    Cells are plain text, not markup.
    """
    _console(colours, width).print(_table(headers, rows, width))


class LiveTable:
    """A table that is redrawn in place."""

    def __init__(self, headers: Sequence[str], *, colours: bool, around: int) -> None:
        self._headers = headers
        self._around = around
        self._console = _console(colours, None)
        # Redrawn only on changes, not by a thread four times a second.
        self._live = Live(console=self._console, auto_refresh=False)
        self._live.start()

    def room(self) -> int:
        """Return how many rows fit on the terminal."""
        return max(terminal_height() - self._around, 1)

    def draw(self, rows: Sequence[Sequence[str]]) -> None:
        """Replace the rows shown."""
        self._live.update(_table(self._headers, rows, terminal_width()), refresh=True)

    def close(self) -> None:
        """Leave the last view on the screen and restore the cursor."""
        self._live.stop()


def fitted(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the width of each column: that of its widest cell, if all fit.

    Otherwise the widest shrink: first those before the last, down to distinguishing characters; then all, down to their
    headings; then further. A column of states shrinks last, because a truncated state may look like another.
    """
    widths = [min(width, max(map(cell_len, column))) for column in zip(headers, *rows, strict=True)]
    heads = list(map(cell_len, headers))
    columns = range(len(widths))
    states = {column for column in columns if rows and all(_style(row[column]) for row in rows)}
    others = [column for column in columns if column not in states]
    room = max(width - GAP * len(widths), len(widths))
    while sum(widths) > room:
        wide = [column for column in others if column != columns[-1] and widths[column] > max(heads[column], ENOUGH)]
        less = wide or [column for column in others if widths[column] > max(heads[column], LEAST)]
        less = less or [column for column in columns if widths[column] > max(heads[column], LEAST)]
        widths[max(less or columns, key=widths.__getitem__)] -= 1
    return widths


def _console(colours: bool, width: int | None) -> Console:
    return Console(
        width=width,
        force_terminal=True,
        color_system="standard" if colours else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for header, room in zip(headers, fitted(headers, rows, width), strict=True):
        table.add_column(header, no_wrap=True, overflow="ellipsis", width=room)
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    return table


def _style(cell: str) -> str:
    return COLOUR_OF_LABEL.get(cell.partition(",")[0], "")
