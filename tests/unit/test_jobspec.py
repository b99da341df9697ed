"""The keys of a job: what is accepted, in which form it is kept, and what is said of the rest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.protocol.attributes import SHOWN
from queuectl_client.protocol.checks import BadParams
from queuectl_client.protocol.dependencies import split_end
from queuectl_client.protocol.jobspec import CHECKS, MAX_COMMAND_BYTES, JobSpec, is_known_key, read_changes


def spec(**keys: Any) -> JobSpec:
    return JobSpec.from_map({"command": "true", **keys})


def refusal(job: Any) -> BadParams:
    with pytest.raises(BadParams) as caught:
        JobSpec.from_map(job)
    return caught.value


def test_a_command_is_all_a_job_needs() -> None:
    job = JobSpec.from_map({"command": "echo hi"})
    assert job.command == "echo hi"
    assert all(value is None for key, value in job._asdict().items() if key != "command")


def test_every_key_of_a_job_is_a_field_with_a_check() -> None:
    assert set(CHECKS) == set(JobSpec._fields)


@pytest.mark.parametrize(
    "key, value, kept",
    [
        ("command", ["ls", "-l"], ("ls", "-l")),
        ("command", b"ls \xff", "ls \udcff"),
        ("command", [b"\xff", "", "ä"], ("\udcff", "", "ä")),
        ("command", "x" * MAX_COMMAND_BYTES, "x" * MAX_COMMAND_BYTES),
        ("id", "a.B_c-9", "a.B_c-9"),
        ("id", "x" * 128, "x" * 128),
        ("name", "Ünïcödé name", "Ünïcödé name"),
        ("labels", {"a": "b", "c": ""}, {"a": "b", "c": ""}),
        ("labels", {"a": None}, {}),
        ("queue", "e-mail:high", "e-mail:high"),
        ("priority", -1_000_000, -1_000_000),
        ("priority", 1_000_000, 1_000_000),
        ("max_retries", 0, 0),
        ("max_retries", 1000, 1000),
        ("backoff_base", 1, 1),
        ("backoff_base", 1.5, 1.5),
        ("backoff_max", 0, 0),
        ("backoff_jitter", 1, 1),
        ("retry_on", [1, "kill", "SIGTERM", "SIGRTMIN+3"], (1, "SIGKILL", "SIGTERM", "SIGRTMIN+3")),
        ("no_retry_on", [255], (255,)),
        ("timeout", 0.001, 0.001),
        ("timeout", 315_360_000, 315_360_000),
        ("delay", 0, 0),
        ("run_at", "2026-11-24T03:08:02.123Z", 1795489682123),
        ("run_at", "2026-11-24T04:08:02+01:00", 1795489682000),
        ("cwd", b"/tmp/\xff", "/tmp/\udcff"),
        ("env", {"A": "1", b"B": b"\xff"}, {"A": "1", "B": "\udcff"}),
        ("timeout", "1h30m", 5400),
        ("delay", "0s", 0),
        ("kill_grace", "250ms", 0.25),
        ("retry_on", ["tempfail", "EX_IOERR", 1], (75, 74, 1)),
        ("stdin", "", ""),
        ("depends_on", ["a", 7, {"id": "b"}, {"id": "c", "on": "any"}],
         (("a", "completed"), ("7", "completed"), ("b", "completed"), ("c", "any"))),
        ("on_conflict", "skip", "skip"),
        ("key_limit", 2, 2),
        ("needs", {"gpu": 2}, {"gpu": 2}),
        ("hold", True, True),
        ("split_output", False, False),
    ],
)  # fmt: skip
def test_good_values(key: str, value: Any, kept: Any) -> None:
    assert getattr(spec(**{key: value}), key) == kept


@pytest.mark.parametrize(
    "key, values",
    [
        ("command", ["", "  ", 5, [], [""], ["a", 1], {"a": 1}, "a\0b", ["a", "b\0"]]),
        ("command", ["x" * (MAX_COMMAND_BYTES + 1), "ä" * (MAX_COMMAND_BYTES // 2 + 1)]),
        ("id", ["", "x" * 129, "a b", "a/b", "all", "last", 5, "ä", "a\n"]),
        ("name", ["", 5, "a\0", "\udcff", "x" * 1025]),
        ("labels", [["a"], {"a": 1}, {"": "x"}, {"a=b": "x"}, {"a": "\0"}, {str(n): "" for n in range(101)}]),
        ("queue", ["", "a b", "a\n", "x" * 129, 5, "\udcff"]),
        ("priority", [1_000_001, -1_000_001, 1.0, "5", True, 2**70]),
        ("max_retries", [-1, 1001, 1.5, False, "3"]),
        ("backoff_base", [0, 0.99, 1001, float("nan"), float("inf"), "2", True]),
        ("backoff_jitter", [-0.1, 1.1]),
        ("retry_on", [3, [0], [256], ["SIGNOPE"], [True], [1.0], ["SIGRTMIN+31"]]),
        ("timeout", [0, -1, "0s", "soon", "1h30", 315_360_001, float("nan"), float("inf"), "3", True, 10**400]),
        ("kill_grace", [0]),
        ("delay", [-1, float("-inf")]),
        ("run_at", ["", "soon", "0001-01-01", "9999-12-31T23:59:59-23:00", 5, "2026-13-01"]),
        ("cwd", ["", "relative", "/a\0", 5]),
        ("env", [[], {"A": None}, {"": "x"}, {"A=B": "x"}, {"A": 1}, {"A": "\0"}, {"A\0": "x"}]),
        ("stdin", [5, "\0"]),
        ("depends_on", ["a", [None], [{"on": "any"}], [{"id": "a", "on": "never"}], [{"id": "a", "if": "any"}], [0]]),
        ("on_conflict", ["ignore", 5, ["skip"]]),
        ("slots", [0, -1]),
        ("needs", [{"gpu": 0}, {"gpu": 1.5}, ["gpu"]]),
        ("hold", [0, 1, "yes"]),
    ],
)  # fmt: skip
def test_bad_values_are_named(key: str, values: list[Any]) -> None:
    for value in values:
        error = refusal({"command": "true", key: value})
        assert key in error.message, error.message
        assert len(error.message) < 300


def test_a_name_of_a_variable_is_told_with_what_is_wrong_in_it_and_nothing_behind_it() -> None:
    said = refusal({"command": "true", "env": {"A=secret": "x"}}).message
    assert said == "invalid name in env: 'A=…'; expected a non-empty string without '=' and NUL"


def test_null_is_as_good_as_absent() -> None:
    assert spec(timeout=None, id=None, run_at=None, delay=3) == spec(delay=3)


def test_a_time_without_an_offset_is_local() -> None:
    assert isinstance(spec(run_at="2026-11-24T03:08:02").run_at, int)
    assert spec(run_at="2026-11-24").run_at == spec(run_at="2026-11-24T00:00:00").run_at


def test_delay_and_run_at_exclude_one_another() -> None:
    assert "run_at" in refusal({"command": "a", "delay": 1, "run_at": "2026-11-24"}).message


def test_camel_case_is_accepted() -> None:
    job = spec(maxRetries=5, backoffBase=3, runAt="2026-11-24T03:08:02Z", dependsOn=["a"], onConflict="skip")
    assert (job.max_retries, job.backoff_base, job.on_conflict) == (5, 3, "skip")


def test_a_job_that_was_printed_can_be_enqueued_again() -> None:
    printed = {
        "id": "a", "seq": 1, "command": "true", "state": "dead", "attempts": 3, "max_retries": 3, "created_at": "x",
        "updated_at": "x", "createdAt": "x", "exit_code": 1, "signal": None, "reason": "exit 1", "worker": None,
        "runs": 3, "crashes": 0, "env_names": ["A"], "stdin_bytes": 3, "attempts_list": [{}], "paused": False,
        "umask": 18, "rev": 2,
    }  # fmt: skip
    assert JobSpec.from_map(printed) == JobSpec("true", id="a", max_retries=3)
    assert [key for key in SHOWN if not is_known_key(key)] == []


def test_an_unknown_key_is_an_error_that_names_the_nearest() -> None:
    error = refusal({"command": "a", "timeot": 5})
    assert error.message == "unknown key 'timeot'; did you mean timeout?"
    assert error.key == "timeot"
    assert "did you mean" not in refusal({"command": "a", "zzzzzzzz": 5}).message
    assert refusal({"command": "a", b"command": "b"}).message
    assert not is_known_key("timeot")
    assert is_known_key("maxRetries")
    assert is_known_key("createdAt")


@pytest.mark.parametrize("job", [None, 5, "echo", ["echo"], {}, {"command": None}, {"priority": 3}])
def test_a_job_is_a_map_with_a_command(job: Any) -> None:
    assert "command" in refusal(job).message


def test_secrets_are_not_shown() -> None:
    job = spec(env={"TOKEN": "hunter2"}, stdin="hunter2")
    assert "hunter2" not in repr(job)
    assert "hunter2" not in refusal({"command": "a", "env": {"TOKEN": "hunter2\0"}}).message
    assert "TOKEN" in refusal({"command": "a", "env": {"TOKEN": 5}}).message


def test_a_job_survives_the_way_to_its_map_and_back() -> None:
    job = spec(
        run_at="2026-11-24T03:08:02.123Z", depends_on=[{"id": "a", "on": "dead"}], retry_on=["KILL"], needs={"g": 1}
    )
    assert JobSpec.from_map(job.to_map()) == job
    assert job.to_map()["run_at"] == "2026-11-24T03:08:02.123Z"


def test_changes_keep_null_as_the_default() -> None:
    assert read_changes("changes", {"priority": 3, "timeout": None}) == {"priority": 3, "timeout": None}
    for changes in ({}, [], None, {"state": "dead"}, {"priority": "x"}, {"prio": 3}):
        with pytest.raises(BadParams):
            read_changes("changes", changes)


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*CHECKS, "state", "maxRetries", "nonsense", b"command"]), ANYTHING, max_size=6))
def test_anything_is_a_job_or_bad_params(job: dict[Any, Any]) -> None:
    try:
        accepted = JobSpec.from_map(job)
    except BadParams:
        return
    assert JobSpec.from_map(accepted.to_map()) == accepted


@pytest.mark.parametrize(
    ("text", "parent", "end"),
    [
        ("job_1", "job_1", None), ("job_1:any", "job_1", "any"), ("job_1:when", "job_1:when", None),
        ("batch:any", "batch:any", None), ("batch:b:dead", "batch:b", "dead"), ("label:k=any", "label:k=any", None),
        ("label:dead", "label", "dead"), (":any", ":any", None),
    ],
)  # fmt: skip
def test_the_end_that_a_job_waits_for_is_told_from_its_selector(text: str, parent: str, end: str | None) -> None:
    assert split_end(text) == (parent, end)
