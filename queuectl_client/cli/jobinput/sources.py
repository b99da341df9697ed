"""Sources of many jobs: a file of jobs, the numbers of an array, a command for each line of a file.

Errors name the place: `line 3` or `index 7`.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from queuectl_client.cli.jobinput.jobfile import LONGEST_LINE, entries
from queuectl_client.cli.jobinput.jobjson import drop_unknown, localized
from queuectl_client.cli.jobinput.options import JobMap, lay_over
from queuectl_client.cli.jobinput.templates import INDEX_VARIABLE, PLACE, Array, Template
from queuectl_client.errors import InvalidParams
from queuectl_client.upload import UploadItem

_READ_BYTES: Final = 64 * 1024
FILLED: Final = frozenset({"id", "name", "unique_key", "key", "labels", "env", "stdin", "cwd"})
"""Keys other than the command in which `{}` is replaced by the item; of a map, in its values."""


def of_file(
    file: BinaryIO,
    options: JobMap,
    own: JobMap,
    here: str,
    warn: Callable[[str], None],
    *,
    shell: bool,
    lenient: bool,
    new_ids: bool,
) -> Iterator[UploadItem]:
    """Yield the jobs of a file: JSON objects and shell commands. `own`: keys of each job from the options.

    Raise InvalidParams that names the line of an invalid job.
    """
    try:
        for entry in entries(file, shell=shell):
            place = f"line {entry.line}"
            if isinstance(entry.job, str):
                yield UploadItem({"command": entry.job, **own}, entry.size, place)
                continue
            job = localized(entry.job)
            if new_ids:
                job.pop("id", None)
            if lenient:
                drop_unknown(job, lambda warning, place=place: warn(f"{place}: {warning}"))  # type: ignore[misc]
            job = lay_over(job, options)
            settle_cwd(job, here)
            yield UploadItem(job, entry.size, place)
    except InvalidParams as error:
        raise InvalidParams(f"{error.message.removesuffix('.')}; nothing was stored") from None


def of_array(array: Array, template: Template, own: JobMap, here: str) -> Iterator[UploadItem]:
    """Yield a job for each number, which is in its environment."""
    for number in array.numbers:
        item = str(number)
        job = _with_item(own, item, here)
        env = job.get("env", {})
        if isinstance(env, dict):  # otherwise the daemon reports the error
            env = {**env, INDEX_VARIABLE: item}
        job = {**job, "command": template.filled(item), "env": env}
        yield UploadItem(job, _size(job), f"index {item}")


def of_lines(file: BinaryIO, separator: bytes, template: Template, own: JobMap, here: str) -> Iterator[UploadItem]:
    """Yield a job for each non-empty line, as bytes. Raise InvalidParams that names an invalid line."""
    for number, line in _lines(file, separator):
        item = line.removesuffix(separator).decode("utf-8", "surrogateescape")
        if not item:
            continue
        place = f"line {number}"
        if "\0" in item:
            raise InvalidParams(f"{place}: it has a NUL character, which no command can hold; nothing was stored")
        job = {**_with_item(own, item, here), "command": template.filled(item)}
        yield UploadItem(job, _size(job), place)


def settle_cwd(job: JobMap, here: str) -> None:
    """Make the job's cwd absolute, relative to `here`."""
    if isinstance(job.get("cwd"), str):
        job["cwd"] = os.path.join(here, job["cwd"])


def has_place(value: object) -> bool:
    """Return whether `{}` is in this text, or in a value of this map."""
    if isinstance(value, dict):
        return any(has_place(each) for each in value.values())
    return isinstance(value, str) and PLACE in value


def _with_item(own: JobMap, item: str, here: str) -> JobMap:
    job = {key: _filled(value, item) if key in FILLED else value for key, value in own.items()}
    settle_cwd(job, here)
    return job


def _filled(value: Any, item: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(each, item) for name, each in value.items()}
    return value.replace(PLACE, item) if isinstance(value, str) else value


def _size(job: JobMap) -> int:
    """Return the approximate size on the wire, counting characters rather than bytes."""
    return 64 + sum(map(_length, job.values()))


def _length(value: object) -> int:
    if isinstance(value, dict):
        return sum(len(str(name)) + _length(each) for name, each in value.items())
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str) else 8


def _lines(file: BinaryIO, separator: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield lines, with their separators, and their numbers. Raise InvalidParams for a line that is too long."""
    pieces = iter(lambda: file.readline(LONGEST_LINE), b"") if separator == b"\n" else _split(file, separator)
    for number, line in enumerate(pieces, 1):
        if len(line) >= LONGEST_LINE and not line.endswith(separator):
            raise InvalidParams(f"line {number}: it is longer than {LONGEST_LINE:,} bytes")
        yield number, line


def _split(file: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while piece := file.read(_READ_BYTES):
        *lines, rest = (rest + piece).split(separator)
        for line in lines:
            yield line + separator
        if len(rest) >= LONGEST_LINE:
            break
    if rest:
        yield rest
