"""Tables on a terminal, drawn by rich. Imported only when there is one to draw."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from queuectl_client.cli.render import STATE_COLOURS, STATE_LABELS

_COLOUR_OF_LABEL = {label: STATE_COLOURS[state] for state, label in STATE_LABELS.items()}


def draw(headers: Sequence[str], rows: Sequence[Sequence[str]], *, colours: bool, width: int) -> None:
    """Draw the rows, never wider than the terminal: the last column gives way first, with an ellipsis.

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
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", collapse_padding=True)
    last = len(headers) - 1
    fixed = min(sum(_width(rows, headers, column) + 2 for column in range(last)), width - 12)
    for column, header in enumerate(headers):
        table.add_column(
            header,
            no_wrap=True,
            overflow="ellipsis",
            max_width=max(width - fixed, 10) if column == last else max(width // 3, 10),
        )
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    console.print(table)


def _width(rows: Sequence[Sequence[str]], headers: Sequence[str], column: int) -> int:
    return max(len(row[column]) for row in (headers, *rows))


def _style(cell: str) -> str:
    return _COLOUR_OF_LABEL.get(cell.partition(",")[0], "")
