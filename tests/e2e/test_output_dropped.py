"""Output past the cap: its head and its newest part are kept, in whole lines, and what is missing is told."""

import itertools
import json
import re

import pytest

from queuectl_client import Client
from tests.support.daemon import Home

SIZE = sum(len(f"{n}\n") for n in range(1, 1_000_001))
DROPPED = re.compile(r"\[job_1: ([\d,]+) bytes of (?:output|stdout|stderr) were dropped here\]")


@pytest.fixture
def capped(home: Home) -> Home:
    """A home where a job may keep 256 KiB of output."""
    home.ok("config", "set", "log_max_bytes", str(256 * 1024))
    return home


def kept(text: str) -> list[int]:
    """The numbers that are there; each a whole line, whose end is there too."""
    assert text.endswith("\n")
    return [int(line) for line in text.splitlines()]


def dropped(said: str) -> list[int]:
    return [int(number.replace(",", "")) for number in DROPPED.findall(said)]


def gaps(numbers: list[int]) -> int:
    return sum(before + 1 != behind for before, behind in itertools.pairwise(numbers))


def missing(numbers: list[int]) -> int:
    return SIZE - sum(len(f"{n}\n") for n in numbers)


def test_every_view_says_how_much_is_missing(capped: Home) -> None:
    run = capped.cli("run", "seq 1 1000000", timeout=60)
    assert run.returncode == 0
    # A follower may fall behind again and again; each gap is told, and lies between two lines.
    numbers = kept(run.stdout)
    assert sum(dropped(run.stderr)) == missing(numbers)
    assert len(dropped(run.stderr)) == gaps(numbers) > 0

    logs = capped.cli("logs", "1")
    numbers = kept(logs.stdout)
    assert dropped(logs.stderr) == [missing(numbers)]
    assert (numbers[0], numbers[-1], gaps(numbers)) == (1, 1_000_000, 1)
    assert capped.cli("follow", "1").stdout == logs.stdout
    assert dropped(capped.cli("follow", "1").stderr) == dropped(logs.stderr)

    told = capped.json("logs", "1")
    assert (told["data"], told["encoding"], told["stream"], told["attempt"]) == (logs.stdout, "utf-8", "both", 1)
    assert told["dropped"] == missing(numbers)
    attempt = capped.json("show", "1")["attempts_list"][0]
    assert (attempt["output_bytes"], attempt["output_dropped"]) == (SIZE, missing(numbers))
    assert f"{missing(numbers):,} bytes of output were dropped" in capped.ok("show", "1")
    with Client(environ=capped.env) as client:
        counts: list[int] = []
        assert client.output("1", missing=counts.append).decode() == logs.stdout
        assert counts == [missing(numbers)]


def test_the_last_lines_are_found_on_both_sides_of_the_gap(capped: Home) -> None:
    capped.cli("run", "seq 1 1000000; printf end", timeout=60)
    lines = capped.ok("logs", "1").splitlines(keepends=True)
    behind = len(lines) - next(at for at in range(1, len(lines)) if int(lines[at]) != int(lines[at - 1]) + 1)
    assert capped.ok("logs", "1", "-n", "5") == "999997\n999998\n999999\n1000000\nend"
    for count in (behind - 1, behind, behind + 1, behind + 5000, len(lines), len(lines) + 1):
        shown = capped.cli("logs", "1", "-n", str(count))
        assert shown.stdout == "".join(lines[-count:])
        assert len(dropped(shown.stderr)) == (count > behind)


@pytest.mark.parametrize(
    ("command", "last"),
    [
        ("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf end", "line 1998\nline 1999\nend"),
        (r"printf 'a\r\nb\r\nc\r\nd\r\n'", "b\r\nc\r\nd\r\n"),
        (r"printf 'a\nb\n'; for i in 1 2 3; do printf '%s\r' $i; done", "a\nb\n1\r2\r3\r"),
        (r"printf '\n\n\n\n'", "\n\n\n"),
        ("printf one", "one"),
        ("true", ""),
    ],
    ids=["no newline at the end", "crlf", "bars", "empty lines", "one line", "nothing"],
)
def test_the_last_three_lines(home: Home, command: str, last: str) -> None:
    home.cli("run", command)
    assert json.loads(home.ok("logs", "1", "-n", "3", "--json"))["data"] == last


def test_the_last_lines_of_a_line_longer_than_the_cap(capped: Home) -> None:
    capped.cli("run", "head -c 4000000 /dev/zero | tr '\\0' x; printf '\\nlast'", timeout=60)
    shown = capped.cli("logs", "1", "-n", "1")
    assert (shown.stdout, dropped(shown.stderr)) == ("last", [])
    shown = capped.cli("logs", "1", "-n", "2")
    assert set(shown.stdout) == {"x", "\n", "l", "a", "s", "t"}
    assert dropped(shown.stderr) == []
    everything = capped.cli("logs", "1")
    assert len(everything.stdout) + dropped(everything.stderr)[0] == 4_000_005


@pytest.mark.parametrize("lines", ["0", "1", "3"])
def test_the_last_lines_as_json_tell_what_is_missing_of_all_of_it(capped: Home, lines: str) -> None:
    capped.cli("run", "seq 1 1000000", timeout=60)
    told = capped.json("logs", "1", "-n", lines)
    numbers = range(1_000_001 - int(lines), 1_000_001)
    assert told["data"] == "".join(f"{number}\n" for number in numbers)
    assert told["dropped"] == capped.json("show", "1")["attempts_list"][0]["output_dropped"] > 0


def test_each_attempt_and_each_stream_has_its_own(capped: Home) -> None:
    script = "seq 1 100000; seq 1 $((QUEUECTL_ATTEMPT * 100000)) >&2; exit 1"
    capped.cli("run", "--split-output", "--max-retries", "2", "--backoff-base", "1", script, timeout=60)
    for attempt in (1, 2):
        where = ("--attempt", str(attempt))
        assert capped.ok("logs", "1", "--stdout", "-n", "2", *where) == "99999\n100000\n"
        assert capped.ok("logs", "1", "--stderr", "-n", "1", *where) == f"{attempt}00000\n"
        for stream in ("stdout", "stderr"):
            told = capped.json("logs", "1", f"--{stream}", *where)
            assert told["stream"] == stream
            numbers = kept(told["data"])
            last = 100_000 if stream == "stdout" else attempt * 100_000
            whole = sum(len(f"{n}\n") for n in range(1, last + 1))
            assert told["dropped"] == whole - sum(len(f"{n}\n") for n in numbers) > 0
            assert gaps(numbers) == 1
    both = capped.cli("logs", "1")
    assert len(dropped(both.stderr)) == 2
    assert "bytes of stdout were" in both.stderr
    assert "bytes of stderr were" in both.stderr
