"""Jobs that leave marks, and what their marks must say whatever was killed meanwhile.

A run appends `s RUN` when it begins and `e RUN` before it ends to a file of its job. Runs may stand one after the
other, whole or cut short, where their worker was killed; never two at once. A run that found a process of another one
alive, by a lock that all processes of a run hold, appends `o RUN`.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

BIG: Final = 60_000
"""More than stays in a worker's memory; in two files, with the limit below."""
BIG_LIMIT: Final = 100_000


class Marked(NamedTuple):
    """A job, and how it must end: `completed`, or with its exit code at its first failure, or for another reason."""

    id: str
    command: str
    exit_code: int | None
    output: bytes | None
    """None: it is not looked at."""
    keys: Mapping[str, Any] = {}
    reason: str = "exit"
    failures: int = 0
    """So many runs fail before the last one."""

    @property
    def spec(self) -> dict[str, Any]:
        """What is enqueued. One failure is the end, so that each further run is a crash's."""
        return {"id": self.id, "command": self.command, "max_retries": 1, "kill_grace": 0.2, **self.keys}


class Marks:
    """The folder that the marks are written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def job(self, name: str, *, meanwhile: str = ":", exit_code: int = 0, big: bool = False) -> Marked:
        """A job that does `meanwhile` between its marks."""
        file = self.folder / name
        if big:
            say, output = f"head -c {BIG} /dev/zero | tr '\\0' x", b"x" * BIG
        else:
            say, output = f"echo out {name}", f"out {name}\n".encode()
        begin, end = (f"echo {mark} $QUEUECTL_RUN >> {file}" for mark in "se")
        return Marked(name, f"{begin}; {say}; {meanwhile}; {end}; exit {exit_code}", exit_code, output)

    def lock(self, name: str, of: str) -> str:
        """Shell: hold the lock `of` with this process and all it starts; who cannot have it leaves a mark."""
        return f"exec 9>>{self.lock_file(of)}; flock -n 9 || echo o $QUEUECTL_RUN >> {self.folder / name}"

    def lock_file(self, of: str) -> Path:
        """What is locked."""
        return self.folder / f"{of}.lock"

    def begun_after(self, name: str, parent: str) -> str:
        """Shell: leave a mark when the parent has not come to its end."""
        told = f"tail -n 1 {shlex.quote(str(self.folder / parent))} | grep -q '^e '"
        return f"{told} || echo o $QUEUECTL_RUN >> {self.folder / name}"

    def text(self, name: str) -> str:
        """What the runs of a job have written so far."""
        file = self.folder / name
        return file.read_text() if file.exists() else ""

    def clear(self) -> None:
        """Remove what has been looked at."""
        for file in self.folder.iterdir():
            file.unlink()

    def faults(self, job: Marked, told: Mapping[str, Any], output: bytes | None) -> list[str]:
        """What is wrong with a job that has ended: `told` is the daemon's word of it, `output` its last run's."""
        runs = told["attempts_list"]
        crashed = {run["run"] for run in runs if run["crashed"]}
        whole, wrong = runs_of(self.text(job.id))
        state = "completed" if job.exit_code == 0 else "dead"
        if told["state"] != state or (job.reason == "exit" and told["exit_code"] != job.exit_code):
            wrong.append(f"it is {told['state']} with exit code {told['exit_code']}, not {state} with {job.exit_code}")
        if state == "dead" and not str(told["reason"]).startswith(job.reason):
            wrong.append(f"it is dead for {told['reason']!r}, not {job.reason}")
        counted = len(runs) == told["runs"] and len(crashed) == told["crashes"]
        if not counted or told["runs"] != told["crashes"] + job.failures + 1:
            wrong.append(f"{told['runs']} runs, {told['crashes']} crashes, but its attempts are {runs}")
        ended = job.reason != "exit" or (runs and whole.get(runs[-1]["run"]))
        if set(whole) - {run["run"] for run in runs} or (runs and not ended):
            wrong.append(f"its marks are of other runs than its attempts: {whole}")
        if any("died" not in run["reason"] for run in runs if run["crashed"]):
            wrong.append(f"a crash does not say that the worker died: {runs}")
        if job.output is not None and output != job.output:
            wrong.append(f"its output is {(output or b'')[:80]!r}, not {job.output[:80]!r}")
        return [f"{job.id}: {each}; marks {self.text(job.id)!r}" for each in wrong]


def runs_of(text: str) -> tuple[dict[int, bool], list[str]]:
    """By run whether it came to its end, and what is wrong with the order of the marks."""
    whole: dict[int, bool] = {}
    wrong = []
    for line in text.splitlines():
        mark = re.fullmatch(r"([seo]) (\d+)", line)
        last = max(whole, default=0)
        if mark is None:
            wrong.append(f"a torn mark {line!r}")
        elif mark[1] == "o":
            wrong.append(f"run {mark[2]} began while a process of another run lived: two at once")
        elif mark[1] == "s":
            if int(mark[2]) <= last:
                wrong.append(f"run {mark[2]} begins after run {last}")
            whole[int(mark[2])] = False
        elif int(mark[2]) != last or whole[last]:
            wrong.append(f"run {mark[2]} ends, run {last} was under way: two at once")
        else:
            whole[last] = True
    return whole, wrong
