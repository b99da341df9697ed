"""A store is closed when there may be no descriptor left: nothing is loaded then."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio, sys
from queuectld.store.store import Store

async def live():
    store = Store.open(sys.argv[1], host="here", loop=asyncio.get_running_loop())
    before = set(sys.modules)
    await store.close()
    print(sorted(set(sys.modules) - before))

asyncio.run(live())
"""


def test_closing_loads_no_module(tmp_path: Path) -> None:
    words = [sys.executable, "-c", SCRIPT, str(tmp_path / "queuectl.db")]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "[]\n"
