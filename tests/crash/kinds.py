"""The kinds of jobs that a soak runs: ordinary ones, and those that recovery has a hard time with.

Each is a job with marks (tests/crash/marks.py) and the end it must come to. None lasts longer than two seconds, also
where nobody can find it in order to end it.
"""

import random
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from tests.crash import escapes
from tests.crash.marks import Marked, Marks

PROGRAM: Final = Path(escapes.__file__)
SHORT: Final = (0, 0, 0.02, 0.1, 0.3)
KEYS: Final = 3

Kind = Callable[[str], Marked]


class Kinds:
    """Makes jobs of kinds that the dice choose. `setuid`: a `sleep` that becomes root, where there is one."""

    def __init__(self, marks: Marks, dice: random.Random, *, setuid: Path | None, without: Collection[str]) -> None:
        self._marks = marks
        self._dice = dice
        self._setuid = setuid
        self._done: str | None = None
        """A job of this round that completes, for another to depend on."""
        weights: dict[Kind, float] = {
            self.plain: 60,
            self.retried: 3,
            self.keyed: 9,
            self.dependent: 6,
            self.setsid: 4,
            self.holds_stdout: 3,
            self.ignores_term: 2,
            self.stops_worker: 0.2,
            self.unreadable: 3,
            self.detached: 2,
            self.leaderless: 3,
            self.forking: 3,
        }
        if setuid is not None:
            weights[self.becomes_root] = 4
        self._weights = {kind: weight for kind, weight in weights.items() if kind.__name__ not in without}

    def begin(self) -> None:
        """A new round: jobs depend on jobs of their own round."""
        self._done = None

    def make(self, name: str) -> Marked:
        """A job. Its kind is part of its id."""
        [kind] = self._dice.choices(list(self._weights), list(self._weights.values()))
        job = kind(f"{name}-{kind.__name__}")
        return job._replace(keys={"cwd": "/", **job.keys})  # of all users a folder

    def plain(self, name: str) -> Marked:
        """With much output or little, failing or not."""
        job = self._marks.job(
            name,
            meanwhile=self._sleep(),
            exit_code=self._dice.choice((0, 0, 3)),
            big=self._dice.random() < 0.1,
        )
        if job.exit_code == 0:
            self._done = name
        return job

    def retried(self, name: str) -> Marked:
        """Fails once, whatever crashes before or after that."""
        job = self._marks.job(name, meanwhile=self._sleep())
        command = job.command.removesuffix("exit 0") + "[ $QUEUECTL_ATTEMPT -gt 1 ] || exit 3"
        return job._replace(command=command, failures=1, keys={"max_retries": 2, "backoff_max": 1})

    def keyed(self, name: str) -> Marked:
        """Jobs of one key, which run one after the other."""
        key = f"k{self._dice.randrange(KEYS)}"
        job = self._marks.job(name, meanwhile=self._sleep())
        return job._replace(command=f"{self._marks.lock(name, key)}; {job.command}", keys={"key": key})

    def dependent(self, name: str) -> Marked:
        """Runs when another has completed."""
        if self._done is None:
            return self.plain(name)
        job = self._marks.job(name, meanwhile=self._sleep())
        command = f"{self._marks.begun_after(name, self._done)}; {job.command}"
        return job._replace(command=command, keys={"depends_on": [self._done]})

    def setsid(self, name: str) -> Marked:
        """All of it runs in a session of its own."""
        job = self._marks.job(name, meanwhile=self._sleep())
        return job._replace(command=f"{self._marks.lock(name, name)}; exec setsid -w sh -c '{job.command}'")

    def holds_stdout(self, name: str) -> Marked:
        """Leaves something behind that holds its output."""
        job = self._marks.job(name, meanwhile=f"sleep {self._dice.choice((0.3, 1))} &")
        return job._replace(command=f"{self._marks.lock(name, name)}; {job.command.replace('&;', '&')}")

    def ignores_term(self, name: str) -> Marked:
        """Past its time-out it has to be killed."""
        lock = self._marks.lock(name, name)
        begin = f"echo s $QUEUECTL_RUN >> {self._marks.folder / name}"
        command = f"trap '' TERM; {lock}; {begin}; while :; do sleep 0.2; done"
        return Marked(name, command, None, None, {"timeout": 0.3}, "timeout")

    def stops_worker(self, name: str) -> Marked:
        """Its worker cannot end it, nor can it tell that it ended."""
        begin = f"echo s $QUEUECTL_RUN >> {self._marks.folder / name}"
        command = f"{self._marks.lock(name, name)}; {begin}; kill -STOP $PPID; exec sleep 60"
        return Marked(name, command, None, None, {"timeout": 0.5}, "timeout")

    def becomes_root(self, name: str) -> Marked:
        """Most of it is a process of root's: it can be ended, and not be read."""
        job = self._marks.job(name, meanwhile=f"{self._setuid} {self._dice.choice((0.2, 0.5))}")
        return job._replace(command=f"{self._marks.lock(name, name)}; {job.command}")

    def unreadable(self, name: str) -> Marked:
        """A process that is not dumpable."""
        return self._escaping("unreadable", name)

    def detached(self, name: str) -> Marked:
        """A process that is not dumpable, in a session of its own."""
        return self._escaping("detached", name)

    def leaderless(self, name: str) -> Marked:
        """A process that looks like a zombie."""
        return self._escaping("leaderless", name)

    def forking(self, name: str) -> Marked:
        """A process that is another one at every look."""
        return self._escaping("forking", name)

    def _escaping(self, kind: str, name: str) -> Marked:
        seconds = self._dice.choice((0.1, 0.3, 0.6))
        files = f"{self._marks.folder / name} {self._marks.lock_file(name)}"
        return Marked(name, f"exec {sys.executable} -I -S {PROGRAM} {kind} {files} {seconds}", 0, b"")

    def _sleep(self) -> str:
        seconds = self._dice.choice(SHORT)
        return f"sleep {seconds}" if seconds else ":"
