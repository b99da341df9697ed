"""What is done with the store's file beside a daemon or without one: it is looked at, mended, and copied."""

import os
from pathlib import Path

from queuectld.store.mapping import files
from queuectld.store.mapping.files import MIN_FREE_BYTES, SCHEMA_VERSION
from queuectld.store.reads.invariants import Progress, examine
from queuectld.store.records import StoreRefused
from queuectld.store.writes.repair import can_repair, repair

__all__ = ["MIN_FREE_BYTES", "SCHEMA_VERSION", "Progress", "back_up", "can_repair", "examine", "repair"]


def back_up(store: Path, target: Path, *, replace: bool) -> None:
    """A whole copy of the store, readable by its owner alone. Made under a name of its own, then put in its place.

    So a copy cut short never looks like a backup. Raises StoreRefused, or OSError; FileExistsError where there is a
    file that is not to be replaced.
    """
    if files.read_version(store) is None:
        raise StoreRefused(f"there is no store at {store}")
    if os.path.exists(target) and os.path.samefile(store, target):
        # Whoever has it open would go on with a file that has no name any more.
        raise FileExistsError(f"{target} is the store itself; give the backup another name")
    if os.path.lexists(target) and not replace:
        raise FileExistsError(f"{target} is there already; --force puts the backup in its place")
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    files.refuse_on_error(store, lambda: files.copy_of(store, draft))
    os.rename(draft, target)
    files.sync_folder(target.parent)
