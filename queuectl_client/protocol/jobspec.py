"""The specification of a job: its keys and their ranges.

JobSpec.from_map runs for every enqueued job, so a table maps each accepted spelling of a key to its check, and absent
keys cost nothing.
"""

import re
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Self

from queuectl_client.protocol import amounts, checks
from queuectl_client.protocol.attributes import ATTRIBUTES, GIVEN, Attribute, Form
from queuectl_client.protocol.checks import BadParams, Check, bad
from queuectl_client.protocol.dependencies import BATCH_PREFIX, PARENT_ENDS
from queuectl_client.protocol.spelling import MEANT_KEYS, camel_case
from queuectl_client.protocol.text import from_wire

Command = str | tuple[str, ...]
"""A shell command, or an argv that runs without a shell."""

MAX_COMMAND_BYTES: Final = 1024 * 1024
"""More than execve accepts for one argument (128 KiB) and the usual ARG_MAX, less than a message."""


class JobSpec(NamedTuple):
    """A job specification; None: not given. Durations are in seconds.

    A NamedTuple, because creating a frozen dataclass with this many fields takes five times as long.
    """

    command: Command
    id: str | None = None
    queue: str | None = None
    priority: int | None = None
    delay: float | None = None
    run_at: int | None = None
    """Unix time in milliseconds."""
    depends_on: tuple[tuple[str, str], ...] | None = None
    """Pairs of an id or `batch:NAME`, and `completed`, `dead` or `any`."""
    batch: str | None = None
    hold: bool | None = None

    # Keys that many jobs of one submitter have in common.
    name: str | None = None
    labels: dict[str, str] | None = None
    max_retries: int | None = None
    backoff_base: float | None = None
    backoff_max: float | None = None
    backoff_jitter: float | None = None
    retry_on: tuple[int | str, ...] | None = None
    no_retry_on: tuple[int | str, ...] | None = None
    timeout: float | None = None
    stall_timeout: float | None = None
    kill_grace: float | None = None
    cwd: str | None = None
    env: dict[str, str] | None = None
    stdin: str | None = None
    unique_key: str | None = None
    on_conflict: str | None = None
    key: str | None = None
    key_limit: int | None = None
    slots: int | None = None
    needs: dict[str, int] | None = None
    once: bool | None = None
    split_output: bool | None = None
    stdin_open: bool | None = None

    @classmethod
    def from_map(cls, job: Mapping[str, Any]) -> Self:
        """Return the checked job. Raise BadParams for an invalid key or value, or a missing command."""
        return cls.of(read_keys(job))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the job of values from `read_keys`. Raise BadParams for an invalid combination."""
        if "command" not in values:
            raise BadParams("a job needs a command", "command")
        if "delay" in values and "run_at" in values:
            raise BadParams("a job can have delay or run_at, not both", "run_at")
        return cls(**values)

    def to_map(self) -> dict[str, Any]:
        """Return the wire's map, with the keys that are not None."""
        job: dict[str, Any] = {key: value for key, value in zip(self._fields, self, strict=True) if value is not None}
        if self.run_at is not None:
            job["run_at"] = checks.time_text(self.run_at)
        if self.depends_on is not None:
            job["depends_on"] = [{"id": parent, "on": on} for parent, on in self.depends_on]
        return job

    def __repr__(self) -> str:
        """Leave out `env` and `stdin`, which may be secrets, because logs contain jobs."""
        given = {key: value for key, value in self.to_map().items() if key not in ("env", "stdin")}
        return f"JobSpec({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def read_keys(job: Mapping[str, Any], *, keep_null: bool = False) -> dict[str, Any]:
    """Return the checked values of a job's map, by the names of JobSpec's fields.

    Null counts as not given, unless `keep_null` (an edit: reset to the default). Output-only keys are ignored, so that
    printed jobs can be enqueued again. Raise BadParams.
    """
    if not isinstance(job, Mapping):
        raise bad("job", job, "a map with a command")
    values: dict[str, Any] = {}
    for given, value in job.items():
        try:
            name, check = _KEYS[given]
        except KeyError:
            if given in _OUTPUT_KEYS:
                continue
            raise checks.unknown("key", given, CHECKS, meanings=MEANT_KEYS) from None
        if name in values:
            raise BadParams(f"{name} is given twice, as {name} and as {camel_case(name)}", name)
        if value is not None:
            values[name] = check(given, value)
        elif keep_null:
            values[name] = None
    return values


def is_known_key(key: str) -> bool:
    """Return whether a job's map may have this key: an input key, in either spelling, or an output key."""
    return key in _KEYS or key in _OUTPUT_KEYS


def read_changes(key: str, value: Any) -> dict[str, Any]:
    """Check the changes of an edit: a map of keys to new values; null resets to the default.

    `env` replaces the whole environment of the job; the value true keeps that of a variable, since values are never
    shown.
    """
    if not isinstance(value, Mapping) or not value:
        raise bad(key, value, "a map of at least one key of the job")
    env = value.get("env")
    env = env if isinstance(env, Mapping) else {}
    kept = {name for name, text in env.items() if text is True}
    if kept:
        value = {**value, "env": {name: "" if name in kept else text for name, text in env.items()}}
    changes: dict[str, Any] = read_keys(value, keep_null=True)
    if kept:
        names = {from_wire(name) if isinstance(name, bytes) else name for name in kept}
        changes["env"] |= dict.fromkeys(names, True)
    if len(changes) < len(value):
        fixed = next(name for name in value if name not in changes)
        raise BadParams(f"{fixed} of a job cannot be changed", str(fixed))
    return changes


def label_filter(key: str, value: Any) -> dict[str, str]:
    """Check a map of labels, one `k=v`, or a list of them."""
    if isinstance(value, str | list | tuple):
        pairs = [value] if isinstance(value, str) else value
        if not all(isinstance(pair, str) and "=" in pair for pair in pairs):
            raise bad(key, value, "labels as name=value")
        value = dict(pair.split("=", 1) for pair in pairs)
    checked: dict[str, str] = CHECKS["labels"](key, value)
    return checked


def signal_name(text: str) -> str | None:
    """Return the SIG name of a signal given with or without SIG, in any case; None if the system has no such signal."""
    name = "SIG" + text.upper().removeprefix("SIG")
    return name if name in signal.Signals.__members__ or _REAL_TIME.fullmatch(name) else None


def _command(key: str, value: Any) -> Command:
    if isinstance(value, list | tuple):
        argv = tuple([checks.os_text(f"item of {key}", item) for item in value])
        if argv and argv[0]:
            return _of_size(key, argv, sum(map(len, argv)))
    elif not isinstance(value, str | bytes):
        raise bad(key, value, "a shell command or a list of strings")
    elif (line := checks.os_text(key, value)).strip():
        return _of_size(key, line, len(line))
    raise bad(key, value, "a shell command, or a list that begins with the name of a program")


def _of_size(key: str, command: Command, characters: int) -> Command:
    # Compare characters first: for most commands the bytes need not be counted.
    if characters > MAX_COMMAND_BYTES // 4 and _byte_size(command) > MAX_COMMAND_BYTES:
        raise BadParams(f"{key} is larger than {MAX_COMMAND_BYTES:,} bytes", key)
    return command


def _byte_size(command: Command) -> int:
    parts = (command,) if isinstance(command, str) else command
    return sum(len(part.encode("utf-8", "surrogateescape")) for part in parts)


def _folder(key: str, value: Any) -> str:
    folder = checks.os_text(key, value)
    if not folder.startswith("/"):
        raise bad(key, folder, "an absolute path of a folder")
    return folder


def _exit_or_signal(key: str, value: Any) -> int | str:
    """Check a nonzero exit code, or the name of one or of a signal."""
    if type(value) is int and 1 <= value <= 255:
        return value
    if isinstance(value, str):
        code = _SYSEXITS.get(value.lower().removeprefix("ex_"))
        if code is not None:
            return code
        if (name := signal_name(value)) is not None:
            return name
    raise bad(key, value, "a list of exit codes from 1 to 255, names of them such as tempfail, and signals like KILL")


def _dependency(key: str, value: Any) -> tuple[str, str]:
    on: Any = "completed"
    if isinstance(value, Mapping):
        odd = [name for name in value if name not in ("id", "batch", "on")]
        if odd:
            raise checks.unknown(f"key of {key}", odd[0], ("id", "batch", "on"))
        if value.get("on") is not None:
            on = _ON(f"on of {key}", value["on"])
        if value.get("batch") is not None:
            return BATCH_PREFIX + checks.job_id(f"batch of {key}", value["batch"]), on
        value = value.get("id")
    return checks.selector(f"id in {key}", value), on


def _resource_name(key: str, value: Any) -> str:
    if isinstance(value, str) and amounts.is_resource_name(value):
        return value
    raise bad(key, value, amounts.NAME_WORDS)


def _amount(key: str, value: Any) -> int:
    try:
        return amounts.amount(value)
    except ValueError:
        raise bad(key, value, amounts.AMOUNT_WORDS) from None


def _label_name(key: str, value: Any) -> str:
    name = checks.text(128)(key, value)
    if "=" in name:
        raise bad(key, name, "a string without '='")
    return name


_SYSEXITS: Final[Mapping[str, int]] = {
    "usage": 64, "dataerr": 65, "noinput": 66, "nouser": 67, "nohost": 68, "unavailable": 69, "software": 70,
    "oserr": 71, "osfile": 72, "cantcreat": 73, "ioerr": 74, "tempfail": 75, "protocol": 76, "noperm": 77, "config": 78,
}  # fmt: skip
"""Exit codes by their names in sysexits.h, without EX_."""
_REAL_TIME = re.compile(r"SIGRTMIN\+([1-9]|[12]\d|30)", re.ASCII)
_ON = checks.word_of(PARENT_ENDS)
_CODES = checks.list_of(_exit_or_signal, longest=1000)

_CHECKS: Final[Mapping[str, Callable[[Attribute], Check[Any]]]] = {
    Form.COMMAND: lambda _: _command,
    Form.ID: lambda _: checks.job_id,
    Form.QUEUE: lambda _: checks.queue_name,
    Form.TEXT: lambda attribute: checks.text(int(attribute.high)),
    Form.WORD: lambda attribute: checks.word_of(attribute.words),
    Form.ANY_TEXT: lambda _: checks.os_text,
    Form.FOLDER: lambda _: _folder,
    Form.WHOLE: lambda attribute: checks.integer(int(attribute.low), int(attribute.high)),
    Form.NUMBER: lambda attribute: checks.number(attribute.low, attribute.high),
    Form.SECONDS: lambda attribute: checks.seconds(zero=attribute.zero),
    Form.TIME: lambda _: checks.moment,
    Form.FLAG: lambda _: checks.boolean,
    Form.CODES: lambda _: _CODES,
    Form.JOBS: lambda _: checks.list_of(_dependency, longest=10_000),
    Form.LABELS: lambda _: checks.map_of(_label_name, checks.text(1024, empty=True), longest=100),
    Form.AMOUNTS: lambda _: checks.map_of(_resource_name, _amount, longest=32),
    Form.VARIABLES: lambda _: checks.environment,
}

CHECKS: Final[Mapping[str, Check[Any]]] = {name: _CHECKS[each.form](each) for name, each in GIVEN.items()}
"""The input keys of a job and their checks."""

_OUTPUT: Final = (
    *(name for name in ATTRIBUTES if name not in GIVEN),
    *("rank", "position", "pid", "host", "attempts_list", "environment", "skipped", "replaced", "hint"),
)
"""Keys of a job in output that cannot be given."""
_KEYS: Final = {spelling: (key, check) for key, check in CHECKS.items() for spelling in (key, camel_case(key))}
_OUTPUT_KEYS: Final = frozenset(spelling for key in _OUTPUT for spelling in (key, camel_case(key)))
