"""Resolving selectors among the dependencies of a new job.

Two steps: the reader thread scans all jobs, which may take a while and blocks no write; the writer thread adds jobs
added since, so that none is missed between the scan and the commit.
"""

import sqlite3
from typing import Final

from queuectl_client.protocol.selectors import Criteria, Last
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.store.reads import listings, selectors
from queuectld.store.records import ListQuery, ResolvedSelector

MAX_PARENTS: Final = 10_000
"""Maximum number of parents, named singly or by a selector. A batch may have any number of jobs."""


def next_matches(
    connection: sqlite3.Connection, selector: Last | Criteria, upto: int, after: int
) -> tuple[list[int], int | None]:
    """Return the next matches with numbers above `after` and up to `upto`, and where to continue (None: done)."""
    if isinstance(selector, Last):
        newest = selectors.newest(connection, upto)
        return [] if newest is None or newest <= after else [newest], None
    query = ListQuery(where=selector.where, after=str(max(after, selector.first - 1)), upto=selector.last)
    numbers, more = listings.seqs(connection, query)
    # Few are newer, if any; filtering by number in SQL would cost more.
    found = [seq for seq in numbers if seq <= upto]
    goes_on = more is not None and int(more) < upto and len(found) == len(numbers)
    return found, int(more) if goes_on and more is not None else None


def all_matches(connection: sqlite3.Connection, reference: str, resolved: ResolvedSelector, before: int) -> list[int]:
    """Return all matches with a number below `before`: those resolved earlier, and those added since.

    Refused (too_large) for more than MAX_PARENTS.
    """
    found = list(resolved.seqs)
    after: int | None = resolved.upto
    while after is not None and after < before - 1 and len(found) <= MAX_PARENTS:
        some, after = next_matches(connection, resolved.selector, before - 1, after)
        found = (some or found) if isinstance(resolved.selector, Last) else found + some
    if len(found) > MAX_PARENTS:
        message = f"{reference!r} matches more than {MAX_PARENTS:,} jobs; depend on a batch of them instead"
        raise Refused(ErrorCode.TOO_LARGE, message, {"key": "depends_on"})
    return found
