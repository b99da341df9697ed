"""Checking, repairing and backing up the store file, with or without a running daemon."""

import os
from pathlib import Path

from queuectld.store.mapping import files
from queuectld.store.mapping.files import DRAFT, MIN_FREE_BYTES, SCHEMA_VERSION
from queuectld.store.reads.invariants import Progress, examine
from queuectld.store.records import StoreRefused
from queuectld.store.repair import can_repair, repair

__all__ = ["DRAFT", "MIN_FREE_BYTES", "SCHEMA_VERSION", "Progress", "back_up", "can_repair", "examine", "repair"]


def back_up(store: Path, target: Path, *, replace: bool) -> None:
    """Copy the store, readable only by its owner. Never incomplete under its name (`files.copy`).

    Raises StoreRefused or OSError; FileExistsError if the target exists and `replace` is false.
    """
    if files.read_version(store) is None:
        raise StoreRefused(f"no such store: {store}")
    if os.path.exists(target) and os.path.samefile(store, target):
        # Whoever has it open would go on with a file that has no name any more.
        raise FileExistsError(f"{target} is the store itself; give the backup another name")
    if os.path.lexists(target) and not replace:
        raise FileExistsError(f"{target} is there already; --force puts the backup in its place")
    files.refuse_on_error(store, lambda: files.copy_of(store, target, replace=replace))
