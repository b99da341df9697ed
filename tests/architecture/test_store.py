"""The rooms of the store import one way, and nobody outside goes past its front door."""

import ast
from collections.abc import Iterator

from tests.architecture.sources import Source, imports, product, within

STORE = "queuectld.store"
# Lowest first. What stands beside these rooms is the store as others see it.
ROOMS = ("records", "mapping", "writer", "reads", "writes")
# How others see it: the store itself, what it hands out, and what is done with its file without a daemon.
DOORS = (f"{STORE}.store", f"{STORE}.records", f"{STORE}.maintenance")
FRONT = {"store", "queries", "intake", "upkeep"}
INSIDE = {"ask", "_reader", "_writer", "submit", "connection"}
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


def test_nobody_outside_goes_past_the_front_door_of_the_store() -> None:
    outside = [source for source in product() if not within(source.module, STORE)]
    found = [each for each in imports(outside) if within(each.target, STORE) and each.target != STORE]
    assert len(found) > 20
    wrong = [str(each) for each in found if not any(within(each.target, door) for door in DOORS)]
    assert wrong == []


def test_nobody_outside_has_a_question_of_its_own_answered() -> None:
    """What is asked of the store has a name there. A function that is handed in would know connections and sessions."""
    wrong = [
        f"{source.path}:{node.lineno} {ast.unparse(node)[:60]}"
        for source in product()
        if not within(source.module, STORE) and within(source.module, "queuectld")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in INSIDE
    ]
    assert wrong == []


def test_no_class_of_the_daemon_is_cut_over_files_by_inheritance() -> None:
    """Parts are put together. What is inherited from another file is an interface or an exception."""
    classes = [
        (source, node)
        for source in product()
        if within(source.module, "queuectld")
        for node in source.tree.body
        if isinstance(node, ast.ClassDef)
    ]
    with_state = {(node.name, source.path) for source, node in classes if any(map(_has_state, node.body))}
    wrong = [
        f"{source.path}:{node.lineno} {node.name}({base.id})"
        for source, node in classes
        for base in node.bases
        if isinstance(base, ast.Name) and any(name == base.id and path != source.path for name, path in with_state)
    ]
    assert wrong == []


def _has_state(member: ast.stmt) -> bool:
    """Whether it makes attributes of an object as it goes."""
    return isinstance(member, ast.FunctionDef) and member.name == "__init__" and "self._" in ast.unparse(member)


def test_nothing_is_offered_by_the_store_that_only_tests_would_use() -> None:
    front = [source for source in of_store() if source.module.removeprefix(f"{STORE}.") in FRONT]
    assert len(front) == len(FRONT)
    used = {
        node.attr
        for source in product()
        if source in front or (within(source.module, "queuectld") and not within(source.module, STORE))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
    }
    offered = {
        member.name
        for source in front
        for node in source.tree.body
        if isinstance(node, ast.ClassDef)
        for member in node.body
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_")
    }
    assert len(offered) > 40
    assert offered - used == set()
