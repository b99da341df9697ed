"""Imports run one way, and each tool stays in the one layer that may use it (docs/architecture.md)."""

import re

import pytest

from tests.architecture.sources import Import, imports, product, within

# Lowest first: a module imports from its own layer and from those below it.
DAEMON_LAYERS = ("domain", "store", "scheduler", "pool", "server")
CLIENT_LAYERS = ("protocol", "", "cli")
TOP = len(DAEMON_LAYERS)  # app.py and the other modules right in queuectld/

# Below all layers: a test kills at a point in any of them, the clock and the workers tell one boot, and the daemon and
# its workers share their wire. They know nothing of ours but one another.
BELOW_ALL = ("queuectld.failpoints", "queuectld.boot", "queuectld.workerwire")
# A process of its own, which outlives an upgrade of the daemon: it loads itself and what is below all layers.
WORKER = "queuectld.worker"

# Where a tool may be imported at all.
HOMES = {
    "peewee": ("queuectld.store",),
    "playhouse": (),
    "sqlite3": ("queuectld.store",),
    "click": ("queuectl_client.cli", "queuectld.cli"),
    "rich": ("queuectl_client.cli",),
    "lark": ("queuectl_client.protocol.filters",),
    "pickle": (),
    "shelve": (),
    "multiprocessing": (),
}

# The domain is pure: nothing in it reads a clock, throws dice, or touches the world.
IMPURE = ("asyncio", "datetime", "os", "pathlib", "random", "select", "socket", "subprocess", "threading", "time")
# The protocol turns bytes into messages and back; sockets are its callers' business.
SANS_IO = ("asyncio", "os", "select", "socket", "ssl", "subprocess", "threading", "time")

SQL = re.compile(
    r"^\s*(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|PRAGMA\s)", re.I | re.S
)


def daemon_layer(module: str) -> int:
    if any(within(module, low) for low in BELOW_ALL):
        return -1
    parts = module.split(".")
    return DAEMON_LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in DAEMON_LAYERS else TOP


def client_layer(module: str) -> int:
    parts = module.split(".")
    return CLIENT_LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in CLIENT_LAYERS else CLIENT_LAYERS.index("")


def product_imports() -> list[Import]:
    return list(imports(product()))


def test_the_walk_sees_the_imports() -> None:
    """The guard of the guards: a walk that found nothing would pass every test here."""
    seen = {(found.importer, found.target) for found in product_imports()}
    assert ("queuectld.domain.states", "queuectl_client.protocol.vocabulary") in seen
    assert len(seen) > 100


def test_the_daemon_imports_downwards_only() -> None:
    wrong = [
        str(found)
        for found in product_imports()
        if within(found.importer, "queuectld")
        and within(found.target, "queuectld")
        and found.target != "queuectld"
        and daemon_layer(found.target) > daemon_layer(found.importer)
    ]
    assert wrong == []


def test_the_worker_process_and_the_daemon_share_the_worker_wire_alone() -> None:
    wrong = [
        str(found)
        for found in product_imports()
        if within(found.importer, "queuectld")
        and within(found.target, "queuectld")
        and found.target != "queuectld"
        and (
            within(found.target, WORKER)
            if not within(found.importer, WORKER)
            else not any(within(found.target, package) for package in (WORKER, *BELOW_ALL))
        )
    ]
    assert wrong == []


def test_what_is_below_all_layers_knows_nothing_above_it() -> None:
    wrong = [
        str(found)
        for found in product_imports()
        if any(within(found.importer, low) for low in BELOW_ALL)
        and within(found.target, "queuectld")
        and found.target != "queuectld"
        and not any(within(found.target, low) for low in BELOW_ALL)
    ]
    assert wrong == []


def test_the_client_imports_downwards_only() -> None:
    wrong = [
        str(found)
        for found in product_imports()
        if within(found.importer, "queuectl_client")
        and within(found.target, "queuectl_client")
        and found.target != "queuectl_client"
        and client_layer(found.target) > client_layer(found.importer)
    ]
    assert wrong == []


def test_the_client_never_imports_the_daemon() -> None:
    wrong = [
        str(found)
        for found in product_imports()
        if within(found.importer, "queuectl_client") and within(found.target, "queuectld")
    ]
    assert wrong == []


def test_the_daemon_imports_the_contract_and_the_places_of_the_client_and_no_more() -> None:
    allowed = ("queuectl_client.protocol", "queuectl_client.paths", "queuectl_client.plainfile")
    wrong = [
        str(found)
        for found in product_imports()
        if within(found.importer, "queuectld")
        and within(found.target, "queuectl_client")
        and found.target != "queuectl_client"
        and not any(within(found.target, package) for package in allowed)
    ]
    assert wrong == []


def test_the_vocabulary_imports_nothing_of_ours() -> None:
    importer = "queuectl_client.protocol.vocabulary"
    assert [found.target for found in product_imports() if found.importer == importer] == ["enum", "enum.StrEnum"]


@pytest.mark.parametrize("tool", HOMES)
def test_each_tool_has_one_home(tool: str) -> None:
    wrong = [
        str(found)
        for found in product_imports()
        if within(found.target, tool) and not any(within(found.importer, home) for home in HOMES[tool])
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("queuectld.domain", IMPURE), ("queuectl_client.protocol", SANS_IO)],
    ids=["domain", "protocol"],
)
def test_pure_packages_touch_nothing(package: str, forbidden: tuple[str, ...]) -> None:
    wrong = [
        str(found)
        for found in product_imports()
        if within(found.importer, package) and any(within(found.target, module) for module in forbidden)
    ]
    assert wrong == []


def test_sql_lives_in_the_store() -> None:
    import ast

    wrong = [
        f"{source.path}:{node.lineno} {node.value[:40]!r}"
        for source in product()
        if not within(source.module, "queuectld.store")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    ]
    assert wrong == []
