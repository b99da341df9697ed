"""Writes what was measured into docs/performance.md, between two marks, and the plot beside it."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench import length
from tests.bench.plot import svg
from tests.bench.report import Row, as_markdown
from tests.bench.rounds import Scale

WIDTH = 119
DOCS = Path(__file__).parents[2] / "docs"
PAGE, PLOT = DOCS / "performance.md", DOCS / "performance.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(about: str, scale: Scale, tables: Mapping[str, Sequence[Row]]) -> None:
    """Replace what stands between the marks. Raises ValueError when the page has none."""
    text = PAGE.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} has no {BEGIN} … {END}")
    parts = [textwrap.fill(f"Measured on: {about}. Medians of {scale.rounds} rounds.", WIDTH), ""]
    parts += [as_markdown(title, rows) for title, rows in tables.items()]
    PAGE.write_text("\n".join([before + begin, "", *parts, end + after]))
    draw(scale, [row for rows in tables.values() for row in rows])


def draw(scale: Scale, rows: Sequence[Row]) -> None:
    """The cost at each length of the queue, as a multiple of the cost at the shortest."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.line and row.value is not None:
            lines.setdefault(row.line, [(scale.sizes[0], 1.0)]).append((row.length, row.value))
    PLOT.write_text(svg(
        "Cost of one operation against the length of the queue", "waiting jobs, half of them in a paused queue",
        f"times the cost at {scale.sizes[0]:,}", lines, limit=length.WORST,
    ))  # fmt: skip
