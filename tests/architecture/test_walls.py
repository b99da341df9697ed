"""What is loaded at run time: the client works where neither peewee nor the daemon is installed."""

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT, product, within

WALL = """
import sys
from importlib import import_module

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"the wall stops {name}")

FORBIDDEN = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Wall())
for name in sys.argv[2:]:
    import_module(name)
print("\\n".join(sorted(sys.modules)))
"""


def loaded_behind_a_wall(forbidden: str, *modules: str) -> set[str]:
    """The modules that are loaded after importing these where the forbidden ones cannot be."""
    done = subprocess.run(
        [sys.executable, "-c", WALL, forbidden, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def modules_of(package: str) -> list[str]:
    return [source.module for source in product() if within(source.module, package)]


def test_the_wall_stops_what_it_should() -> None:
    with pytest.raises(AssertionError, match="the wall stops peewee"):
        loaded_behind_a_wall("peewee", "peewee")


def test_every_client_module_loads_without_the_daemon_and_its_store() -> None:
    loaded = loaded_behind_a_wall("peewee,queuectld,sqlite3", *modules_of("queuectl_client"))
    assert "queuectl_client.cli.main" in loaded


def test_the_library_needs_no_command_line_tools() -> None:
    library = [name for name in modules_of("queuectl_client") if not within(name, "queuectl_client.cli")]
    loaded = loaded_behind_a_wall("peewee,queuectld,sqlite3,click,rich", *library)
    assert "queuectl_client.client" in loaded


def test_importing_the_sdk_loads_no_event_loop() -> None:
    loaded = loaded_behind_a_wall(
        "peewee,queuectld,sqlite3,click,rich,asyncio", "queuectl_client", "queuectl_client.client"
    )
    assert "asyncio" not in loaded


def test_the_domain_loads_nothing_but_itself() -> None:
    loaded = loaded_behind_a_wall("peewee,sqlite3,asyncio,click,rich,msgpack,socket", *modules_of("queuectld.domain"))
    ours = {name for name in loaded if within(name, "queuectld") or within(name, "queuectl_client")}
    assert {name for name in ours if not within(name, "queuectld.domain")} == {
        "queuectld",
        "queuectl_client",
        "queuectl_client.protocol",
        "queuectl_client.protocol.amounts",
        "queuectl_client.protocol.attributes",
        "queuectl_client.protocol.durations",
        "queuectl_client.protocol.spelling",
        "queuectl_client.protocol.vocabulary",
    }


def test_a_worker_loads_little() -> None:
    """Every worker is a process of its own: what it loads is paid for again and again."""
    heavy = "peewee,sqlite3,asyncio,click,rich,platformdirs,subprocess,ssl"
    loaded = loaded_behind_a_wall(heavy, "queuectld.worker.main")
    assert not {name for name in loaded if within(name, "queuectld.store") or within(name, "queuectld.scheduler")}
