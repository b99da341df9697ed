"""Recovers the output of a run whose worker was killed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from queuectld.domain.job import Output
from queuectld.workerwire.outputfiles import final_name, live_files

INLINE_BYTES: Final = 16 * 1024
"""Output up to this size is stored in the attempt's row, as workers do."""


class _Piece(NamedTuple):
    path: Path
    offset: int
    size: int


def output(logs: Path, worker: int, seq: int, run: int) -> dict[str, Output]:
    """Give the files of a dead worker their final names, and return the output by stream.

    A worker killed while renaming may have left files under both names. Output still in its memory is lost. The caller
    ensures that the worker is dead and that this was its last run.
    """
    found: dict[str, list[_Piece]] = {}
    for name, stream, offset, size in live_files(str(logs), worker):
        found.setdefault(stream, []).append(_Piece(logs / name, offset, size))
    for stream, piece in _renamed(logs, seq, run):
        found.setdefault(stream, []).append(piece)
    return {stream: _keep(logs, seq, run, stream, sorted(pieces, key=_offset)) for stream, pieces in found.items()}


def clear(logs: Path, worker: int) -> None:
    """Remove the remaining files of a dead worker; they belong to no run, or to one whose output is stored."""
    for name, *_ in live_files(str(logs), worker):
        (logs / name).unlink(missing_ok=True)


def _keep(logs: Path, seq: int, run: int, stream: str, pieces: list[_Piece]) -> Output:
    size = max(piece.offset + piece.size for piece in pieces)
    if len(pieces) == 1 and pieces[0].offset == 0 and size <= INLINE_BYTES:
        data = pieces[0].path.read_bytes()
        pieces[0].path.unlink()
        return Output(len(data), data)
    files = []
    for piece in pieces:
        name = final_name(seq, run, stream, piece.offset)
        target = logs / name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        os.rename(piece.path, target)
        files.append((name, piece.offset, piece.size))
    return Output(size, None, tuple(files))


def _renamed(logs: Path, seq: int, run: int) -> Iterator[tuple[str, _Piece]]:
    folder = (logs / final_name(seq, run, "both")).parent
    if not folder.is_dir():
        return
    for path in folder.glob(f"{seq}.{run}.*.log"):
        # <seq>.<run>.<stream>[.<offset>].log
        _, _, stream, *cool_down = path.name.split(".")
        yield stream, _Piece(path, int(cool_down[0]) if len(cool_down) == 2 else 0, path.stat().st_size)


def _offset(piece: _Piece) -> int:
    return piece.offset
