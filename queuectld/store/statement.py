"""From a Peewee query to the SQL it stands for, once, when a module is loaded.

Building a query costs 50 to 100 µs, executing a simple one about 5: hot statements are built once
and executed on the raw connection with their arguments by name.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from peewee import SQL, Field, Model, ModelInsert


class Query(Protocol):
    """A Peewee query of any kind."""

    def sql(self) -> tuple[str, list[Any]]:
        """Give the SQL and its arguments."""


def arg(name: str) -> SQL:
    """The place of an argument, to be given by this name at each execution."""
    return SQL(f":{name}")


def statement(query: Query) -> str:
    """The SQL of a query whose arguments are all given by `arg`."""
    text, values = query.sql()
    if values:
        raise ValueError(f"values are bound into a statement that is to be built once: {values}")
    return text


def insert_row(model: type[Model], fields: Iterable[Field] | None = None) -> str:
    """An INSERT that takes all of a row's values (or these fields') by position, in the order of the columns."""
    chosen = model._meta.sorted_fields if fields is None else fields
    return statement(ModelInsert(model, {field: SQL("?") for field in chosen}))
