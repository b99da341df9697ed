"""Parse changes of a job, KEY=VALUE or from a file, into the wire format.

Parses numbers, durations, lists and maps; the daemon checks the values.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from queuectl_client.cli.jobinput.jobjson import local_moment
from queuectl_client.cli.jobinput.values import DURATION, WHOLE, Pair
from queuectl_client.errors import InvalidParams
from queuectl_client.protocol.attributes import ATTRIBUTES, MAPS, Form
from queuectl_client.protocol.dependencies import split_end
from queuectl_client.protocol.durations import seconds
from queuectl_client.protocol.spelling import snake_case

Job = Mapping[str, Any]

_YES: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Change(click.ParamType[tuple[str, str]]):
    """KEY=VALUE, or KEY.NAME=VALUE for one entry of a map."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the key and the text of the value."""
        return Pair(self.name).convert(value, param, ctx)


def typed(changes: Iterable[tuple[str, str]], job: Job | None = None) -> dict[str, Any]:
    """Return the changes in the wire format. `none` resets a value.

    `labels.user=ada` and `env.MODE=fast` change one entry of a map of `job`, which is then required.
    """
    found: dict[str, Any] = {}
    for given, text in changes:
        key, dot, entry = given.partition(".")
        key = snake_case(key)
        if not dot:
            try:
                found[key] = _typed(key, given, text)
            except click.BadParameter as error:
                raise InvalidParams(f"{given}: {error.message}") from None
            continue
        if key not in MAPS or not entry:
            raise InvalidParams(
                f"unknown key {given!r}; the keys with a dot are labels.NAME, needs.NAME and env.NAME"
            )
        if job is None:
            raise InvalidParams(f"{given} changes one entry of one job; for several jobs set the whole of {key}=…")
        entries = found.setdefault(key, entries_of(job, key))
        if text == "none":
            entries.pop(entry, None)
        else:
            entries[entry] = _amount(text) if key == "needs" else text
    return found


def needs_job(changes: Iterable[tuple[str, str]]) -> bool:
    """Return whether a change is of a single entry of a map, which requires the job."""
    return any("." in key for key, _ in changes)


def entries_of(job: Job, key: str) -> dict[str, Any]:
    """Return a copy of a map of the job. Values of its environment are unknown; true keeps each."""
    return dict.fromkeys(job["env_names"], True) if key == "env" else dict(job.get(key) or {})


def dependency(text: str) -> str | dict[str, str]:
    """Parse a dependency, such as `job_1`, `job_1:any`, `batch:nightly`."""
    parent, end = split_end(text)
    return parent if end is None else {"id": parent, "on": end}


def dependency_text(parent: Mapping[str, str]) -> str:
    """Return the text of a dependency, the inverse of `dependency`."""
    return parent["id"] if parent["on"] == "completed" else f"{parent['id']}:{parent['on']}"


def _typed(key: str, given: str, text: str) -> Any:
    if key == "hold":
        raise InvalidParams(f"{given} cannot be edited; use queuectl hold ID or queuectl release ID")
    if text == "none" and key != "command":
        return None
    match ATTRIBUTES[key].form if key in ATTRIBUTES else None:
        case Form.WHOLE:
            return WHOLE.convert(text, None, None)
        case Form.NUMBER:
            return _fraction(given, text)
        case Form.SECONDS:
            return DURATION.convert(text, None, None)
        case Form.FLAG:
            if text.lower() not in _YES:
                raise InvalidParams(f"invalid {given}: {text!r}; expected true or false")
            return _YES[text.lower()]
        case Form.CODES:
            return [_code(code) for code in text.split(",") if code]
        case Form.TIME:
            return local_moment(text)
        case Form.JOBS:
            return [dependency(part) for part in text.split(",") if part]
        case Form.LABELS | Form.AMOUNTS | Form.VARIABLES:
            return _map(key, given, text)
        case Form.COMMAND if text.startswith("["):
            return read_json(given, text)
    return text


def _map(key: str, given: str, text: str) -> Any:
    if text.startswith("{"):
        return read_json(given, text)
    pairs = [Pair(f"{given}=NAME=VALUE,…").convert(pair, None, None) for pair in text.split(",") if pair]
    return {name: _amount(value) if key == "needs" else value for name, value in pairs}


def read_json(given: str, text: str) -> Any:
    """Return the value of a JSON text. Raise InvalidParams."""
    import json

    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidParams(f"{given}: invalid JSON: {error}") from None


def _fraction(given: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidParams(f"invalid {given}: {text!r}; expected a number") from None


def _amount(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() else text


def _code(text: str) -> int | str:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() else text


def from_file(key: str, value: Any) -> Any:
    """Convert a value of an edited file to the wire format."""
    form = ATTRIBUTES[key].form if key in ATTRIBUTES else None
    if form is Form.SECONDS and isinstance(value, str) and (found := seconds(value)) is not None:
        return found
    if form is Form.JOBS and isinstance(value, list):
        return [dependency(part) if isinstance(part, str) else part for part in value]
    plain = value.isoformat() if hasattr(value, "isoformat") else value
    return local_moment(plain) if form is Form.TIME and isinstance(plain, str) else plain
