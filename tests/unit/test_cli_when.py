"""Times as people type them: local zone in, UTC out, through clock changes."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from queuectl_client.cli.jobinput.times import moment, wire_text

NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
"""A Tuesday; 14:30 in Berlin."""


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_zone_is_there() -> None:
    assert NOW.astimezone().hour == 14


@pytest.mark.parametrize(
    "text, at",
    [
        ("now", "2026-11-24T13:30:00.000Z"),
        ("+10m", "2026-11-24T13:40:00.000Z"),
        ("+1h30m", "2026-11-24T15:00:00.000Z"),
        ("+1d", "2026-11-25T13:30:00.000Z"),
        ("18:00", "2026-11-24T17:00:00.000Z"),
        ("14:30", "2026-11-25T13:30:00.000Z"),
        ("14:30:01", "2026-11-24T13:30:01.000Z"),
        ("9:05", "2026-11-25T08:05:00.000Z"),
        ("6pm", "2026-11-24T17:00:00.000Z"),
        ("12am", "2026-11-24T23:00:00.000Z"),
        ("today 18:00", "2026-11-24T17:00:00.000Z"),
        ("Tomorrow  at 09:00", "2026-11-25T08:00:00.000Z"),
        ("tomorrow 9:30 pm", "2026-11-25T20:30:00.000Z"),
        ("tue 15:00", "2026-11-24T14:00:00.000Z"),
        ("tue 14:00", "2026-12-01T13:00:00.000Z"),
        ("mon 9am", "2026-11-30T08:00:00.000Z"),
        ("Sunday 23:59", "2026-11-29T22:59:00.000Z"),
        ("2026-12-24", "2026-12-23T23:00:00.000Z"),
        ("2026-12-24 18:00", "2026-12-24T17:00:00.000Z"),
        ("2026-07-01T12:00", "2026-07-01T10:00:00.000Z"),
        ("2026-12-24T18:00Z", "2026-12-24T18:00:00.000Z"),
        ("2026-12-24T18:00:00.5-05:00", "2026-12-24T23:00:00.500Z"),
        ("2020-01-01", "2019-12-31T23:00:00.000Z"),
    ],
)
def test_times(text: str, at: str) -> None:
    assert wire_text(moment(text, NOW)) == at


@pytest.mark.parametrize(
    "text, said",
    [
        ("soon", "'soon' is not a valid time; expected ISO 8601"),
        ("", "is not a valid time"),
        ("9", "is not a valid time"),
        ("25:00", "is not a valid time"),
        ("13pm", "is not a valid time"),
        ("18:60", "is not a valid time"),
        ("2026-13-01", "is not a valid time"),
        ("0001-01-01", "is not a valid time"),
        ("+10", "expected a duration after +"),
        ("+soon", "expected a duration after +"),
        ("today", "needs a time of day, such as 'today 09:00'"),
        ("tomorrow", "needs a time of day"),
        ("mon", "needs a time of day"),
        ("tomorrow noon", "needs a time of day"),
        ("today 14:00", "is in the past; it is now 14:30"),
    ],
)
def test_what_is_none(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        moment(text, NOW)
    assert said in str(caught.value)


def test_an_hour_that_a_clock_change_leaves_out_is_an_hour_later() -> None:
    saturday = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert wire_text(moment("tomorrow 02:30", saturday)) == "2026-03-29T01:30:00.000Z"  # 03:30, the clock then shows
    assert wire_text(moment("tomorrow 01:59", saturday)) == "2026-03-29T00:59:00.000Z"
    assert wire_text(moment("tomorrow 03:00", saturday)) == "2026-03-29T01:00:00.000Z"


def test_of_an_hour_that_comes_twice_the_first_is_meant() -> None:
    saturday = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert wire_text(moment("tomorrow 02:30", saturday)) == "2026-10-25T00:30:00.000Z"
    assert wire_text(moment("+24h", saturday)) == "2026-10-25T12:00:00.000Z"


def test_tomorrow_at_the_end_of_a_year() -> None:
    assert wire_text(moment("tomorrow 00:30", datetime(2026, 12, 31, 12, tzinfo=UTC))) == "2026-12-31T23:30:00.000Z"
