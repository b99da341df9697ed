"""Read and write the file for editing a job: TOML, with a comment for each key.

Imports tomli-w and tomllib, so it is imported only for an editor.
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
"""Keys left out: a delay has become a run_at, and stdin, like the values of env, is never shown."""
KEYS: Final[Mapping[str, Attribute]] = {
    name: EDITABLE[name]
    for name in sorted(EDITABLE, key=lambda name: (name in MAPS, name != "command"))
    if name not in _UNSEEN
}
"""Keys in the file; maps last, because a TOML table ends at the next one."""


def _comment(attribute: Attribute) -> str:
    """Return the comment for a key: its meaning and its values."""
    meaning = attribute.comment or attribute.help
    match attribute.form:
        case Form.SECONDS:
            return f'{meaning} Seconds, or "10m".'
        case Form.WHOLE | Form.NUMBER:
            return f"{meaning} From {attribute.low:,} to {attribute.high:,}."
    return meaning


def shown(job: Job) -> dict[str, Any]:
    """Return the keys of a job for the file: those with a value."""
    values = {key: job.get(key) for key in KEYS} | {"env": entries_of(job, "env")}
    values["depends_on"] = [dependency_text(parent) for parent in job.get("depends_on") or ()]
    return {key: value for key, value in values.items() if value not in (None, [], {}) and _is_text(value)}


def unshown(job: Job) -> list[str]:
    """Return the keys whose values TOML cannot represent: invalid UTF-8."""
    return [key for key in KEYS if job.get(key) is not None and not _is_text(job[key])]


def written(job: Job) -> str:
    """Return the text of the file."""
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
    """Return the changes made in the file, in the wire format. Raise InvalidParams for invalid TOML."""
    try:
        after = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidParams(f"invalid TOML: {error}") from None
    before = shown(job)
    found: dict[str, Any] = {key: from_file(key, value) for key, value in after.items() if value != before.get(key)}
    for key, value in found.items():
        if key in MAPS and not isinstance(value, dict):
            raise InvalidParams(f"invalid {key}; expected a table, such as [{key}] with a line for each entry")
    return found | {key: {} if key in MAPS else None for key in before if key not in after}


def _toml(key: str, value: Any) -> str:
    return tomli_w.dumps({key: value}, multiline_strings=True).rstrip("\n")


def _behind_hash(text: str) -> str:
    return "\n".join(f"#{line}" for line in text.split("\n"))


def _is_text(value: Any) -> bool:
    """Return whether a value contains no bytes, which stand for invalid UTF-8."""
    if isinstance(value, dict):
        return all(map(_is_text, value)) and all(map(_is_text, value.values()))
    if isinstance(value, list):
        return all(map(_is_text, value))
    return not isinstance(value, bytes)
