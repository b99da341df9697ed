"""Building SQL from Peewee queries, once, when a module is loaded.

Building a query costs 50 to 100 µs, executing a simple one about 5: hot statements are built once
and executed on the raw connection with their arguments by name.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from peewee import SQL, Model, ModelInsert


class Query(Protocol):
    """A Peewee query of any kind."""

    def sql(self) -> tuple[str, list[Any]]:
        """Return the SQL and its arguments."""


def arg(name: str) -> SQL:
    """Return a named parameter, to be bound at each execution."""
    return SQL(f":{name}")


def statement(query: Query) -> str:
    """Return the SQL of a query whose parameters are all made by `arg`. Raises ValueError if values are bound."""
    text, values = query.sql()
    if values:
        raise ValueError(f"values are bound into a statement that is to be built once: {values}")
    return text


def insert_row(
    model: type[Model],
    columns: Sequence[str] | None = None,
    others: Mapping[str, SQL] = MappingProxyType({}),
    *,
    unless_there: bool = False,
) -> str:
    """Return an INSERT that binds these columns by position (default: all); `others` are fixed.

    `unless_there`: an existing row with the same key is kept, and no row counts as written.

    Peewee puts the columns into the order of the model; `columns` must be in it, or values would be mixed up.
    """
    names = [field.name for field in model._meta.sorted_fields]
    chosen = names if columns is None else columns
    if [name for name in names if name in chosen] != list(chosen):
        raise ValueError(f"columns of {model} are not in the order of the model: {chosen}")
    values = dict(others) | dict.fromkeys(chosen, SQL("?"))
    insert = ModelInsert(model, {getattr(model, name): value for name, value in values.items()})
    return statement(insert.on_conflict_ignore() if unless_there else insert)
