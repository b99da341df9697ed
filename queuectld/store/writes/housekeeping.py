"""Retention of events and requests, and giving space back to the disk, in short slices."""

import json
import sqlite3
import time
from typing import Final

from peewee import fn

from queuectl_client.protocol.vocabulary import ENDED_STATES, JobState
from queuectld.store.mapping.models import Event, Job, Request
from queuectld.store.mapping.sql import AMONG_SEQS
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.writer.session import Session

SLICE: Final = 1_000
"""Rows deleted in one commit."""
LOOKED_AT: Final = 5_000
"""Jobs read by one query."""
GIVING_BACK_S: Final = 0.01
"""How long one commit gives pages back, in seconds; other requests wait meanwhile."""
PAGES_BETWEEN_LOOKS: Final = 8
"""Pages given back between two looks at the clock."""
_OLDEST: Final = statement(Event.select(fn.MIN(Event.event_seq)))
_DELETE_EVENTS: Final = statement(Event.delete().where(Event.event_seq < arg("below")))
_OLD_REQUESTS: Final = statement(
    Request.select(Request.n, Request.created_ms).order_by(Request.n).limit(arg("slice"))
)  # fmt: skip
_DELETE_REQUESTS: Final = statement(Request.delete().where(Request.n <= arg("upto")))
_OLDEST_REQUEST: Final = statement(Request.select(Request.created_ms).order_by(Request.n).limit(arg("slice")))
_SELECT_STATES: Final = statement(
    Job.select(Job.seq, Job.state, Job.finished_ms).where(Job.seq > arg("after")).order_by(Job.seq).limit(arg("slice"))
)
_PRESENT: Final = statement(
    Job.select(Job.seq).where(AMONG_SEQS)
)  # fmt: skip


def prune_events(session: Session, keep: int) -> bool:
    """Delete one slice of the oldest events, keeping the newest `keep`. Return whether more are left."""
    oldest: int | None = session.execute(_OLDEST).fetchone()[0]
    below = session.cache.last_event_seq - max(keep, 1) + 1
    if oldest is None or oldest >= below:
        return False
    session.execute(_DELETE_EVENTS, {"below": min(below, oldest + SLICE)})
    return oldest + SLICE < below


def prune_requests(session: Session, before_ms: int) -> bool:
    """Delete one slice of the answers from before a wall time. Return whether more may be left."""
    rows = session.execute(_OLD_REQUESTS, {"slice": SLICE}).fetchall()
    # In order of arrival: after the clock was set back some are kept longer, none shorter.
    old = 0
    for number, created_ms in rows:
        if created_ms >= before_ms:
            break
        old = number
    if old:
        session.execute(_DELETE_REQUESTS, {"upto": old})
    return bool(rows) and old == rows[-1][0]


def oldest_request(connection: sqlite3.Connection) -> int | None:
    """Return the wall time of the oldest answer kept; None if there is none."""
    row = connection.execute(_OLDEST_REQUEST, {"slice": 1}).fetchone()
    return row[0] if row else None


def ended_jobs(connection: sqlite3.Connection, after: int) -> tuple[int, list[tuple[int, JobState, int]]]:
    """Return the last number read (0: no more), and the ended jobs of this slice: number, state, wall time.

    By number, without an index on the time, which would cost every job that ends; this runs rarely.
    """
    rows = connection.execute(_SELECT_STATES, {"after": after, "slice": LOOKED_AT}).fetchall()
    ended = [(seq, JobState(state), finished) for seq, state, finished in rows if state in ENDED_STATES]
    return (rows[-1][0] if rows else 0), ended


def present(connection: sqlite3.Connection, seqs: set[int]) -> set[int]:
    """Return the jobs that are in the store."""
    return {row[0] for row in connection.execute(_PRESENT, {"seqs": json.dumps(sorted(seqs))})}


def give_back(session: Session) -> bool:
    """Truncate the file by some free pages, moving pages in use off its end. Return whether more are left.

    Free pages still contain deleted data until they are cut off. Bounded by time, not by pages: moving a page takes a
    hundred times as long as cutting off a free one.
    """
    until = time.monotonic() + GIVING_BACK_S
    left = _free_pages(session)
    while left and time.monotonic() < until:
        for _ in range(PAGES_BETWEEN_LOOKS):
            session.execute("PRAGMA incremental_vacuum(1)")
        before, left = left, _free_pages(session)
        if left == before:
            return False  # the file could not be rewritten when it was migrated
    return left > 0


def _free_pages(session: Session) -> int:
    pages: int = session.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
