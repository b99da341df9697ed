"""The jobs of a file: objects, an array of them, shell commands; which line each is on, and what is refused."""

import io
import json
from typing import Any

import pytest

from queuectl_client.cli.jobinput import jobfile
from queuectl_client.cli.jobinput.jobfile import entries
from queuectl_client.errors import InvalidParams

A: dict[str, Any] = {"command": "a"}
B: dict[str, Any] = {"command": "b"}


def read(text: str, *, shell: bool = False) -> list[tuple[Any, int]]:
    """The jobs of a file with this text, each with its line."""
    return [(entry.job, entry.line) for entry in entries(io.BytesIO(text.encode()), shell=shell)]


@pytest.mark.parametrize(("text", "jobs"), [
    ("echo a\n\n  # a comment\nls #1\n", [("echo a", 1), ("ls #1", 4)]),
    ('{"command":"a"} {"command":"b"}\nls', [(A, 1), (B, 1), ("ls", 2)]),
    ('{\n "command":\n "a"\n}\n{"command":"b"}', [(A, 1), (B, 5)]),
    ('[{"command":"a"},\n {"command":"b"}]\n', [(A, 1), (B, 2)]),
    ('[\n  {\n    "command": "a"\n  },\n  {"command": "b"}\n]\nls', [(A, 2), (B, 5), ("ls", 7)]),
    ('[{"command":\n"a"}, {"command":\n"b"}]', [(A, 1), (B, 2)]),
    ('{"command":"a","stdin":"}"\n,"name":"{"}', [({**A, "stdin": "}", "name": "{"}, 1)]),
    ('\ufeff{"command":"a"}', [(A, 1)]),
    ("[]\n", []),
    ("[ -e f ] && ls\n[[ a ]]\n[1-9]x\n", [("[ -e f ] && ls", 1), ("[[ a ]]", 2), ("[1-9]x", 3)]),
])  # fmt: skip
def test_what_is_read(text: str, jobs: list[tuple[Any, int]]) -> None:
    assert read(text) == jobs
    assert read(text.replace("\n", "\r\n")) == jobs


@pytest.mark.parametrize(("text", "said"), [
    ("{oops}", "line 1: invalid JSON at character 2"),
    ('ls\n{"command": "x"', "line 2: invalid JSON at character 16"),
    ('{"command": "x"\n"name": 1}', "line 2: invalid JSON at character 1"),
    ("{\n echo hi\n}", "line 2: invalid JSON"),
    ('{"command":"a"},{"command":"b"}', "line 1: invalid JSON at character 16"),
    ('[{"command":"a"} {"command":"b"}]', "expected , or ]"),
    ('[{"command":"a"},]', "line 1: invalid JSON at character 18"),
    ('[{"command":"a"},\n', "does not end"),
    ('[{"command":"a"}', "expected , or ]"),
    ('[{"command":"a"}, 5]', "line 1: invalid JSON at character 19: expected a JSON object"),
    ('ls\n["echo", "a"]', "line 2: a JSON array of jobs holds objects"),
    ("#!/bin/sh\nls", "--script FILE"),
    ('{"command": ' + "[" * 100_000, "nested too deeply"),
])  # fmt: skip
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidParams) as error:
        read(text)
    assert said in error.value.message


def test_with_shell_each_line_is_a_command() -> None:
    assert read('{ ls; }\n["a"]\n[{\n', shell=True) == [("{ ls; }", 1), ('["a"]', 2), ("[{", 3)]


def test_an_array_may_be_one_line_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobfile, "LONGEST_LINE", 100)
    jobs = [{"command": f"echo {number}", "name": "[}" * (number % 25)} for number in range(200)]
    assert read(json.dumps(jobs)) == [(job, 1) for job in jobs]
    with pytest.raises(InvalidParams, match="line 2: it is longer than 100 bytes"):
        read("ls\n" + "x" * 101)
    with pytest.raises(InvalidParams, match="line 1: it is longer than 100 bytes"):
        read('{"command":\n' + "\n" * 300)
