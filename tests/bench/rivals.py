"""The programs that people would take instead: how each of them is made to run N times `echo out N`.

A rival is a context manager that gives a function of N; what it takes to start its daemon is not measured.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

Run = Callable[[int], object]
WORKERS = 4

TSP = """
for i in $(seq "$1"); do last=$(tsp sh -c "echo out $i"); ids="$ids $last"; done
for id in $(echo $ids | tr ' ' '\\n' | tail -n 8); do tsp -w "$id" || exit 1; done
tsp -C
"""
NQ = """
for i in $(seq "$1"); do NQDIR=$DIR/$((i % 4)) nq -q sh -c "echo out $i"; done
for lane in 0 1 2 3; do NQDIR=$DIR/$lane nq -w; done
find "$DIR" -type f -delete
"""
PUEUE = """
for i in $(seq "$1"); do pueue add -- "echo out $i" >/dev/null; done
pueue wait --quiet
pueue clean >/dev/null
"""


def available() -> dict[str, Callable[[], AbstractContextManager[Run]]]:
    """Those that are installed, by the name that the table has for them."""
    wanted: dict[str, tuple[bool, Callable[[], AbstractContextManager[Run]]]] = {
        "task-spooler -S 4": (_is_there("tsp"), _tsp),
        "nq, four lanes": (_is_there("nq"), _nq),
        "GNU parallel -j4": (_is_there("parallel"), _parallel),
        "huey, SQLite, 4 processes": (find_spec("huey") is not None, _huey),
        "HyperQueue, 4 cores": (find_spec("hyperqueue") is not None, _hyperqueue),
        "pueue, 4 parallel": (_is_there("pueue") and _is_there("pueued"), _pueue),
    }
    return {name: enter for name, (there, enter) in wanted.items() if there}


def missing() -> list[str]:
    """The names of those that are not installed."""
    names = {"tsp", "nq", "parallel", "pueue"}
    return sorted(name for name in names if not _is_there(name)) + [
        module for module in ("huey", "hyperqueue") if find_spec(module) is None
    ]


def xargs(count: int) -> None:
    """The bare cost of so many shells, two at a time: nothing is kept, nothing survives."""
    numbers = "".join(f"{number}\n" for number in range(count))
    _must(["xargs", "-P2", "-I{}", "sh", "-c", "echo out {}"], {}, text=numbers)


@contextmanager
def _tsp() -> Iterator[Run]:
    with _folder() as folder:
        env = {"TS_SOCKET": str(folder / "tsp.sock"), "TMPDIR": str(folder), "TS_MAXFINISHED": "100000"}
        _must(["tsp", "-S", str(WORKERS)], env)
        try:
            yield lambda count: _must(["sh", "-c", TSP, "tsp", str(count)], env)
        finally:
            _must(["tsp", "-K"], env)


@contextmanager
def _nq() -> Iterator[Run]:
    with _folder() as folder:
        for lane in range(WORKERS):
            (folder / str(lane)).mkdir()
        yield lambda count: _must(["sh", "-c", NQ, "nq", str(count)], {"DIR": str(folder)})


@contextmanager
def _parallel() -> Iterator[Run]:
    def run(count: int) -> None:
        numbers = "".join(f"{number}\n" for number in range(count))
        _must(["parallel", "--will-cite", f"-j{WORKERS}", "echo out {}"], {}, text=numbers)

    yield run


@contextmanager
def _huey() -> Iterator[Run]:
    from tests.bench.rival_huey import consuming

    with _folder() as folder, consuming(folder / "huey.db", WORKERS) as run:
        yield run


@contextmanager
def _hyperqueue() -> Iterator[Run]:
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    def run(count: int) -> None:
        job = Job(default_workdir=Path(tempfile.mkdtemp(dir=folder)))
        for number in range(count):
            job.program(["sh", "-c", f"echo out {number}"])
        with _silence():
            client.wait_for_jobs([client.submit(job)])

    with _folder() as folder, ExitStack() as stack:
        with _silence():
            cluster = stack.enter_context(LocalCluster(str(folder), WorkerConfig(cores=WORKERS)))
            client = cluster.client()
        yield run


@contextmanager
def _pueue() -> Iterator[Run]:
    with _folder() as folder:
        env = {name: str(folder) for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "HOME")}
        _must(["pueued", "--daemonize"], env)
        try:
            _must(["pueue", "parallel", str(WORKERS)], env)
            yield lambda count: _must(["sh", "-c", PUEUE, "pueue", str(count)], env)
        finally:
            _must(["pueue", "shutdown"], env)


@contextmanager
def _silence() -> Iterator[None]:
    """HyperQueue shows its progress on the terminal, from Rust: only other descriptors keep it away."""
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        yield
    finally:
        for descriptor, number in zip(kept, (1, 2), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(null)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="qb", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_there(program: str) -> bool:
    return shutil.which(program) is not None


def _must(command: list[str], env: Mapping[str, str], text: str | None = None) -> None:
    """Run to the end, or say why not: a rival that fails early would look fast."""
    done = subprocess.run(
        command, env={**os.environ, **env}, input=text, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} exited {done.returncode}: {done.stderr.strip()}")
