"""A job's JSON as it is typed or stands on a line of a file: read here, judged by the daemon.

Nothing is repaired: what is not one JSON object is an error that says where.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from queuectl_client.errors import InvalidParams

SHELL_HINT: Final = "Use --shell to enqueue a shell group { …; }."
TOO_DEEP: Final = "invalid JSON: it is nested too deeply"


def parse(text: str) -> dict[str, Any]:
    """The map of a text that begins with `{`. Raises InvalidParams when it is not one JSON object."""
    try:
        job: dict[str, Any] = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidParams(f"invalid JSON at character {error.pos + 1}: {error.msg}. {SHELL_HINT}") from None
    except RecursionError:
        raise InvalidParams(TOO_DEEP) from None
    return localized(job)


def localized(job: dict[str, Any]) -> dict[str, Any]:
    """The job with its time in this machine's zone, where it names one."""
    for key in ("run_at", "runAt"):
        if isinstance(job.get(key), str):
            job[key] = local_moment(job[key])
    return job


def drop_unknown(job: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Take out the keys that no job has, with a warning for each."""
    from queuectl_client.protocol.checks import unknown
    from queuectl_client.protocol.jobspec import CHECKS, is_known_key

    for key in [key for key in job if not is_known_key(key)]:
        del job[key]
        warn(f"Warning: {unknown('key', key, CHECKS)}; ignored")


def local_moment(text: str) -> str:
    """A time in this machine's zone, as the option takes it; what is none the daemon refuses in its own words."""
    from datetime import UTC, datetime

    from queuectl_client.cli.jobinput.times import moment, wire_text

    try:
        return wire_text(moment(text, datetime.now(UTC)))
    except (ValueError, OverflowError):
        return text


def _integer(text: str) -> int | float:
    # Past 64 bits the wire has floats only; as one it reaches the check that names its key.
    return int(text) if len(text) <= 18 else float(text)


DECODER: Final = json.JSONDecoder(parse_int=_integer)
