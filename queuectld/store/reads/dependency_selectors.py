"""The jobs that a selector names among those a new job is to wait for.

They are looked for in two steps. The reading thread goes through all there is, which may take a while and holds up no
write; the writing thread adds what has come since, so that nothing is missed between a look and the commit.
"""

import sqlite3
from typing import Final

from queuectl_client.protocol.selectors import Criteria, Last
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.store.reads import listings, selectors
from queuectld.store.records import ListQuery, ResolvedSelector

MAX_PARENTS: Final = 10_000
"""Jobs that one may wait for by naming each, or by a selector. A batch may have any number."""


def next_matches(
    connection: sqlite3.Connection, selector: Last | Criteria, upto: int, after: int
) -> tuple[list[int], int | None]:
    """The next jobs that the selector names, after the number `after` and up to `upto`; and where to go on."""
    if isinstance(selector, Last):
        newest = selectors.newest(connection, upto)
        return [] if newest is None or newest <= after else [newest], None
    query = ListQuery(where=selector.where, after=str(max(after, selector.first - 1)), upto=selector.last)
    numbers, more = listings.seqs(connection, query)
    # Few are newer, if any: to look at the number of each of the others would cost more.
    found = [seq for seq in numbers if seq <= upto]
    goes_on = more is not None and int(more) < upto and len(found) == len(numbers)
    return found, int(more) if goes_on and more is not None else None


def all_matches(connection: sqlite3.Connection, reference: str, resolved: ResolvedSelector, before: int) -> list[int]:
    """The jobs that the selector names, with a number below `before`: those seen, and those that came since.

    Refused (too_large) for more than a job may wait for.
    """
    found = list(resolved.seqs)
    after: int | None = resolved.upto
    while after is not None and after < before - 1 and len(found) <= MAX_PARENTS:
        some, after = next_matches(connection, resolved.selector, before - 1, after)
        found = (some or found) if isinstance(resolved.selector, Last) else found + some
    if len(found) > MAX_PARENTS:
        message = f"{reference!r} names more than {MAX_PARENTS:,} jobs to depend on; wait for a batch of them instead"
        raise Refused(ErrorCode.TOO_LARGE, message, {"key": "depends_on"})
    return found
