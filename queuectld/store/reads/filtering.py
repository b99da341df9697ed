"""Filters as SQL: conditions over the columns of a job, with every value as a parameter.

NULL is unequal to everything, and neither less nor greater: each condition is 0 or 1 and never NULL, so `not` inverts
it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from peewee import SQL, Node

from queuectl_client.protocol.attributes import ValueKind
from queuectl_client.protocol.filters import All, Comparison, Either, Filter, Key, Not, Value, conjuncts
from queuectl_client.protocol.filtervalues import Ago
from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.mapping.columns import COLUMNS

_PARTS: Final = {
    "label": "(SELECT l.value FROM json_each(labels) AS l WHERE l.key = ?)",
    "needs": "(SELECT l.value FROM json_each(needs) AS l WHERE l.key = ?)",
}
_FORMS: Final = {
    "=": "{} IS ?",
    "!=": "{} IS NOT ?",
    "<": "ifnull({} < ?, 0)",
    "<=": "ifnull({} <= ?, 0)",
    ">": "ifnull({} > ?, 0)",
    ">=": "ifnull({} >= ?, 0)",
    "~": "ifnull({} GLOB ?, 0)",
    "!~": "NOT ifnull({} GLOB ?, 0)",
}

Clause = tuple[str, list[Any]]
"""SQL and its parameters, in order."""


def condition(asked: Filter, now_ms: int) -> Node:
    """Return the condition of a filter. `now_ms` is Unix time, from which ages are counted."""
    text, values = _clause(asked, now_ms)
    return SQL(text, values)


def states_named(asked: Filter) -> frozenset[JobState] | None:
    """Return the states to which the filter restricts jobs; None if it names none."""
    named: frozenset[JobState] | None = None
    for part in conjuncts(asked):
        if isinstance(part, Comparison) and part.key.kind is ValueKind.STATE and part.operator in ("=", "in"):
            states = frozenset(JobState(value) for value in part.values if isinstance(value, str))
            named = states if named is None else named & states
    return named


def name_of(asked: Filter, key: str) -> str | None:
    """Return the one queue or batch to which the filter restricts jobs; None if it names none."""
    for part in conjuncts(asked):
        if isinstance(part, Comparison) and part.key.name == key and part.operator == "=":
            (value,) = part.values
            if isinstance(value, str):
                return value
    return None


def _clause(asked: Filter, now_ms: int) -> Clause:
    match asked:
        case Comparison():
            return _comparison(asked, now_ms)
        case Not(inner):
            text, values = _clause(inner, now_ms)
            return f"NOT ({text})", values
        case All(parts):
            return _joined(" AND ", parts, now_ms)
        case Either(parts):
            return _joined(" OR ", parts, now_ms)


def _joined(word: str, parts: Sequence[Filter], now_ms: int) -> Clause:
    clauses = [_clause(part, now_ms) for part in parts]
    return f"({word.join(text for text, _ in clauses)})", [value for _, values in clauses for value in values]


def _comparison(asked: Comparison, now_ms: int) -> Clause:
    column, before = _column(asked.key, now_ms)
    values = [_stored(asked.key, value, now_ms) for value in asked.values]
    if asked.operator in ("in", "not in"):
        places = ", ".join("?" * len(values))
        negated = "NOT " if asked.operator == "not in" else ""
        return f"{negated}ifnull({column} IN ({places}), 0)", [*before, *values]
    return _FORMS[asked.operator].format(column), [*before, *values]


def _column(key: Key, now_ms: int) -> Clause:
    if key.part is not None:
        return _PARTS[key.name], [key.part]
    return _at(now_ms, COLUMNS[key.name])


def _at(now_ms: int, column: str) -> Clause:
    """Return the column; each of its parameters is the time of the query."""
    return column, [now_ms] * column.count("?")


def shown_columns(keys: Sequence[str], now_ms: int) -> Iterator[Node]:
    """Yield the columns of these keys, to be selected."""
    for key in keys:
        text, values = _at(now_ms, SHOWN.get(key, COLUMNS[key]))
        yield SQL(text, values)


def ranking_columns(keys: Sequence[str], now_ms: int) -> Iterator[SQL]:
    """Yield the columns of these keys, to be compared."""
    for key in keys:
        yield SQL(*_at(now_ms, COLUMNS[key]))


SHOWN: Final = {
    "command": "iif(typeof(command) = 'text', command, command_packed(command, argv))",
    "cwd": "cwd",
}
"""Keys shown as stored, so that no byte is lost, although they are compared as text."""


def _stored(key: Key, value: Value, now_ms: int) -> Any:
    """Convert a value of a filter to the unit and type of its column."""
    if isinstance(value, Ago):
        return now_ms - value.seconds * 1000
    if key.kind is ValueKind.DURATION and isinstance(value, int | float):
        return value * 1000
    return int(value) if isinstance(value, bool) else value
