"""The settings of `queuectl config`: names, ranges and defaults."""

import math
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from queuectl_client.protocol import durations
from queuectl_client.protocol.amounts import AMOUNT_WORDS, NAME_WORDS
from queuectl_client.protocol.attributes import GIVEN, Form
from queuectl_client.protocol.spelling import hint, snake_case
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.resources import read_supplies

Value = int | float | str | bool | None


class Setting(NamedTuple):
    """One setting: `read` converts a given value or raises ValueError; `allowed` describes valid values."""

    default: Value
    allowed: str
    read: Callable[[Any], Value]
    about: str


class Unclear(ValueError):
    """A value that may mean several things; the text says which."""


def _number(low: float, high: float) -> Callable[[Any], Value]:
    def read(given: Any) -> Value:
        if isinstance(given, bool):
            raise ValueError(given)
        number = float(given)
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError(given)
        return int(number) if number.is_integer() else number

    return read


def _whole(low: int, high: int) -> Callable[[Any], Value]:
    def read(given: Any) -> Value:
        if isinstance(given, bool | float):
            raise ValueError(given)
        number = int(given)
        if not low <= number <= high:
            raise ValueError(given)
        return number

    return read


def _or_none(read: Callable[[Any], Value]) -> Callable[[Any], Value]:
    def read_or_none(given: Any) -> Value:
        return None if given is None or given == "none" else read(given)

    return read_or_none


def _seconds(*, zero: bool = False) -> Callable[[Any], Value]:
    """Seconds, or text with units: `90`, `12h`, `1h30m`."""
    read_number = _number(0, durations.TEN_YEARS_S)

    def read(given: Any) -> Value:
        seconds = read_number(durations.seconds(given) if isinstance(given, str) else given)
        if not (seconds or zero):
            raise ValueError(given)
        return seconds

    return read


def _kept(given: Any) -> Value:
    """How long jobs are kept. Text needs its unit."""
    if isinstance(given, str) and (unclear := durations.lacks_unit(given)) is not None:
        raise Unclear(unclear)
    return _seconds()(given)


def _flag(given: Any) -> Value:
    if isinstance(given, bool):
        return given
    return {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}[
        str(given).lower()
    ]


def _shell(given: Any) -> Value:
    words = shlex.split(_text(given))
    if not words or not words[0].startswith("/"):
        raise ValueError(given)
    return str(given)


def _supplies(given: Any) -> Value:
    if not read_supplies(_text(given)):
        raise ValueError(given)
    return ",".join(part.strip() for part in given.split(","))


def _text(given: Any) -> str:
    if not isinstance(given, str) or not given or "\0" in given or len(given) > 4096:
        raise ValueError(given)
    return given


def _words_of_seconds(*, zero: bool = False) -> str:
    bounds = f"from 0 to {durations.TEN_YEARS_S}" if zero else f"above 0, at most {durations.TEN_YEARS_S}"
    return f"a number of seconds {bounds}, or a duration {durations.DURATION_WORDS}"


_KEPT: Final = (f"none, or a duration {durations.DURATION_WORDS}", _or_none(_kept))


def _of_jobs(name: str, default: Value, about: str) -> Setting:
    """Build the setting that is the default of a job attribute, with its range."""
    attribute = GIVEN[name]
    match attribute.form:
        case Form.WHOLE:
            low, high = int(attribute.low), int(attribute.high)
            allowed, read = f"a whole number from {low} to {high}", _whole(low, high)
        case Form.NUMBER:
            allowed = f"a number from {attribute.low} to {attribute.high}"
            read = _number(attribute.low, attribute.high)
        case Form.SECONDS:
            allowed, read = _words_of_seconds(zero=attribute.zero), _seconds(zero=attribute.zero)
        case Form.FLAG:
            allowed, read = "true or false", _flag
        case other:
            raise ValueError(f"unsupported form of a setting: {other}")
    if default is None:
        return Setting(None, f"none, or {allowed}", _or_none(read), about)
    return Setting(default, allowed, read, about)


SETTINGS: Final[Mapping[str, Setting]] = {
    "max_retries": _of_jobs("max_retries", 3, "executions before a job is dead"),
    "backoff_base": _of_jobs("backoff_base", 2, "base of the wait before a retry"),
    "backoff_max": _of_jobs("backoff_max", 3600, "longest wait before a retry, s"),
    "backoff_jitter": _of_jobs("backoff_jitter", 0, "share by which a wait may be shorter"),
    "timeout": _of_jobs("timeout", None, "longest execution, s"),
    "stall_timeout": _of_jobs("stall_timeout", None, "longest time without output, s"),
    "kill_grace": _of_jobs("kill_grace", 10, "time between TERM and KILL, s"),
    "crash_limit": Setting(3, "a whole number from 0 to 1000", _whole(0, 1000), "crashes before a job is dead"),
    "shell": Setting("/bin/sh -c", "an absolute path and its options", _shell, "what runs a command string"),
    "path": Setting(
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "a list of folders separated by colons",
        _text,
        "PATH of jobs whose submitter sent no environment",
    ),
    "log_max_bytes": Setting(
        64 * 1024 * 1024,
        "a whole number from 65536 to 1099511627776",
        _whole(65_536, 1 << 40),
        "output kept of each stream of an execution",
    ),
    "slots": Setting(
        None,
        "none, or a whole number from 1 to 1000000",
        _or_none(_whole(1, 1_000_000)),
        "slots that jobs share; none: as many as there are workers",
    ),
    "resources": Setting(
        None,
        f"none, or a list such as gpu=2,mem=16G: names of {NAME_WORDS}; {AMOUNT_WORDS}",
        _or_none(_supplies),
        "named resources that jobs share",
    ),
    "keep_completed": Setting(None, *_KEPT, "how long completed jobs are kept; none: for ever"),
    "keep_cancelled": Setting(None, *_KEPT, "how long cancelled jobs are kept"),
    "keep_dead": Setting(None, *_KEPT, "how long dead jobs stay in the DLQ"),
    "split_output": _of_jobs("split_output", False, "keep stdout and stderr apart"),
}


def setting_name(key: str) -> str:
    """Return the name of a setting, spelled `maxRetries`, `max-retries` or `max_retries`.

    Refused (invalid_params) with the nearest name if it is unknown.
    """
    name = snake_case(key)
    if name in SETTINGS:
        return name
    near = hint(name, SETTINGS, otherwise=f"known: {', '.join(SETTINGS)}")
    raise Refused(ErrorCode.INVALID_PARAMS, f"unknown setting {key!r}{near}", {"key": key})


def setting_value(name: str, given: Any) -> Value:
    """Convert `given` (text or typed) to a value of setting `name`. Refused (invalid_params) if not allowed."""
    setting = SETTINGS[name]
    try:
        return setting.read(given)
    except Unclear as error:
        message = f"invalid {name}: {given!r}; {error}"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": name}) from None
    except (ValueError, KeyError, TypeError, OverflowError):
        message = f"invalid {name}: {given!r}; expected {setting.allowed}"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": name}) from None
