"""What a human reads: escapes, times, durations, tables."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render
from queuectl_client.cli.output.jsonlines import dumps
from queuectl_client.cli.output.tables import fitted


@pytest.mark.parametrize(
    "text, safe",
    [
        ("plain ✓ naïve", "plain ✓ naïve"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines\t", "two\\nlines\\t"),
        ("c1 \x9b", "c1 \\x9b"),
        ("right \u202e to left", "right \\u202e to left"),
        (b"bytes \xff".decode("utf-8", "surrogateescape"), "bytes \\xff"),
        (b"bytes \xff", "bytes \\xff"),
    ],
)
def test_what_is_not_plainly_visible_is_shown_as_an_escape(text: object, safe: str) -> None:
    assert render.escape(text) == safe


def test_an_argv_is_shown_as_it_would_be_typed() -> None:
    assert render.command_text(["echo", "a b", "\x1b"]) == "echo 'a b' '\\x1b'"


@pytest.mark.parametrize(
    "seconds, words",
    [
        (None, "-"), (0, "0s"), (0.254, "0.25s"), (2.0, "2s"), (12.4, "12s"), (59.6, "1m"), (200, "3m 20s"),
        (7500, "2h 5m"), (7200, "2h"), (273_600, "3d 4h"),
    ],
)  # fmt: skip
def test_a_duration_in_words(seconds: float | None, words: str) -> None:
    assert render.duration(seconds) == words


@pytest.mark.parametrize("count, words", [(0, "0 B"), (812, "812 B"), (3_565_158, "3.4 MiB"), (None, "-")])
def test_a_size_in_words(count: int | None, words: str) -> None:
    assert render.size(count) == words


def test_times_of_today_are_short() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC).astimezone()
    today = now.replace(hour=12, minute=3, second=7)
    assert render.clock_time(today.isoformat(), now) == "12:03:07"
    assert render.clock_time((today - timedelta(days=30)).isoformat(), now) == "Oct 25 12:03"
    assert render.clock_time((today - timedelta(days=900)).isoformat(), now) == "2024-06-07"
    assert render.clock_time(None, now) == "-"


def test_columns_are_aligned_and_the_last_one_is_whole() -> None:
    lines = list(render.aligned(("ID", "COMMAND"), [("job_1", "x" * 200), ("j", "y")]))
    assert lines == ["ID     COMMAND", "job_1  " + "x" * 200, "j      y"]


def test_a_table_streams() -> None:
    taken = []

    def rows() -> "list[tuple[str, str]]":
        for number in range(10_000):
            taken.append(number)
            yield (str(number), "x")

    lines = iter(render.aligned(("ID", "COMMAND"), rows(), looked_at=10))
    next(lines)
    assert len(taken) < 20


def test_json_is_readable_and_harmless_on_a_terminal() -> None:
    assert dumps({"name": "naïve"}) == '{"name": "naïve"}'
    assert dumps({"name": "\x9b\x1b"}) == '{"name": "\\u009b\\u001b"}'
    assert dumps({"command": b"\xff"}) == '{"command": "\\udcff"}'


def test_only_the_widest_column_of_a_table_gives_way() -> None:
    rows = [("job_1", "x" * 500, "short"), ("job_2", "y" * 30, "short")]
    widths = fitted(("ID", "COMMAND", "NAME"), rows, 60)
    assert widths == [5, 44, 5]
    assert fitted(("ID", "NAME"), [("1", "漢字")], 60) == [2, 4], "as wide as a terminal shows it"
    assert min(fitted(("A",) * 9, [("x" * 50,) * 9], 20)) >= 1


def test_long_names_give_way_before_the_command_and_headings_last() -> None:
    rows = [("x" * 128, "Held", "0/3", "q" * 100, "08:24:07", "echo " * 20)]
    headers = ("ID", "STATE", "FAILURES", "QUEUE", "CREATED", "COMMAND")
    assert fitted(headers, rows, 80) == [14, 5, 8, 14, 8, 19]
    counts = ("PENDING", "PROCESSING", "COMPLETED")
    assert fitted(("QUEUE", *counts), [("q" * 100, "1", "2", "3")], 50) == [16, 7, 10, 9], "no heading is cut"


def test_a_state_is_not_cut_while_another_column_may_give_way() -> None:
    rows = [("job_1", "Processing, paused", "default", "echo " + "x" * 200), ("job_2", "Dead (DLQ)", "default", "ls")]
    for width in (60, 80, 200):
        assert fitted(("ID", "STATE", "QUEUE", "COMMAND"), rows, width)[1] == len("Processing, paused"), width


def test_colours_of_a_plain_table_are_those_of_a_terminal_and_change_no_width() -> None:
    rows = [("a", "Completed", "x"), ("b", "Processing, paused", "Dead or alive")]
    plain = list(render.aligned(("ID", "STATE", "NAME"), rows))
    painted = list(render.aligned(("ID", "STATE", "NAME"), rows, colours=True))
    assert painted[1] == "a   \x1b[32mCompleted\x1b[0m           x"
    assert painted[2].startswith("b   \x1b[34mProcessing, paused\x1b[0m  Dead")
    assert painted[0].startswith("\x1b[1mID\x1b[0m  \x1b[1mSTATE\x1b[0m")
    assert [re.sub("\x1b\\[[0-9]*m", "", line) for line in painted] == plain


def test_columns_of_a_pipe_are_as_wide_as_their_letters_are_shown() -> None:
    rows = [("漢字", "a"), ("abcd", "b"), ("e\u0301", "c")]
    assert list(render.aligned(("ID", "X"), rows)) == ["ID    X", "漢字  a", "abcd  b", "e\u0301     c"]


def test_what_is_told_on_stderr_cannot_act_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Invocation().error("no job \x1b[2J\nsecond line")
    assert capsys.readouterr().err == "Error: no job \\x1b[2J\nsecond line\n"
    quiet = Invocation()
    quiet.quiet = True
    quiet.say("a hint")
    quiet.error("an error")
    assert capsys.readouterr().err == "Error: an error\n"
