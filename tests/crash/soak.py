"""The soak: jobs of all kinds run while daemon, workers and clients are killed and stopped, over and over.

    python -m tests.crash.soak --seed 7 --minutes 10
    python -m tests.crash.soak --seed 7 --kills 10000 --jobs 50000 --homes 4

There are several homes at once, each in a process of its own (tests/crash/soaking.py); as root every other one is
another user's. Ends with a line of figures; exit code 1, and the reason, when a promise was broken: the home is kept
then. The seed decides what is killed and after how long; what that meets is up to the machine, so a seed is a lead and
no replay.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.support import processes
from tests.support.other_user import MAY_CHANGE_USER, OTHER_UID

ROOT: Final = Path(__file__).parents[2]
TOLD_EVERY_S: Final = 60.0
KILLS_A_JOB: Final = 0.2
MOST: Final = 1_000_000_000
END_WITHIN_S: Final = 60
AS_STRANGER: Final = ("setpriv", f"--reuid={OTHER_UID}", f"--regid={OTHER_UID}", "--clear-groups")
READS_ALL: Final = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
"""Where the interpreter lies in a folder of root's own: it may be read then, and no process that is not its own."""
TRY_PYTHON: Final = """
import subprocess, sys, tests.crash.soaking
subprocess.run([sys.executable, "-c", "import queuectld"], check=True)
"""


class Player:
    """One home that is soaked, and what it has told."""

    def __init__(self, number: int, prefix: list[str], arguments: list[str]) -> None:
        self.number = number
        self.told: dict[str, Any] = {}
        self.home = ""
        words = [*prefix, sys.executable, "-m", "tests.crash.soaking", *arguments]
        self.process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """It is over, whatever it takes; nothing is left running."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_WITHIN_S)
            self.process.kill()
        self.process.wait()
        self._thread.join(END_WITHIN_S)
        if self.home:
            processes.end_all(Path(self.home))

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            self.home = told.get("home", self.home)
            self.told.update(told)


def main(arguments: list[str]) -> int:
    """Soak until all kills are done or the time is over. The exit code."""
    options = _parser().parse_args(arguments)
    kills = options.kills or MOST
    jobs = options.jobs or round(kills / KILLS_A_JOB)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="qs", dir="/tmp") as folder:
        prefixes = _prefixes()
        setuid = _program_that_becomes_root(Path(folder))
        players = []
        begun = time.monotonic()
        try:
            for number in range(options.homes):
                words = ["--seed", str(options.seed + 1000 * number), "--minutes", str(options.minutes)]
                words += ["--kills", str(_share(kills, options.homes, number))]
                words += ["--jobs", str(_share(jobs, options.homes, number)), "--without", options.without]
                if setuid is not None:
                    words += ["--setuid", str(setuid)]
                players.append(Player(number, prefixes[number % len(prefixes)], words))
            _watch(players, begun)
        finally:
            for player in players:
                player.end()
    print(_figures(players, begun))
    failed = [player for player in players if player.process.returncode]
    for player in failed:
        if "failure" in player.told:
            _tell_failure(player, options.seed)
        else:  # told to end as another one failed
            shutil.rmtree(player.home, ignore_errors=True)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what is killed, and when")
    parser.add_argument("--minutes", type=float, default=1e6, help="no longer than so")
    parser.add_argument("--kills", type=int, help="end after so many (default: with the time)")
    parser.add_argument("--jobs", type=int, help=f"so many jobs meanwhile (default: kills / {KILLS_A_JOB})")
    parser.add_argument("--homes", type=int, default=2, help="daemons at once (default: 2)")
    parser.add_argument("--without", default="", help="kinds of jobs (kinds.py) and kills (kills.py) to leave out")
    return parser


def _watch(players: list[Player], begun: float) -> None:
    """Until all have ended or one has failed; a line every minute."""
    told = begun
    while any(player.process.poll() is None for player in players):
        if any(player.process.poll() for player in players):
            return
        if time.monotonic() - told >= TOLD_EVERY_S:
            told = time.monotonic()
            print(_figures(players, begun), flush=True)
        with suppress(subprocess.TimeoutExpired):
            next(player for player in players if player.process.poll() is None).process.wait(1)


def _figures(players: list[Player], begun: float) -> str:
    """What was survived, in one line."""
    kills: Counter[str] = Counter()
    stops: Counter[str] = Counter()
    for player in players:
        kills.update(player.told.get("kills", {}))
        stops.update(player.told.get("stops", {}))
    jobs, runs = (sum(player.told.get(what, 0) for player in players) for what in ("jobs", "runs"))
    return (
        f"{time.monotonic() - begun:.0f} s: {jobs} jobs in {runs} runs, {kills.total()} kills ({_counts(kills)}), "
        f"{stops.total()} stops ({_counts(stops)})"
    )


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} of {what}" for what, count in sorted(counts.items()))


def _tell_failure(player: Player, seed: int) -> None:
    print(f"\nseed {seed}, home {player.number} broke a promise:\n{player.told.get('failure')}")
    print(player.told.get("log", ""))
    print(f"It is kept, without a daemon: QUEUECTL_HOME={player.home} queuectl list; marks are in {player.home}/marks.")


def _share(count: int, homes: int, number: int) -> int:
    return count // homes + (number < count % homes)


def _prefixes() -> list[list[str]]:
    """How the homes' processes start: as this user, and as another one where we may be one who can run python."""
    if MAY_CHANGE_USER:
        for more in ((), READS_ALL):
            prefix = [*AS_STRANGER, *more]
            words = [*prefix, sys.executable, "-c", TRY_PYTHON]
            if subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode == 0:
                return [[], prefix]
    print("all homes are one user's", flush=True)
    return [[]]


def _program_that_becomes_root(folder: Path) -> Path | None:
    """A `sleep` for jobs of other users, harmless to all."""
    sleep = shutil.which("sleep")
    if not MAY_CHANGE_USER or sleep is None:
        return None
    folder.chmod(0o755)
    made = folder / "sleep"
    shutil.copyfile(sleep, made)
    os.chmod(made, 0o4755)
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
