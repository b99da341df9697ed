"""Makes the golden store of this schema version: `python -m tests.compat.make_golden_store`.

Run once when a schema version is new, and check the file in. Never make it again for a released version:
that this file, as it was written then, can still be read is what the test is for.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

from queuectld.domain.job import Output
from queuectld.domain.outcome import EndKind
from queuectld.domain.retry import RetryPolicy
from queuectld.store.mapping import files
from queuectld.store.records import TimeAnchor
from tests.store import verbs
from tests.store.lab import Lab, new

GOLDEN = Path(__file__).with_name("golden")


def golden_path(version: int) -> Path:
    """Where the golden store of a version is."""
    return GOLDEN / f"store-v{version}.db"


async def fill(lab: Lab) -> None:
    """One of everything: each state, each table."""
    now = lab.now
    await lab.store.save_anchor(TimeAnchor("3ad1c5b2", 1000, now.wall_ms, now.store_ms))
    await lab.store.config_set("max_retries", 5, now=now)
    await lab.store.queue_pause("slow", True, now=now)
    (worker,) = await lab.hire()
    await lab.store.worker_started(worker, 4711, 99, "3ad1c5b2", now=now)
    await lab.add("echo done", id="completed", name="nightly", labels={"team": "ä"}, env={"TOKEN": "x\udcff"})
    output = {"both": Output(5, b"done\n"), "stderr": Output(9, None, (("000/1.1.stderr.log", 0, 9),))}
    await lab.turn([lab.end(await lab.claim(), output=output, user_us=1, max_rss_kib=2, left_behind="sleep (pid 9)")])
    await lab.add(("false",), id="dead", retry=RetryPolicy(1, 2, 2, 0.5, (1, "SIGTERM"), (3,)), cwd="/tmp/\udcfe")
    await lab.turn([lab.end(await lab.claim(), 1)])
    await lab.add("exit 2", id="failed")
    await lab.turn([lab.end(await lab.claim(), 2)])
    await lab.add("kill -9 $PPID", id="crashed", once=True)
    await lab.turn([lab.end(await lab.claim(), None, kind=EndKind.CRASHED, words="worker w1 went down")])
    await lab.add("sleep 9", id="processing", stdin="in", timeout_ms=5, stall_timeout_ms=6, split_output=True)
    await lab.claim()
    await lab.add("echo held", id="held", hold=True, unique_key="u")
    await lab.add("echo blocked", id="blocked", depends_on=(("held", "completed"),))
    await lab.add("echo cancelled", id="cancelled", depends_on=(("completed", "dead"),))
    await lab.add("echo later", id="later", delay_ms=60_000)
    await lab.add("echo at", id="at", run_at_ms=now.wall_ms + 60_000)
    await lab.add("echo slow", id="slow", queue="slow", priority=7)
    await verbs.add(lab.store, new("echo pending", id="pending"), now=now, request="8c1f")
    token = await lab.store.intake.open_upload(now=now)
    await lab.store.intake.add_to_upload(token, [new("echo batch")], now=now)
    await lab.store.intake.commit_upload(token, now=now)


async def make(path: Path) -> None:
    """Write a golden store to `path`."""
    lab = Lab(path)
    lab.open()
    await fill(lab)
    await lab.store.close()


def main() -> None:
    """Write the golden store of this version, unless there is one."""
    target = golden_path(files.SCHEMA_VERSION)
    if target.exists():
        raise SystemExit(f"{target} is there; a released golden store is never made again")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(make(Path(folder) / "store.db"))
        GOLDEN.mkdir(exist_ok=True)
        shutil.copyfile(Path(folder) / "store.db", target)


if __name__ == "__main__":
    main()
