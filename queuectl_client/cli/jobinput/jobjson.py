"""Parse a job's JSON, as typed or on a line of a file. The daemon checks it.

Nothing is repaired: invalid JSON is an error that names the position.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from queuectl_client.errors import InvalidParams

SHELL_HINT: Final = "Use --shell to enqueue a shell group { …; }."
TOO_DEEP: Final = "invalid JSON: it is nested too deeply"


def parse(text: str) -> dict[str, Any]:
    """Return the map of a text that begins with `{`. Raise InvalidParams if it is not one JSON object."""
    try:
        job: dict[str, Any] = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidParams(f"invalid JSON at character {error.pos + 1}: {error.msg}. {SHELL_HINT}") from None
    except RecursionError:
        raise InvalidParams(TOO_DEEP) from None
    return localized(job)


def localized(job: dict[str, Any]) -> dict[str, Any]:
    """Return the job with its `run_at` interpreted in the local time zone."""
    for key in ("run_at", "runAt"):
        if isinstance(job.get(key), str):
            job[key] = local_moment(job[key])
    return job


def drop_unknown(job: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Remove unknown keys, with a warning for each."""
    from queuectl_client.protocol.checks import unknown
    from queuectl_client.protocol.jobspec import CHECKS, is_known_key
    from queuectl_client.protocol.spelling import MEANT_KEYS

    for key in [key for key in job if not is_known_key(key)]:
        del job[key]
        warn(f"Warning: {unknown('key', key, CHECKS, meanings=MEANT_KEYS)}; ignored")


def local_moment(text: str) -> str:
    """Return the wire time of a local time, as the option accepts it; an invalid one unchanged."""
    from datetime import UTC, datetime

    from queuectl_client.cli.jobinput.times import moment, wire_text

    try:
        return wire_text(moment(text, datetime.now(UTC)))
    except (ValueError, OverflowError):
        return text


def _integer(text: str) -> int | float:
    # The wire has only floats beyond 64 bits; as a float it reaches the check that names its key.
    return int(text) if len(text) <= 18 else float(text)


DECODER: Final = json.JSONDecoder(parse_int=_integer)
