"""Changes of a job as they are typed, KEY=VALUE and in the file that an editor is given."""

import tomllib
from typing import Any

import pytest

from queuectl_client.cli.jobinput import editfile
from queuectl_client.cli.jobinput.changes import typed
from queuectl_client.errors import InvalidParams
from queuectl_client.protocol.attributes import EDITABLE
from queuectl_client.protocol.jobspec import read_changes

JOB: dict[str, Any] = {
    "id": "job_1", "seq": 1, "state": "pending", "command": "echo hi", "name": None, "queue": "default", "priority": 0,
    "cwd": "/", "timeout": None, "stall_timeout": None, "kill_grace": 10, "max_retries": 3, "backoff_base": 2,
    "backoff_max": 3600, "backoff_jitter": 0, "retry_on": [], "no_retry_on": [], "run_at": None, "depends_on": [],
    "key": None, "key_limit": 1, "slots": 1, "once": False, "split_output": False, "labels": {"user": "ada"},
    "needs": {}, "env_names": ["MODE", "TOKEN"],
}  # fmt: skip


def pairs(*words: str) -> list[tuple[str, str]]:
    return [(word.partition("=")[0], word.partition("=")[2]) for word in words]


@pytest.mark.parametrize(
    "word, change",
    [
        ("priority=-5", {"priority": -5}),
        ("max-retries=2", {"max_retries": 2}),
        ("maxRetries=2", {"max_retries": 2}),
        ("backoff_base=1.5", {"backoff_base": 1.5}),
        ("timeout=1h30m", {"timeout": 5400}),
        ("backoff_max=2m", {"backoff_max": 120}),
        ("timeout=none", {"timeout": None}),
        ("run_at=2030-01-01T09:00+02:00", {"run_at": "2030-01-01T07:00:00.000Z"}),
        ("run_at=soon", {"run_at": "soon"}),
        ("once=yes", {"once": True}),
        ("split-output=false", {"split_output": False}),
        ("retry_on=75,SIGKILL", {"retry_on": [75, "SIGKILL"]}),
        ("depends_on=job_1,job_2:any,batch:b", {"depends_on": ["job_1", {"id": "job_2", "on": "any"}, "batch:b"]}),
        ("labels=a=1,b=x=y", {"labels": {"a": "1", "b": "x=y"}}),
        ('labels={"a": "1"}', {"labels": {"a": "1"}}),
        ("needs=gpu=2,mem=4G", {"needs": {"gpu": 2, "mem": "4G"}}),
        ("env=A=1", {"env": {"A": "1"}}),
        ('command=["echo", "hi"]', {"command": ["echo", "hi"]}),
        ("command=none", {"command": "none"}),
        ("name=a=b", {"name": "a=b"}),
    ],
)
def test_values_are_of_their_keys_kind(word: str, change: dict[str, Any]) -> None:
    assert typed(pairs(word)) == change


def test_single_entries_of_a_map_leave_the_others_as_they_are() -> None:
    assert typed(pairs("labels.team=x", "env.MODE=fast", "needs.gpu=1"), JOB) == {
        "labels": {"user": "ada", "team": "x"},
        "env": {"MODE": "fast", "TOKEN": True},
        "needs": {"gpu": 1},
    }
    assert typed(pairs("labels.user=none", "env.TOKEN=none"), JOB) == {"labels": {}, "env": {"MODE": True}}
    with pytest.raises(InvalidParams, match=r"labels\.NAME"):
        typed(pairs("queue.x=1"), JOB)
    with pytest.raises(InvalidParams, match="one entry of one job"):
        typed(pairs("labels.x=1"))


@pytest.mark.parametrize(
    "word, said",
    [
        ("priority=high", "priority: 'high' is not a whole number"),
        ("timeout=soon", "not a valid duration"),
        ("once=maybe", "true or false"),
        ("hold=true", "hold cannot be edited; use queuectl hold ID or queuectl release ID"),
        ("hold=none", "queuectl release ID"),
        ("backoff_base=x", "invalid backoff_base: 'x'; expected a number"),
        ("labels=a", "NAME=VALUE"),
        ('command=["', "invalid JSON"),
    ],
)
def test_a_bad_value_names_what_is_allowed(word: str, said: str) -> None:
    with pytest.raises(InvalidParams, match=said):
        typed(pairs(word))


def test_the_file_is_toml_with_every_key_that_can_be_edited() -> None:
    text = editfile.written(JOB)
    assert tomllib.loads(text) == editfile.shown(JOB)
    assert {*editfile.KEYS} == {*EDITABLE} - {"stdin", "delay"}, "stdin is never shown; a delay is a run_at by now"
    whole = "\n".join(line.removeprefix("#") for line in text.splitlines() if not line.startswith("# "))
    read_changes("changes", {key: editfile.from_file(key, value) for key, value in tomllib.loads(whole).items()})
    assert max(map(len, text.splitlines())) <= 80


def test_what_is_saved_untouched_changes_nothing() -> None:
    assert editfile.changes(JOB, editfile.written(JOB)) == {}


def test_what_was_changed_is_found_and_what_is_gone_goes_back_to_its_default() -> None:
    text = editfile.written(JOB)
    text = text.replace("echo hi", "make").replace("kill_grace = 10\n", "").replace("#timeout = 600", 'timeout = "2m"')
    text = text.replace('[labels]\nuser = "ada"\n', "").replace("TOKEN = true", 'NEW = "v"')
    assert editfile.changes(JOB, text) == {
        "command": "make", "kill_grace": None, "timeout": 120, "labels": {}, "env": {"MODE": True, "NEW": "v"},
    }  # fmt: skip


def test_lists_are_typed_as_on_the_command_line() -> None:
    job = {**JOB, "depends_on": [{"id": "job_1", "on": "completed"}, {"id": "job_2", "on": "dead"}]}
    text = editfile.written(job)
    assert tomllib.loads(text)["depends_on"] == ["job_1", "job_2:dead"]
    assert editfile.changes(job, text.replace("job_2:dead", "job_2:any")) == {
        "depends_on": ["job_1", {"id": "job_2", "on": "any"}]
    }


def test_what_is_not_utf8_is_kept_and_a_long_command_stays_readable() -> None:
    job = {**JOB, "command": b"echo \xff", "name": "two\nlines\x1b"}
    text = editfile.written(job)
    assert "# command is not UTF-8" in text
    assert editfile.changes(job, text) == {}
    assert "echo hi\nmake" in editfile.written({**JOB, "command": "echo hi\nmake\n"})


@pytest.mark.parametrize("text, said", [("x = = 1", "invalid TOML"), ('labels = "a"', r"\[labels\]")])
def test_a_file_that_is_no_toml_says_where(text: str, said: str) -> None:
    with pytest.raises(InvalidParams, match=said):
        editfile.changes(JOB, text)
