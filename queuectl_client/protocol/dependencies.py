"""Syntax of a dependency: `job_1`, `job_1:any`, `batch:nightly`, `batch:nightly:dead`, or a selector."""

from typing import Final

BATCH_PREFIX: Final = "batch:"
"""Where the id of a job goes in `depends_on`, this and a batch's name stand for all of its jobs. No id has a colon."""
PARENT_ENDS: Final = ("completed", "dead", "any")
"""The ends of a parent that a job can wait for. `dead` is any end but completed."""


def split_end(text: str) -> tuple[str, str | None]:
    """What is waited for, and for which end of it; None where none is named.

    A colon before one of PARENT_ENDS is taken for a part of the selector where a selector has that form:
    `batch:any` is the batch of that name, `label:k=any` a label.
    """
    parent, _, end = text.rpartition(":")
    if end in PARENT_ENDS and (parent.startswith(BATCH_PREFIX) or (parent not in ("", "batch") and ":" not in parent)):
        return parent, end
    return text, None
