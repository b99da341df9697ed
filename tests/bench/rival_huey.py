"""huey with its SQLite storage: the task, and the consumer that runs it. Imported by the consumer, too."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huey import SqliteHuey

from tests.support.eventually import eventually

STORE = "QUEUECTL_BENCH_HUEY"
huey = SqliteHuey("bench", filename=os.environ.get(STORE, ":memory:"), fsync=True)
DEADLINE_S = 600


@huey.task()
def shell(command: str) -> str:
    """Run a shell command; its output is the task's result, which huey stores."""
    return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout


@contextmanager
def consuming(store: Path, workers: int) -> Iterator[Callable[[int], None]]:
    """A consumer with so many worker processes that ask every 10 ms, which is the soonest that makes sense."""
    command = [sys.executable, "-m", "huey.bin.huey_consumer", "tests.bench.rival_huey.huey", "-k", "process"]
    command += ["-w", str(workers), "-d", "0.01", "-m", "0.01", "-q"]
    root = Path(__file__).parents[2]
    consumer = subprocess.Popen(
        command, env={**os.environ, STORE: str(store), "PYTHONPATH": str(root)}, cwd=root, stderr=subprocess.DEVNULL
    )
    huey.storage.close()
    huey.storage.filename = str(store)
    huey.storage.initialize_schema()

    def run(count: int) -> None:
        for number in range(count):
            shell(f"echo out {number}")
        eventually(lambda: huey.storage.result_store_size() >= count, deadline=DEADLINE_S)
        huey.storage.flush_results()

    try:
        run(workers)  # until its workers are up
        yield run
    finally:
        consumer.terminate()
        consumer.wait(timeout=30)
        huey.storage.close()
