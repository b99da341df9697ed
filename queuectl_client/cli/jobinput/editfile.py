"""A job as a file in which a person changes it: TOML, with a comment that names each key. Written and read here.

Written by tomli-w, read by tomllib; both are imported with this module, which is imported when an editor opens.
"""

import tomllib
from collections.abc import Mapping
from typing import Any, Final

import tomli_w

from queuectl_client.cli.jobinput.changes import dependency_text, entries_of, from_file
from queuectl_client.errors import InvalidParams
from queuectl_client.protocol.attributes import EDITABLE, MAPS, Attribute, Form

Job = Mapping[str, Any]

_UNSEEN: Final = ("delay", "stdin")
"""A delay is a run_at by now, and stdin, like the values of env, is never shown."""
KEYS: Final[Mapping[str, Attribute]] = {
    name: EDITABLE[name]
    for name in sorted(EDITABLE, key=lambda name: (name in MAPS, name != "command"))
    if name not in _UNSEEN
}
"""The keys that are shown; maps last, for a table ends at the next one."""


def _comment(attribute: Attribute) -> str:
    """What stands above a key: what it means, and what it may be."""
    meaning = attribute.comment or attribute.help
    match attribute.form:
        case Form.SECONDS:
            return f'{meaning} Seconds, or "10m".'
        case Form.WHOLE | Form.NUMBER:
            return f"{meaning} From {attribute.low:,} to {attribute.high:,}."
    return meaning


def shown(job: Job) -> dict[str, Any]:
    """What the file holds of a job: the keys that have a value."""
    values = {key: job.get(key) for key in KEYS} | {"env": entries_of(job, "env")}
    values["depends_on"] = [dependency_text(parent) for parent in job.get("depends_on") or ()]
    return {key: value for key, value in values.items() if value not in (None, [], {}) and _is_text(value)}


def unshown(job: Job) -> list[str]:
    """Keys that have a value which no TOML can hold: it is not UTF-8."""
    return [key for key in KEYS if job.get(key) is not None and not _is_text(job[key])]


def written(job: Job) -> str:
    """The file's text."""
    values = shown(job)
    lines = [
        f"# {job['id']}, {job['state']}.",
        "# Save it and leave to change the job; leave without saving to keep it.",
        "# A key that you remove, or put behind a #, goes back to its default.",
    ]
    for key, attribute in KEYS.items():
        if key in unshown(job):
            lines += ["", f"# {key} is not UTF-8, and stays as it is."]
            continue
        text = _toml(key, values.get(key, attribute.example))
        lines += ["", f"# {_comment(attribute)}", text if key in values else _behind_hash(text)]
    return "\n".join(lines) + "\n"


def changes(job: Job, text: str) -> dict[str, Any]:
    """What a person has changed in the file, as the wire has it. Raises InvalidParams for what is no TOML."""
    try:
        after = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidParams(f"invalid TOML: {error}") from None
    before = shown(job)
    found: dict[str, Any] = {key: from_file(key, value) for key, value in after.items() if value != before.get(key)}
    for key, value in found.items():
        if key in MAPS and not isinstance(value, dict):
            raise InvalidParams(f"{key} must be a table, such as [{key}] with a line for each entry")
    return found | {key: {} if key in MAPS else None for key in before if key not in after}


def _toml(key: str, value: Any) -> str:
    return tomli_w.dumps({key: value}, multiline_strings=True).rstrip("\n")


def _behind_hash(text: str) -> str:
    return "\n".join(f"#{line}" for line in text.split("\n"))


def _is_text(value: Any) -> bool:
    """Whether it is text, numbers and such through and through: bytes are what is not UTF-8."""
    if isinstance(value, dict):
        return all(map(_is_text, value)) and all(map(_is_text, value.values()))
    if isinstance(value, list):
        return all(map(_is_text, value))
    return not isinstance(value, bytes)
