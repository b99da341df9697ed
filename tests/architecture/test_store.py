"""The rooms of the store import one way, and nobody outside goes past its front door."""

import ast
from collections.abc import Iterator

from tests.architecture.sources import Source, imports, product, within

STORE = "queuectld.store"
# Lowest first. What stands beside these rooms is the store as others see it.
ROOMS = ("records", "mapping", "writer", "reads", "writes")
CUTTING = {"replace", "split", "rsplit", "partition", "rpartition", "removeprefix", "removesuffix", "splitlines"}


def room(module: str) -> int:
    first = module.removeprefix(f"{STORE}.").partition(".")[0]
    return ROOMS.index(first) if first in ROOMS else len(ROOMS)


def of_store() -> list[Source]:
    return [source for source in product() if within(source.module, STORE)]


def test_the_rooms_of_the_store_import_downwards_only() -> None:
    found = [each for each in imports(of_store()) if within(each.target, f"{STORE}") and each.target != STORE]
    assert len(found) > 100
    assert [str(each) for each in found if room(each.target) > room(each.importer)] == []


def test_no_statement_is_cut_out_of_another() -> None:
    """What Peewee can say it says; what it cannot is a named constant in `mapping/sql.py` or beside the models."""
    wrong = [
        f"{source.path}:{call.lineno} {ast.unparse(call)[:60]}"
        for source in of_store()
        for call in _cuts(source.tree)
        if call.lineno in _constants(source.tree) or "sql()" in (said := ast.unparse(call)) or "statement(" in said
    ]
    assert wrong == []


def _cuts(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CUTTING:
            yield node


def _constants(tree: ast.Module) -> set[int]:
    """The lines of what is worked out when the module is loaded."""
    return {
        line
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
