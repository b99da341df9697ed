"""What is no longer needed goes, in slices that keep nobody waiting."""

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
"""Jobs looked at in one question."""
GIVING_BACK_S: Final = 0.01
"""For so long pages are given back in one commit: what is asked for meanwhile waits."""
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
    """Forget some of the oldest events, down to the newest `keep`. True: there are more to forget."""
    oldest: int | None = session.execute(_OLDEST).fetchone()[0]
    below = session.cache.last_event_seq - max(keep, 1) + 1
    if oldest is None or oldest >= below:
        return False
    session.execute(_DELETE_EVENTS, {"below": min(below, oldest + SLICE)})
    return oldest + SLICE < below


def prune_requests(session: Session, before_ms: int) -> bool:
    """Forget some of the oldest answers from before a wall time. True: there may be more."""
    rows = session.execute(_OLD_REQUESTS, {"slice": SLICE}).fetchall()
    # By order of arrival: after the clock was set back some are kept longer, none shorter.
    old = 0
    for number, created_ms in rows:
        if created_ms >= before_ms:
            break
        old = number
    if old:
        session.execute(_DELETE_REQUESTS, {"upto": old})
    return bool(rows) and old == rows[-1][0]


def oldest_request(connection: sqlite3.Connection) -> int | None:
    """The wall time of the oldest answer that is kept; None when there is none."""
    row = connection.execute(_OLDEST_REQUEST, {"slice": 1}).fetchone()
    return row[0] if row else None


def ended_jobs(connection: sqlite3.Connection, after: int) -> tuple[int, list[tuple[int, JobState, int]]]:
    """Of the next jobs those that have ended: number, state, wall time. And the last number looked at; 0: no more.

    By number, without an index on the time: that would cost each job that ends, and this runs now and then.
    """
    rows = connection.execute(_SELECT_STATES, {"after": after, "slice": LOOKED_AT}).fetchall()
    ended = [(seq, JobState(state), finished) for seq, state, finished in rows if state in ENDED_STATES]
    return (rows[-1][0] if rows else 0), ended


def present(connection: sqlite3.Connection, seqs: set[int]) -> set[int]:
    """Those of the jobs that are in the store."""
    return {row[0] for row in connection.execute(_PRESENT, {"seqs": json.dumps(sorted(seqs))})}


def give_back(session: Session) -> bool:
    """Cut some of the free pages off the end of the file, after those in use there have moved. True: there are more.

    What was deleted can be read in free pages; with the last of them it is out of the file. By time and not by pages:
    to move one takes a hundred times as long as to cut a free one off.
    """
    until = time.monotonic() + GIVING_BACK_S
    left = _free_pages(session)
    while left and time.monotonic() < until:
        for _ in range(PAGES_BETWEEN_LOOKS):
            session.execute("PRAGMA incremental_vacuum(1)")
        before, left = left, _free_pages(session)
        if left == before:
            return False  # a file that could not be written anew when it was migrated
    return left > 0


def _free_pages(session: Session) -> int:
    pages: int = session.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
