"""Concurrency keys: of the jobs of one key, no more are admitted or running than the key's limit.

An admitted job is in its lane. The others are in line (column `in_line`): they have no lane, so no claim sees them.
When a job of the key ends, the first in line is admitted: highest priority, then lowest rank. The `key_limit` of the
job that is to be admitted applies.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from peewee import SQL

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.resources import demand
from queuectld.store.mapping.models import ADMITTED, Job
from queuectld.store.mapping.rows import STATES, read_needs
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.writer.lanes import LaneHead
from queuectld.store.writer.session import Session

SLICE: Final = 500
"""Maximum number of jobs admitted when one leaves; the others follow when these end."""
_OF_KEY: Final = (Job.key == arg("key")) & SQL(ADMITTED) & (Job.seq != arg("besides"))
_COUNT_ADMITTED: Final = statement(
    Job.select(SQL("count(*)")).from_(Job.select(SQL("1")).where(_OF_KEY).limit(arg("upto")))
)
_WORST: Final = statement(
    Job.select(Job.seq, Job.priority, Job.rank, Job.lane, Job.queue, Job.state)
    .where(_OF_KEY)
    .order_by(Job.priority, Job.rank.desc())
    .limit(arg("one"))
)
_NEXT: Final = statement(
    Job.select(Job.seq, Job.priority, Job.rank, Job.queue, Job.state, Job.key_limit, Job.slots, Job.needs)
    .where((Job.key == arg("key")) & (Job.in_line == SQL("1")))
    .order_by(Job.priority.desc(), Job.rank)
    .limit(arg("one"))
)
_PUT: Final = statement(Job.update(lane=arg("lane"), in_line=arg("in_line")).where(Job.seq == arg("seq")))


class Keyed(NamedTuple):
    """A job with a concurrency key, and what ranks it among the others of the key."""

    seq: int
    key: str
    limit: int
    priority: int
    rank: float


def admit(session: Session, job: Keyed) -> bool:
    """Whether the job may enter its lane now. If needed, an admitted job that ranks behind it is put back in line."""
    held = occupied(session, job.key, job.limit + 1, besides=job.seq)
    return held < job.limit or (held == job.limit and _demote_worse(session, job))


def occupied(session: Session, key: str, upto: int, *, besides: int = 0) -> int:
    """Count the other jobs of the key that are admitted or running, up to about `upto`."""
    limits = session.cache.limits
    own = limits.allocations.get(besides)
    in_hand = limits.keys.get(key, 0) - (own is not None and own.key == key)
    if in_hand >= upto:
        return in_hand
    values = {"key": key, "besides": besides, "upto": upto}
    waiting: int = session.execute(_COUNT_ADMITTED, values).fetchone()[0]
    return in_hand + waiting


def lowest_priority(session: Session, key: str) -> int | None:
    """Return the lowest priority among the admitted jobs of the key; None if there are none."""
    row = session.execute(_WORST, {"key": key, "besides": 0, "one": 1}).fetchone()
    return None if row is None else int(row[1])


@contextmanager
def deferred_admission(session: Session) -> Iterator[None]:
    """Defer the admission of next jobs until the end of the block, for requests that change many jobs.

    So no job is admitted that the same request is about to change, and none changes before it is read.
    """
    left = session.deferred_keys = Counter()
    try:
        yield
    finally:
        session.deferred_keys = None
    for key, times in left.items():
        for _ in range(times):
            if not admit_next(session, key):
                break


def admit_next(session: Session, key: str) -> bool:
    """Admit the next jobs of a key after one has left. Return whether more may follow."""
    if session.deferred_keys is not None:
        session.deferred_keys[key] += 1
        return False
    return all(_admit_first(session, key) for _ in range(SLICE))


def rebalance(session: Session, key: str) -> None:
    """Admit the first job in line if it now ranks before an admitted one of its key."""
    _admit_first(session, key)


def _admit_first(session: Session, key: str) -> bool:
    row = session.execute(_NEXT, {"key": key, "one": 1}).fetchone()
    if row is None:
        return False
    seq, priority, rank, queue, state, limit, slots, needs = row
    if not admit(session, Keyed(seq, key, limit, priority, rank)):
        return False
    lane = session.lane_id(queue, demand(slots, read_needs(needs)).key())
    session.execute(_PUT, {"seq": seq, "lane": lane, "in_line": 0})
    session.enter_lane(LaneHead(-priority, rank, seq, lane, STATES[state]))
    _count(session, queue, STATES[state], ready=True)
    return True


def _demote_worse(session: Session, job: Keyed) -> bool:
    row = session.execute(_WORST, {"key": job.key, "besides": job.seq, "one": 1}).fetchone()
    if row is None or (-job.priority, job.rank) >= (-row[1], row[2]):
        return False
    seq, _, _, lane, queue, state = row
    session.execute(_PUT, {"seq": seq, "lane": None, "in_line": 1})
    session.leave_lane(lane, seq)
    _count(session, queue, STATES[state], ready=False)
    return True


def _count(session: Session, queue: int, state: JobState, *, ready: bool) -> None:
    session.count(None, queue, state, not ready, -1)
    session.count(None, queue, state, ready, 1)
