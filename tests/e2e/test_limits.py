"""How many at once, in what order, how long and how often: what a person notices on the command line.

Each job writes a line when it starts and one when it ends, so that what happened is read from a file and not from a
clock.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.daemon import Home


class Diary:
    """What jobs wrote down, in the order in which they did."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def command(self, mark: str, seconds: float = 0.05) -> str:
        """A job that writes its mark when it starts and when it ends."""
        return f'echo "+ {mark}" >> {self.path}; sleep {seconds}; echo "- {mark}" >> {self.path}'

    @property
    def entries(self) -> list[tuple[str, str]]:
        """Pairs of `+` or `-` and a mark."""
        return [(line[0], line[2:]) for line in self.path.read_text().splitlines()]

    @property
    def starts(self) -> list[str]:
        """The marks in the order of their starts."""
        return [mark for what, mark in self.entries if what == "+"]

    def most_at_once(self, prefix: str = "") -> int:
        """How many with this beginning ran at once, at most."""
        running, most = 0, 0
        for what, mark in self.entries:
            if mark.startswith(prefix):
                running += 1 if what == "+" else -1
                most = max(most, running)
        return most


@pytest.fixture
def diary(home: Home) -> Diary:
    home.ok("worker", "start", "-d", "--count", "4")
    return Diary(home.path / "diary")


def enqueue(home: Home, command: str, *words: str) -> None:
    home.ok("enqueue", "-q", *words, command)


def test_a_queue_keeps_its_concurrency_and_another_goes_on_meanwhile(home: Home, diary: Diary) -> None:
    home.ok("queue", "set", "narrow", "--concurrency", "1")
    for queue in ("narrow", "wide"):
        home.ok("enqueue", "-q", "--queue", queue, "--array", "1-6", diary.command(f"{queue}-{{}}"))
    home.ok("wait")
    assert diary.most_at_once("narrow") == 1
    assert [mark for mark in diary.starts if mark.startswith("narrow")] == [f"narrow-{n}" for n in range(1, 7)]
    assert len(diary.starts) == 12


def test_a_rate_lets_no_more_start_and_says_when_the_next_may(home: Home, diary: Diary) -> None:
    home.ok("queue", "set", "slow", "--rate", "2/h")
    ids = home.ok("enqueue", "-q", "--queue", "slow", "--array", "1-3", diary.command("{}")).split()
    home.ok("wait", *ids[:2])
    assert home.states()[ids[2]] == "pending"
    assert "The queue slow starts at most 2 jobs an hour" in home.ok("explain", ids[2])
    assert sorted(diary.starts) == ["1", "2"]
    home.ok("queue", "set", "slow", "--rate", "none")
    home.ok("wait", *ids)


def test_jobs_of_a_key_run_in_their_order_and_never_together(home: Home, diary: Diary) -> None:
    for number in range(5):
        enqueue(home, diary.command(f"one-{number}"), "--key", "customer-7")
        enqueue(home, diary.command(f"two-{number}"), "--key", "other", "--key-limit", "2")
    home.ok("wait")
    assert diary.most_at_once("one") == 1
    assert diary.most_at_once("two") <= 2
    assert [mark for mark in diary.starts if mark.startswith("one")] == [f"one-{number}" for number in range(5)]


def test_slots_bound_what_runs_together(home: Home, diary: Diary) -> None:
    home.ok("config", "set", "slots", "3")
    home.ok("enqueue", "-q", "--slots", "2", "--array", "1-4", diary.command("heavy-{}"))
    home.ok("enqueue", "-q", "--array", "1-4", diary.command("light-{}"))
    home.ok("wait")
    assert diary.most_at_once("heavy") == 1
    running: Counter[str] = Counter()
    for what, mark in diary.entries:
        running[mark.partition("-")[0]] += 1 if what == "+" else -1
        assert 2 * running["heavy"] + running["light"] <= 3
    done = home.cli("enqueue", "--slots", "4", "true")
    assert (done.returncode, "more than there are in all, 3" in done.stderr) == (2, True)


def test_no_gpu_is_given_to_two_at_once(home: Home, diary: Diary) -> None:
    home.ok("config", "set", "resources", "gpu=2,mem=16G")
    home.ok("enqueue", "-q", "--needs", "gpu=1,mem=4G", "--array", "1-10", diary.command("$CUDA_VISIBLE_DEVICES"))
    home.ok("wait")
    held: set[str] = set()
    for what, device in diary.entries:
        assert device in ("0", "1")
        assert (device in held) == (what == "-"), diary.entries
        held ^= {device}
    assert len(diary.starts) == 10
    shown = home.json("show", "1")
    assert (shown["needs"], shown["env_names"]) == ({"gpu": 1, "mem": 4 << 30}, ["QUEUECTL_ARRAY_INDEX"])


def test_a_big_job_is_not_starved_by_small_ones(home: Home, diary: Diary) -> None:
    home.ok("config", "set", "resources", "mem=4G")
    home.ok("queue", "pause", "default")
    home.ok("enqueue", "-q", "--needs", "mem=1G", "--array", "1-4", diary.command("before-{}", 0.2))
    enqueue(home, diary.command("big"), "--needs", "mem=4G")
    home.ok("enqueue", "-q", "--needs", "mem=1G", "--array", "1-8", diary.command("after-{}", 0.2))
    home.ok("queue", "resume", "default")
    home.ok("wait")
    assert sorted(diary.starts[:4]) == [f"before-{number}" for number in range(1, 5)]
    assert diary.starts[4] == "big"  # though the end of the first small one made room for another of them
    assert diary.most_at_once("after") <= 4


def test_a_higher_priority_goes_first_and_equals_keep_their_order(home: Home) -> None:
    diary = Diary(home.path / "diary")
    home.ok("queue", "pause", "default")
    for number, priority in enumerate(("0", "-5", "10", "0", "10")):
        enqueue(home, diary.command(f"{number}", 0), "--priority", priority)
    home.ok("worker", "start", "-d")
    home.ok("queue", "resume", "default")
    home.ok("wait")
    assert diary.starts == ["2", "4", "0", "3", "1"]


def test_a_unique_key_is_free_once_its_job_has_ended(home: Home, diary: Diary) -> None:
    enqueue(home, diary.command("first"), "--unique", "nightly", "--hold")
    done = home.cli("enqueue", "--unique", "nightly", "true")
    assert (done.returncode, done.stdout) == (5, "")
    assert "is held by job job_1 (held)" in done.stderr
    home.ok("release", "job_1")
    home.ok("wait")
    assert home.ok("enqueue", "-q", "--unique", "nightly", diary.command("second")) == "job_2\n"
    home.ok("wait")
    assert diary.starts == ["first", "second"]


def test_a_timeout_ends_the_whole_job_by_force_if_need_be(home: Home, diary: Diary) -> None:
    stubborn = "trap '' TERM; (trap '' TERM; sleep 600; echo never) & wait; sleep 600"
    words = ("--max-retries", "1", "--timeout", "300ms", "--kill-grace", "200ms")
    assert home.cli("enqueue", "--wait", *words, stubborn).returncode == 124
    job = home.json("show", "last")
    assert (job["state"], job["signal"]) == ("dead", 9)
    assert job["reason"].startswith("timeout: it ran longer than 0.3 s")
    assert home.cli("enqueue", "--wait", *words, "--stall-timeout", "200ms", "sleep 600").returncode == 124


def test_a_job_that_goes_on_saying_something_does_not_stall(home: Home, diary: Diary) -> None:
    chatty = "for n in 1 2 3 4 5 6; do echo $n; sleep 0.1; done"
    assert home.cli("enqueue", "--wait", "--stall-timeout", "20s", chatty).returncode == 0
    silent = f"echo one; {diary.command('ran')}; sleep 600"
    home.cli("enqueue", "--wait", "--stall-timeout", "1s", "--max-retries", "1", silent)
    assert home.json("show", "last")["reason"].startswith("stalled: no output for 1 s")
    assert home.ok("logs", "last") == "one\n"


@pytest.mark.parametrize(
    "words, command, attempts",
    [
        (("--retry-on", "tempfail"), "exit 75", 3),
        (("--retry-on", "tempfail"), "exit 1", 1),
        (("--retry-on", "EX_IOERR,9"), "exit 9", 3),
        (("--no-retry-on", "2"), "exit 2", 1),
        (("--no-retry-on", "2"), "exit 3", 3),
        (("--retry-on", "KILL"), "kill -KILL $$", 3),
        (("--no-retry-on", "sigsegv"), "kill -SEGV $$", 1),
        (("--retry-on", "1", "--no-retry-on", "1"), "exit 1", 1),
    ],
)
def test_which_ends_are_tried_again(
    home: Home, diary: Diary, words: tuple[str, ...], command: str, attempts: int
) -> None:  # fmt: skip
    home.cli("enqueue", "--wait", "--max-retries", "3", "--backoff-base", "1", "--backoff-max", "0s", *words, command)
    job = home.json("show", "last")
    assert (job["state"], job["attempts"]) == ("dead", attempts)


def test_a_queue_that_paused_itself_tells_whoever_enqueues(home: Home, diary: Diary) -> None:
    home.ok("queue", "set", "q", "--failure-limit", "2")
    home.ok("enqueue", "-q", "--queue", "q", "--key", "k", "--max-retries", "1", "--array", "1-4", "exit {}")
    home.ok("wait", "1", "2")
    home.ok("wait")
    done = home.cli("enqueue", "--queue", "q", "true")
    assert "Queue q is paused, so it waits" in done.stderr
    assert "2 executions in a row failed, the last one of job job_2 (exit 2)" in home.cli("queue", "list").stderr
    assert "paused" in home.ok("queue", "list")
    status = home.cli("status")
    assert "q" in status.stderr
    assert "reason=2 executions in a row failed" in home.ok("events", "--since", "0")
    assert home.states()["job_3"] == "pending"
