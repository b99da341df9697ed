"""Values as people type them, and what becomes of the options of a job."""

import click
import pytest

from queuectl_client.cli.jobinput.jobjson import drop_unknown, parse
from queuectl_client.cli.jobinput.options import described, lay_over
from queuectl_client.cli.jobinput.values import AGE, DURATION, MOMENT, PAIR, seconds
from queuectl_client.errors import InvalidParams
from queuectl_client.protocol.spelling import snake_case


@pytest.mark.parametrize(
    "text, value",
    [
        ("90", 90), ("1.5", 1.5), ("10s", 10), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("1h30m", 5400),
        ("1h 30m", 5400), ("500ms", 0.5), ("-1", -1), ("", None), ("soon", None), ("5 minutes", None), ("1h-", None),
    ],
)  # fmt: skip
def test_durations(text: str, value: float | None) -> None:
    assert seconds(text) == value


def test_a_bad_duration_says_what_is_allowed() -> None:
    with pytest.raises(click.BadParameter, match=r"'soon' is not a valid duration; expected seconds \(90\) or units"):
        DURATION.convert("soon", None, None)


def test_pairs() -> None:
    assert PAIR.convert("A=b=c", None, None) == ("A", "b=c")
    assert PAIR.convert("A=", None, None) == ("A", "")
    for bad in ("A", "=b", ""):
        with pytest.raises(click.BadParameter, match="KEY=VALUE"):
            PAIR.convert(bad, None, None)


def test_moments() -> None:
    assert MOMENT.convert("2026-11-24T03:08:02Z", None, None) == "2026-11-24T03:08:02.000+00:00"
    assert MOMENT.convert("2h", None, None).endswith("+00:00")
    for bad in ("yesterday", "9999999999d"):
        with pytest.raises(click.BadParameter, match="ISO 8601"):
            MOMENT.convert(bad, None, None)


def test_options_become_the_keys_of_a_job() -> None:
    given = {
        "id": None, "priority": 0, "hold": False, "once": True, "labels": (("a", "1"), ("b", "2")), "env": (),
        "retry_on": ("1,SIGKILL", "75"), "depends_on": ("job_1", "job_2:any"), "needs": (("gpu", "2"),), "stdin": "",
    }  # fmt: skip
    assert described(given) == {
        "priority": 0,
        "once": True,
        "labels": {"a": "1", "b": "2"},
        "retry_on": [1, "SIGKILL", 75],
        "depends_on": ["job_1", {"id": "job_2", "on": "any"}],
        "needs": {"gpu": 2},
        "stdin": "",
    }


def test_an_option_wins_over_the_json_in_either_spelling() -> None:
    job = {"command": "x", "maxRetries": 5, "runAt": "2030-01-01", "env": {"A": "1", "B": "1"}, "name": None}
    options = {"max_retries": 1, "delay": 3, "env": {"B": "2"}}
    assert lay_over(job, options) == {"command": "x", "max_retries": 1, "delay": 3, "env": {"A": "1", "B": "2"}}


def test_snake_case() -> None:
    assert snake_case("maxRetries") == "max_retries"
    assert snake_case("max_retries") == "max_retries"


@pytest.mark.parametrize(
    "text, words",
    [
        ('{"command": }', "invalid JSON at character 13"),
        ('{"command": "x"} y', "invalid JSON at character 18"),
        ("{ echo hi; }", "--shell"),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_bad_json_is_an_error_that_says_where(text: str, words: str) -> None:
    with pytest.raises(InvalidParams, match=words):
        parse(text)


def test_numbers_that_the_wire_cannot_carry_reach_the_check_that_names_their_key() -> None:
    assert parse('{"priority": ' + "9" * 400 + "}") == {"priority": float("inf")}
    assert parse('{"priority": 12345}') == {"priority": 12345}


def test_lenient_drops_unknown_keys_and_warns() -> None:
    job = {"command": "x", "timeot": 3, "maxRetries": 1, "state": "dead"}
    warnings: list[str] = []
    drop_unknown(job, warnings.append)
    assert job == {"command": "x", "maxRetries": 1, "state": "dead"}
    assert len(warnings) == 1
    assert "timeot" in warnings[0]
    assert "timeout" in warnings[0]


@pytest.mark.parametrize("text, unclear", [("7", True), ("1.5", True), (" 7 ", True), ("0", False), ("7d", False)])
def test_an_age_of_what_is_deleted_needs_a_unit(text: str, unclear: bool) -> None:
    if unclear:
        number = text.strip()
        with pytest.raises(click.BadParameter, match=rf"no unit; did you mean {number}d \(days\) or {number}s"):
            AGE.convert(text, None, None)
    else:
        assert AGE.convert(text, None, None) == seconds(text)
