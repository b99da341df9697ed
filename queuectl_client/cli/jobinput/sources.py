"""Where many jobs come from: the lines of a file, the numbers of an array, the lines that one command is run for.

A place is `line 3` or `index 7`.
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
"""Keys in whose text `{}` stands for the item, too; of a map in its values."""


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
    """The jobs of a file: JSON objects and shell commands. `own`: what each job carries itself.

    Raises InvalidParams that names the line of a bad one.
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
    """A job for each number, with it in the environment."""
    for number in array.numbers:
        item = str(number)
        job = _with_item(own, item, here)
        env = job.get("env", {})
        if isinstance(env, dict):  # else the daemon says what it must be
            env = {**env, INDEX_VARIABLE: item}
        job = {**job, "command": template.filled(item), "env": env}
        yield UploadItem(job, _size(job), f"index {item}")


def of_lines(file: BinaryIO, separator: bytes, template: Template, own: JobMap, here: str) -> Iterator[UploadItem]:
    """A job for each line, byte for byte; empty ones are skipped. Raises InvalidParams that names a bad one."""
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
    """Make the job's folder absolute, seen from here."""
    if isinstance(job.get("cwd"), str):
        job["cwd"] = os.path.join(here, job["cwd"])


def has_place(value: object) -> bool:
    """Whether `{}` stands in this text, or in a value of this map."""
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
    """Characters may be four bytes each, but then a piece is only half as small as it might be."""
    return 64 + sum(map(_length, job.values()))


def _length(value: object) -> int:
    if isinstance(value, dict):
        return sum(len(str(name)) + _length(each) for name, each in value.items())
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str) else 8


def _lines(file: BinaryIO, separator: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, each with its separator but the last. Raises InvalidParams for one that is too long."""
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
