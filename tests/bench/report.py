"""Rows of the table, and how they are printed: aligned for a terminal, Markdown for docs/performance.md."""

from collections.abc import Sequence
from typing import NamedTuple


class Budget(NamedTuple):
    """What a number may be at most, or must be at least."""

    limit: float
    least: bool = False

    def is_met_by(self, value: float) -> bool:
        """Whether the value keeps it."""
        return value >= self.limit if self.least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.limit:,g}"


def at_most(limit: float) -> Budget:
    """A cost."""
    return Budget(limit)


def at_least(limit: float) -> Budget:
    """A gain."""
    return Budget(limit, least=True)


class Row(NamedTuple):
    """One comparison. `value` is what the budget is about, mostly the ratio of `ours` to `theirs`.

    A row that is a point of the plot says on which `line`, and at which `length` of the queue.
    """

    what: str
    ours: str
    against: str
    theirs: str
    value: float | None
    budget: Budget | None = None
    line: str = ""
    length: int = 0

    def cells(self) -> tuple[str, ...]:
        """As text, one for each of HEADINGS."""
        value = "" if self.value is None else f"{self.value:,.2f}" if self.value < 100 else f"{self.value:,.0f}"
        kept = "" if self.budget is None or self.value is None else self.verdict(self.value, self.budget)
        return self.what, self.ours, self.against, self.theirs, value, str(self.budget or ""), kept

    @staticmethod
    def verdict(value: float, budget: Budget) -> str:
        """`yes` or `no`."""
        return "yes" if budget.is_met_by(value) else "no"


HEADINGS = ("what", "queuectl", "against", "there", "ratio", "budget", "kept")


def per_second(value: float) -> str:
    """A rate."""
    return f"{value:,.0f}/s"


def ms(seconds: float) -> str:
    """A duration, given in seconds."""
    return f"{seconds * 1000:,.2f} ms"


def mib(size: float) -> str:
    """A size, given in bytes."""
    return f"{size / 2**20:,.1f} MiB"


def as_text(title: str, rows: Sequence[Row]) -> str:
    """A table for a terminal."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([title, *(f"  {line}" for line in body)])


def as_markdown(title: str, rows: Sequence[Row]) -> str:
    """The same table for a document."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join([f"### {title}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])
