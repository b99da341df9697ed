"""Removes queues."""

from typing import Final

from peewee import fn

from queuectl_client.protocol.vocabulary import ErrorCode, EventKind
from queuectld.domain.errors import Refused
from queuectld.domain.job import Now
from queuectld.store.mapping.models import Count, Lane, Queue
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.writer.session import Session

ALWAYS_THERE: Final = "default"
_JOBS: Final = statement(Count.select(fn.sum(Count.n)).where(Count.queue == arg("queue")))
_REMOVE_LANES: Final = statement(Lane.delete().where(Lane.queue == arg("queue")))
_REMOVE_QUEUE: Final = statement(Queue.delete().where(Queue.id == arg("queue")))


def remove(session: Session, name: str, now: Now) -> None:
    """Remove a queue that has no jobs, hidden ones of an open batch included, with its lanes and its limits.

    Its counts stay, each 0: this commit may still have to write some. Refused (not_found) if there is none,
    (wrong_state) if it has jobs or is `default`.
    """
    number = session.cache.queue_ids.get(name)
    if number is None:
        raise Refused(ErrorCode.NOT_FOUND, f"no such queue: {name!r}", {"name": name})
    if name == ALWAYS_THERE:
        raise Refused(ErrorCode.WRONG_STATE, f"the queue {name} always exists; it cannot be removed", {"name": name})
    values = {"queue": number}
    jobs = (session.execute(_JOBS, values).fetchone()[0] or 0) + session.uncounted(number)
    if jobs:
        message = f"the queue {name} has {jobs:,} job{'' if jobs == 1 else 's'}, ended ones included"
        raise Refused(ErrorCode.WRONG_STATE, f"{message}; remove or move them first", {"name": name, "jobs": jobs})
    for text in (_REMOVE_LANES, _REMOVE_QUEUE):
        session.execute(text, values)
    session.forget_queue(number)
    session.record_event(EventKind.QUEUE_CHANGED, now, queue=name, detail={"removed": True})
