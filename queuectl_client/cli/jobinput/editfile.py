"""A job as a file in which a person changes it: TOML, with a comment that names each key. Written and read here.

Written by tomli-w, read by tomllib; both are imported with this module, which is imported when an editor opens.
"""

import tomllib
from collections.abc import Mapping
from typing import Any, Final

import tomli_w

from queuectl_client.cli.jobinput.changes import MAPS, dependency_text, entries_of, from_file
from queuectl_client.errors import InvalidParams

Job = Mapping[str, Any]

KEYS: Final[Mapping[str, tuple[str, Any]]] = {
    "command": ("A line for the shell; or a list, a program and its arguments, run without it.", "make test"),
    "name": ("A name for people.", "nightly"),
    "queue": ("The queue it waits in.", "default"),
    "priority": ("Higher runs first: -1000000 to 1000000.", 0),
    "cwd": ("The folder it runs in.", "/tmp"),
    "timeout": ('Seconds, or "10m": an execution that takes longer is ended.', 600),
    "stall_timeout": ("Seconds: an execution that prints nothing for so long is ended.", 60),
    "kill_grace": ("Seconds between TERM and KILL.", 10),
    "max_retries": ("Executions at most; 0 and 1 both mean one.", 3),
    "backoff_base": ("It waits base ** failures seconds between executions, …", 2),
    "backoff_max": ("… at most so many, …", 3600),
    "backoff_jitter": ("… shortened by up to this share, 0 to 1.", 0.1),
    "retry_on": ("Exit codes and signals: tried again after these alone.", [75, "SIGKILL"]),
    "no_retry_on": ("Exit codes and signals: given up after these.", [2]),
    "run_at": ("No earlier than this.", "2030-01-01T09:00:00Z"),
    "depends_on": ('After these jobs: "job_1" (its success), "job_1:dead" or "job_1:any".', ["job_1", "job_2:any"]),
    "key": ("Jobs of one key wait for one another.", "customer-7"),
    "key_limit": ("So many of its key at once.", 1),
    "slots": ("Worker slots it takes.", 1),
    "once": ("Never run it a second time after a crash.", False),
    "split_output": ("Keep stdout and stderr apart.", False),
    "labels": ("Labels, to find it by.", {"user": "ada"}),
    "needs": ("Amounts of resources it takes.", {"gpu": 1}),
    "env": ("Variables laid over its environment. true: as it is, which is not shown.", {"MODE": "fast"}),
}
"""The keys that are shown, each with what it means and an example; maps last, for a table ends at the next one."""


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
    for key, (meaning, example) in KEYS.items():
        if key in unshown(job):
            lines += ["", f"# {key} is not UTF-8, and stays as it is."]
            continue
        text = _toml(key, values.get(key, example))
        lines += ["", f"# {meaning}", text if key in values else _behind_hash(text)]
    return "\n".join(lines) + "\n"


def changes(job: Job, text: str) -> dict[str, Any]:
    """What a person has changed in the file, as the wire has it. Raises InvalidParams for what is no TOML."""
    try:
        after = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidParams(f"bad TOML: {error}") from None
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
