"""`queuectl status` is typed a hundred times a day and put into prompts: it loads what it needs and nothing else."""

import subprocess
import sys

from tests.support.daemon import Home

# What a client of this kind cannot do without, and so what the status may cost.
BASELINE = "import click, msgpack, socket"

STATUS = """
from queuectl_client.cli.main import main
try:
    main(["status"])
except SystemExit as end:
    assert not end.code
"""

# Small modules of the standard library, each with its reason.
ALLOWED = {
    "locale",  # click looks for translations of its help
    "_locale",
    "gc",  # switched off while modules are loaded
    "json",  # the lock file, which names the daemon's socket, is a line of JSON
    "json.decoder",
    "json.encoder",
    "json.scanner",
    "_json",
}


def loaded(home: Home, program: str) -> set[str]:
    """The modules that are loaded once this program has run."""
    done = subprocess.run(
        [sys.executable, "-c", program + "\nimport sys; print(*sys.modules, file=sys.stderr)"],
        env=home.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_status_loads_no_more_than_it_needs(home: Home) -> None:
    home.start_daemon()
    extra = loaded(home, STATUS) - loaded(home, BASELINE)
    assert "queuectl_client.cli.commands.status" in extra
    assert {name for name in extra if name.partition(".")[0] != "queuectl_client"} <= ALLOWED


def test_status_loads_neither_the_store_nor_an_event_loop(home: Home) -> None:
    home.start_daemon()
    heavy = {"peewee", "sqlite3", "asyncio", "rich", "platformdirs", "subprocess", "queuectld"}
    assert loaded(home, STATUS) & heavy == set()
