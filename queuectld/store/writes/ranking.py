"""Ranking: which priority and rank put a job first, last, or before another one of its queue.

Ranks are floats, so that there is a rank between any two; where the gap is used up, the few jobs around it are
respaced. Only jobs that could run are read, in index order, and no more than needed.
"""

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.store.mapping.models import Job
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.records import MoveTarget
from queuectld.store.writer.session import Session
from queuectld.store.writes.registry import note_last_seq, note_ranks
from queuectld.store.writes.transitions import JobSnapshot

MAX_RESPACED: Final = 10_000
MIN_GAP: Final = 2.0**-20
"""Minimum gap after respacing: enough for some twenty more moves between any two jobs."""
_IN_LANE: Final = (Job.lane == arg("lane")) & Job.lane.is_null(False) & (Job.seq != arg("besides"))
_FIRST: Final = statement(
    Job.select(Job.priority, Job.rank).where(_IN_LANE).order_by(Job.priority.desc(), Job.rank).limit(arg("one"))
)
_LAST: Final = statement(
    Job.select(Job.priority, Job.rank).where(_IN_LANE).order_by(Job.priority, Job.rank.desc()).limit(arg("one"))
)
_IN_LINE: Final = (Job.key == arg("key")) & (Job.in_line == SQL("1")) & (Job.seq != arg("besides"))
_FIRST_IN_LINE: Final = statement(
    Job.select(Job.priority, Job.rank).where(_IN_LINE).order_by(Job.priority.desc(), Job.rank).limit(arg("one"))
)
_LAST_IN_LINE: Final = statement(
    Job.select(Job.priority, Job.rank).where(_IN_LINE).order_by(Job.priority, Job.rank.desc()).limit(arg("one"))
)
_AHEAD: Final = statement(
    Job.select(Job.rank, Job.seq)
    .where(_IN_LANE & (Job.priority == arg("priority")) & (Job.rank < arg("rank")))
    .order_by(Job.rank.desc())
    .limit(arg("most"))
)
_SET_RANK: Final = statement(Job.update(rank=arg("rank")).where(Job.seq == arg("seq")))


def reposition(session: Session, moved: JobSnapshot, target: MoveTarget, other: JobSnapshot | None) -> JobSnapshot:
    """Return the job at its new position. Its priority changes where the position requires it."""
    queue = moved.queue if target.queue is None else session.queue_id(target.queue)
    if other is not None:
        if target.queue is not None and queue != other.queue:
            message = f"job {other.id} is in the queue {session.cache.queue_names[other.queue]!r}; move to there"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "queue"})
        if other.seq == moved.seq:
            raise Refused(ErrorCode.INVALID_PARAMS, "a job cannot be moved before itself", {"key": "before"})
        rank = _before(session, moved, other)
        return moved._replace(queue=other.queue, priority=other.priority, rank=rank)
    moved = moved._replace(queue=queue)
    if target.end == "first":
        return _first(session, moved)
    return _last(session, moved) if target.end == "last" else moved


def _first(session: Session, moved: JobSnapshot) -> JobSnapshot:
    """Rank the job before all that could run or are in line of its key, and before all moved to the front earlier."""
    cache = session.cache
    heads = _ends(session, moved, _FIRST, _FIRST_IN_LINE)
    priority = max([moved.priority, *(head[0] for head in heads)])
    rank = min([cache.first_rank, *(head[1] for head in heads)]) - 1
    cache.first_rank = rank
    note_ranks(session)
    return moved._replace(priority=priority, rank=rank)


def _last(session: Session, moved: JobSnapshot) -> JobSnapshot:
    """Rank the job behind all of them. The order also holds for jobs that still wait for their time or a dependency."""
    cache = session.cache
    tails = _ends(session, moved, _LAST, _LAST_IN_LINE)
    priority = min([moved.priority, *(tail[0] for tail in tails)])
    rank = max([cache.last_rank, float(cache.last_seq), *(tail[1] for tail in tails)])
    # Half-way to the number of the next new job, which goes behind it; if that is too close, take that number.
    behind = (rank + session.next_seq()) / 2
    if behind <= rank:
        behind = cache.last_seq = session.next_seq()
        note_last_seq(session)
    cache.last_rank = behind
    note_ranks(session)
    return moved._replace(priority=priority, rank=behind)


def _ends(session: Session, moved: JobSnapshot, in_lane: str, in_line: str) -> list[tuple[int, float]]:
    """Return priority and rank of the first or last job of each lane of its queue, and of those in line of its key."""
    values = {"besides": moved.seq, "one": 1}
    lanes = session.cache.lanes_of[moved.queue]
    rows = [session.execute(in_lane, values | {"lane": lane}).fetchone() for lane in lanes]
    if moved.key is not None:
        rows.append(session.execute(in_line, values | {"key": moved.key}).fetchone())
    return [row for row in rows if row is not None]


def _before(session: Session, moved: JobSnapshot, other: JobSnapshot) -> float:
    for _ in range(2):
        ahead = next(_ahead(session, moved, other, 1), None)
        if ahead is None:
            return other.rank - 1
        middle = (ahead[0] + other.rank) / 2
        if ahead[0] < middle < other.rank:
            return middle
        _respace(session, moved, other)
    raise RuntimeError(f"no rank is free before job {other.seq} after respacing")


def _ahead(session: Session, moved: JobSnapshot, other: JobSnapshot, most: int) -> Iterator[tuple[float, int, int]]:
    """Yield rank, number and lane of the jobs before the other one at its priority, nearest first."""
    values = {"besides": moved.seq, "priority": other.priority, "rank": other.rank, "most": most}
    return heapq.merge(*(
        ((rank, seq, lane) for rank, seq in session.execute(_AHEAD, values | {"lane": lane}))
        for lane in session.cache.lanes_of[other.queue]
    ), reverse=True)  # fmt: skip


def _respace(session: Session, moved: JobSnapshot, other: JobSnapshot) -> None:
    """Make room before a job: spread those right before it evenly over the next wide gap."""
    near: list[tuple[float, int, int]] = []
    for each in islice(_ahead(session, moved, other, MAX_RESPACED), MAX_RESPACED):
        width = (other.rank - each[0]) / (len(near) + 1)
        if near and width >= MIN_GAP:
            break
        near.append(each)
    else:
        width = 1.0
    for place, (_, seq, lane) in enumerate(near, 1):
        session.execute(_SET_RANK, {"seq": seq, "rank": other.rank - place * width})
        session.invalidate_lane(lane)
