"""The jobs that a selector names among those a new job is to wait for.

They are looked for in two steps. The reading thread goes through all there is, which may take a while and holds up no
write; the writing thread adds what has come since, so that nothing is missed between a look and the commit.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.store.reads import listings, selectors
from queuectld.store.reads.listings import ListQuery

MOST_PARENTS: Final = 10_000
"""Jobs that one may wait for by naming each, or by a selector. A batch may have any number."""
LAST: Final = "last"
_RANGE: Final = re.compile(r"(\d{1,15})-(\d{1,15})", re.ASCII)


class Seen(NamedTuple):
    """What a selector named in a first look: jobs up to the number `upto`."""

    upto: int
    seqs: Sequence[int]


SeenBy = Mapping[str, tuple[int, Sequence[int]]]
"""By selector."""


def is_selector(reference: object) -> bool:
    """Whether a reference may name several jobs, or `last`. An exact id of this form wins over it.

    `batch:NAME` is none: it stands for all of a batch, also for the jobs that are still to come.
    """
    if not isinstance(reference, str):
        return False
    if reference in (LAST, "all") or reference.startswith(("@", "label:", "name:")):
        return True
    return _RANGE.fullmatch(reference) is not None


def first_look(connection: sqlite3.Connection, selector: str, upto: int, after: int) -> tuple[list[int], int | None]:
    """The next jobs that the selector names, after the number `after` and up to `upto`; and where to go on."""
    if selector == LAST:
        return [seq for seq in selectors.select_few(connection, LAST, 1) or () if seq <= upto], None
    query, first, last = _listing(selector)
    numbers, more = listings.seqs(connection, replace(query, after=str(max(after, first - 1)), upto=last))
    end = upto if last is None else min(upto, last)
    found = [seq for seq in numbers if seq <= end]
    goes_on = more is not None and int(more) < end and len(found) == len(numbers)
    return found, int(more) if goes_on and more is not None else None


def all_named(
    connection: sqlite3.Connection, selector: str, seen: tuple[int, Sequence[int]], before: int
) -> list[int]:
    """The jobs that the selector names, with a number below `before`: those seen, and those that came since.

    Refused (too_large) for more than a job may wait for.
    """
    upto, seqs = seen
    found = list(seqs)
    after: int | None = upto
    while after is not None and after < before - 1 and len(found) <= MOST_PARENTS:
        some, after = first_look(connection, selector, before - 1, after)
        found = (some or found) if selector == LAST else found + some
    if len(found) > MOST_PARENTS:
        message = f"{selector!r} names more than {MOST_PARENTS:,} jobs to depend on; wait for a batch of them instead"
        raise Refused(ErrorCode.TOO_LARGE, message, {"key": "depends_on"})
    return found


def _listing(selector: str) -> tuple[ListQuery, int, int | None]:
    """The listing, and between which numbers."""
    span = _RANGE.fullmatch(selector)
    if span is not None:
        return ListQuery(), int(span[1]), int(span[2])
    query = selectors.listing(selector)
    if query is None:
        message = f"{selector!r} is no selector; such are label:KEY=VALUE, name:GLOB and @STATE"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "depends_on"})
    return query, 0, None
