"""Syntax of a dependency: `job_1`, `job_1:any`, `batch:nightly`, `batch:nightly:dead`, or a selector."""

from typing import Final

BATCH_PREFIX: Final = "batch:"
"""Prefix of a batch name in `depends_on`, for all jobs of the batch. Ids contain no colon."""
PARENT_ENDS: Final = ("completed", "dead", "any")
"""Outcomes of a parent that a job can wait for. `dead`: any outcome but completed."""


def split_end(text: str) -> tuple[str, str | None]:
    """Split into the parent and the outcome to wait for; None if no outcome is named.

    A text that is a selector as a whole is not split: `batch:any` is the batch of that name, `label:k=any` a label.
    """
    parent, _, end = text.rpartition(":")
    if end in PARENT_ENDS and (parent.startswith(BATCH_PREFIX) or (parent not in ("", "batch") and ":" not in parent)):
        return parent, end
    return text, None
