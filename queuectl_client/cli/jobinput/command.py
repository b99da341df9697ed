"""Parse the command of a job: a JSON object, one shell string, or several words.

Words that are probably meant otherwise (other JSON, `-`, `@file`) are refused, with the correct form, not run.
"""

from collections.abc import Callable
from typing import Any, Final

import click

from queuectl_client.cli.jobinput.options import JobMap
from queuectl_client.errors import InvalidParams

AS_A_COMMAND: Final = "to run it as a shell command, add --shell"
ONE_WORD: Final = """put single quotes around the JSON: '{"command":"echo hi"}'"""
_JSON_BEGINS: Final = tuple('[-"0123456789n')
"""Prefixes of JSON other than objects; `true` and `false` are commands."""
_UNQUOTED: Final = ('{"', "[{")


def command_of(command: tuple[str, ...], *, shell: bool, lenient: bool, say: Callable[[str], None]) -> JobMap:
    """Return the job for these words. Raise UsageError if there are none, InvalidParams for invalid JSON."""
    if not command:
        raise click.UsageError("no command given; use -f FILE or -f - to read commands from a file or stdin")
    if len(command) > 1:
        if command[0].lstrip().startswith(_UNQUOTED) and not shell:
            raise InvalidParams(f"{command[0]!r} begins JSON that goes on in another word; {ONE_WORD}; {AS_A_COMMAND}")
        return {"command": " ".join(command) if shell else list(command)}
    text = command[0]
    if shell:
        return {"command": text}
    if not text.lstrip().startswith("{"):
        refuse_guess(text)
        return {"command": text}
    from queuectl_client.cli.jobinput.jobjson import drop_unknown, parse

    job = parse(text)
    if lenient:
        drop_unknown(job, say)
    return job


def script_of(name: str, arguments: tuple[str, ...]) -> JobMap:
    """Return a job that runs a script with its current content, as the stdin of its interpreter. `-`: read from stdin.

    Raise InvalidParams if the file cannot be read.
    """
    import os
    import sys

    try:
        if name == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(name, "rb") as file:
                data = file.read()
    except OSError as error:
        raise InvalidParams(f"{name}: {error.strerror}") from None
    text = data.decode("utf-8", "surrogateescape")
    first = text.partition("\n")[0]
    # As in execve(2): the interpreter, and the rest of the line as one argument.
    interpreter = first[2:].strip().split(None, 1) if first.startswith("#!") else []
    job: JobMap = {"command": [*(interpreter or ["/bin/sh"]), "/dev/stdin", *arguments], "stdin": text}
    return job if name == "-" else {**job, "name": os.path.basename(name)}


def refuse_guess(text: str) -> None:
    """Raise InvalidParams for a word that is JSON or a file rather than a command, with the correct form."""
    word = text.strip()
    if word == "-":
        raise InvalidParams(f"'-' is not a command; to read jobs from stdin: queuectl enqueue -f -; {AS_A_COMMAND}")
    if word.startswith("@"):
        file = _quoted(word[1:]) if word[1:] else "FILE"
        raise InvalidParams(
            f"{text!r} is not a command; to read jobs from a file: queuectl enqueue -f {file}; {AS_A_COMMAND}"
        )
    if not word.startswith(_JSON_BEGINS):
        return
    import json

    try:
        value = json.loads(word)
    except (ValueError, RecursionError):
        if not word.startswith("[{"):
            return
        value = [{}]
    raise InvalidParams(f"the command is {_kind(value)}, not a JSON object; {_meant(value)}; {AS_A_COMMAND}")


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a JSON array"
    if isinstance(value, str):
        return "a quoted JSON string"
    return "null" if value is None else "a number"


def _meant(value: Any) -> str:
    if isinstance(value, str):
        return f"without the inner quotes it is a shell command: queuectl enqueue {_quoted(value)}"
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return f"for a program and its arguments: queuectl enqueue -- {_quoted(*value)}"
    if isinstance(value, list):
        return "for many jobs: queuectl enqueue -f FILE, or -f - to read the array from stdin"
    return """a job is written as '{"command":"echo hi"}'"""


def _quoted(*words: str) -> str:
    """Return the words quoted for a shell."""
    import shlex  # only needed for errors

    return shlex.join(words)
