"""No circles: no module of the product imports one that imports it, directly or by way of others.

All imports count: those inside functions and those for type checkers, too.
"""

from tests.architecture.sources import Import, imports, product

ALLOWED: frozenset[frozenset[str]] = frozenset()
"""Circles that are known and are to be cut: this only shrinks."""

Graph = dict[str, set[str]]


def graph() -> tuple[Graph, list[Import]]:
    """Which module of the product imports which, and the imports that say so."""
    modules = {source.module for source in product()}
    ours = [each for each in imports(product()) if each.target in modules and each.target != each.importer]
    # `from package import module` takes nothing of the package itself.
    inner = {(each.importer, each.line, each.target.rpartition(".")[0]) for each in ours}
    found = [each for each in ours if (each.importer, each.line, each.target) not in inner]
    edges: Graph = {module: set() for module in modules}
    for each in found:
        edges[each.importer].add(each.target)
    return edges, found


def circles(edges: Graph) -> set[frozenset[str]]:
    """The strongly connected components of more than one module."""
    reached = {module: _reached_from(module, edges) for module in edges}
    whole = {frozenset(other for other in reached[module] if module in reached[other]) for module in edges}
    return {circle for circle in whole if len(circle) > 1}


def _reached_from(module: str, edges: Graph) -> set[str]:
    seen: set[str] = set()
    ahead = [module]
    while ahead:
        fresh = edges[ahead.pop()] - seen
        seen |= fresh
        ahead += fresh
    return seen


def test_a_circle_is_found() -> None:
    """The guard of the guard: one that saw nothing would pass."""
    edges: Graph = {"a": {"b"}, "b": {"c", "e"}, "c": {"d"}, "d": {"b"}, "e": {"f"}, "f": set()}
    assert circles(edges) == {frozenset("bcd")}
    edges, _ = graph()
    assert "queuectl_client.cli.commands.job_actions" in edges["queuectl_client.cli.commands.change"]
    assert "queuectl_client.cli.commands.batches" in edges["queuectl_client.cli.commands.enqueue"], "a lazy one"
    assert "queuectld.worker.host" in edges["queuectld.worker.execution"], "for type checkers"


def test_the_product_has_no_circles() -> None:
    edges, found = graph()
    wrong = circles(edges) - ALLOWED
    told = [str(each) for circle in wrong for each in found if {each.importer, each.target} <= circle]
    assert told == []


def test_what_is_allowed_is_there() -> None:
    edges, _ = graph()
    assert circles(edges) >= ALLOWED
