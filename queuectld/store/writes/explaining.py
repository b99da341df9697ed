"""`explain`: every rule that keeps a job from running now, its position, and when it may start.

Runs on the writer thread, whose cache knows the running jobs. The number of rows it reads is bounded.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import ENDED_STATES, JobState
from queuectld.domain.job import Now
from queuectld.domain.outcome import Survivor
from queuectld.domain.resources import SLOTS
from queuectld.domain.states import backs_off
from queuectld.store.mapping import models
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.reads import selectors
from queuectld.store.records import Explanation, Rule
from queuectld.store.writer.lanes import LaneHead
from queuectld.store.writer.session import Session
from queuectld.store.writes.changes import require_snapshot
from queuectld.store.writes.claims import MAX_SKIPPED, find_shortages, read_head
from queuectld.store.writes.transitions import UNTIL_THEY_END, JobSnapshot

MAX_COUNTED: Final = 10_000
"""Positions are counted up to here."""
SHOWN: Final = 5
"""Jobs named for one rule."""
_Job: Final = models.Job
_Edge: Final = models.Dependency


def _counted(condition: Any) -> str:
    return statement(_Job.select(SQL("count(*)")).from_(
        _Job.select(SQL("1")).where(condition).limit(arg("most"))
    ))  # fmt: skip


_LANE = (_Job.lane == arg("lane")) & _Job.lane.is_null(False)
_LINE = (_Job.key == arg("key")) & (_Job.in_line == SQL("1"))
_HIGHER = _Job.priority > arg("priority")
_SOONER = (_Job.priority == arg("priority")) & (_Job.rank < arg("rank"))
_AHEAD_IN_LANE: Final = {"higher": _counted(_LANE & _HIGHER), "sooner": _counted(_LANE & _SOONER)}
_AHEAD_IN_LINE: Final = {"higher": _counted(_LINE & _HIGHER), "sooner": _counted(_LINE & _SOONER)}
_PARENTS: Final = statement(_Edge.select(_Edge.parent, _Edge.on).where(_Edge.child == arg("child")).limit(arg("most")))
_PARENT: Final = statement(_Job.select(_Job.id, _Job.state).where(_Job.seq == arg("seq")))
_BATCH: Final = statement(
    models.Batch.select(models.Batch.name, models.Batch.open_jobs).where(models.Batch.id == arg("id"))
)
_ADMITTED: Final = statement(
    _Job.select(_Job.id).where((_Job.key == arg("key")) & SQL(models.ADMITTED)).limit(arg("most"))
)
_ID: Final = statement(_Job.select(_Job.id).where(_Job.seq == arg("seq")))
_ON: Final = {"completed": "to succeed", "dead": "to fail", "any": "to end"}


def explain(session: Session, named: int | str, now: Now) -> Explanation:
    """Return all that holds the job back, the first obstacle first. No rules: it starts in a moment."""
    job = require_snapshot(session, selectors.require(session.connection, named))
    ahead, exact = _ahead(session, job)
    rules = list(_rules(session, job, now, ahead))
    starts_ms = now.wall_ms if not rules else max((rule.until_ms or 0 for rule in rules), default=0) or None
    if any(rule.until_ms is None and rule.rule not in _PASSING for rule in rules):
        starts_ms = None
    waits = job.lane is not None or job.in_line
    worker = job.worker if job.worker is not None else job.ending
    return Explanation(job.id, job.state, rules, ahead + 1 if waits else None, exact, starts_ms, worker)


_PERIODS: Final = {1_000: "a second", 60_000: "a minute", 3_600_000: "an hour", 86_400_000: "a day"}
_PASSING: Final = frozenset({"position", "workers-busy"})
"""Rules that do not affect the earliest start."""


def _rules(session: Session, job: JobSnapshot, now: Now, ahead: int) -> Iterator[Rule]:
    left = session.cache.survivors.get(job.seq)
    if job.state in ENDED_STATES or job.state is JobState.PROCESSING:
        yield _over(job)
        if left:
            yield _survivors(left, "")
        return
    if left:
        yield _survivors(left, " It starts once that has ended.")
    if job.state is JobState.HELD:
        yield Rule("held", "It is held until somebody releases it.")
    yield from _parents(session, job)
    yield from _time(job, now)
    if job.upload is not None and job.state is JobState.PENDING:
        yield Rule("batch", "The jobs that came with it are being let in.")
    if job.in_line:
        yield _key(session, job, ahead)
    yield from _queue(session, job, now, ahead)
    if job.lane is not None:
        yield from _resources(session, job)
    yield from _workers(session)
    if job.lane is not None and ahead:
        yield Rule("position", f"{_many(ahead, 'job')} of its queue {'goes' if ahead == 1 else 'go'} before it.")


def _over(job: JobSnapshot) -> Rule:
    if job.state is JobState.PROCESSING:
        paused = "; it is paused until it is resumed" if job.paused else ""
        return Rule("running", f"Worker w{job.worker} runs it{paused}.")
    if job.ending is not None:
        return Rule("ending", f"It is cancelled; worker w{job.ending} still ends its processes.")
    why = f" ({job.reason})" if job.reason and job.reason != job.state else ""
    return Rule("ended", f"It has ended: {job.state}{why}. It runs again only when it is retried.")


def _survivors(left: Sequence[Survivor], then: str) -> Rule:
    pids = ", ".join(f"pid {each.pid}" for each in left)
    why = "; ".join(each.words for each in left)
    return Rule("survivors", f"Its last run may still run as {pids}: {why}.{then}")


def _parents(session: Session, job: JobSnapshot) -> Iterator[Rule]:
    rows = session.execute(_PARENTS, {"child": job.seq, "most": SHOWN + 1}).fetchall()
    for parent, on in rows[:SHOWN]:
        if parent < 0:
            name, left = session.execute(_BATCH, {"id": -parent}).fetchone() or ("", 0)
            words = f"It waits for the batch {name}, of which {_many(left, 'job')} {'has' if left == 1 else 'have'}"
            yield Rule("dependency", f"{words} not ended, {_ON[on]}.", jobs=(f"batch:{name}",))
        else:
            id_, state = session.execute(_PARENT, {"seq": parent}).fetchone() or (str(parent), "gone")
            yield Rule("dependency", f"It waits for job {id_} ({state}) {_ON[on]}.", jobs=(id_,))
    if len(rows) > SHOWN:
        yield Rule("dependency", "It waits for more jobs besides.")


def _time(job: JobSnapshot, now: Now) -> Iterator[Rule]:
    if job.due_ms == UNTIL_THEY_END:
        return
    if job.due_ms is not None and job.due_ms > now.store_ms:
        until_ms = now.wall_ms + job.due_ms - now.store_ms
        if backs_off(job.state, job.attempts, waits=True):
            yield Rule("backoff", "It failed, and waits before it is tried again.", until_ms)
        else:
            yield Rule("delay", "It is delayed.", until_ms)
    elif job.due_ms is None and job.lane is None and not job.in_line and (job.run_at_ms or 0) > now.wall_ms:
        yield Rule("run-at", "Its time to run has not come.", job.run_at_ms)


def _key(session: Session, job: JobSnapshot, ahead: int) -> Rule:
    values = {"key": job.key, "most": SHOWN}
    holders = [row[0] for row in session.execute(_ADMITTED, values)]
    for allocation in session.cache.limits.allocations.values():
        if allocation.key == job.key and len(holders) < SHOWN:
            holders.extend(row[0] for row in session.execute(_ID, {"seq": allocation.seq}))
    words = f"Of its key {job.key!r} no more than {_many(job.key_limit, 'job')} may run at once"
    first = f", and {_many(ahead, 'job')} of the key {'goes' if ahead == 1 else 'go'} before it" if ahead else ""
    return Rule("key", f"{words}; it waits for {', '.join(holders)}{first}.", jobs=tuple(holders))


def _queue(session: Session, job: JobSnapshot, now: Now, ahead: int) -> Iterator[Rule]:
    limits, name = session.cache.limits.queues[job.queue], session.cache.queue_names[job.queue]
    if limits.paused:
        because = f": {limits.paused_because}" if limits.paused_because else ""
        yield Rule("paused", f"The queue {name} is paused{because}.")
    if limits.concurrency is not None and limits.running >= limits.concurrency:
        yield Rule("concurrency", f"The queue {name} runs {limits.running} of at most {limits.concurrency} at once.")
    if limits.rate is not None and (job.lane is not None or limits.opens_ms is not None):
        opens_ms = limits.rate.opens_ms(limits.starts, now.store_ms, ahead)
        if opens_ms > now.store_ms:
            each = _PERIODS[limits.rate.period_ms]
            words = f"The queue {name} starts at most {_many(limits.rate.limit, 'job')} {each}."
            yield Rule("rate", words, now.wall_ms + opens_ms - now.store_ms)


def _resources(session: Session, job: JobSnapshot) -> Iterator[Rule]:
    assert job.lane is not None
    resources, wanted = session.cache.limits.resources, session.cache.demands[job.lane]
    asked = dict(((SLOTS, wanted.slots), *wanted.needs))
    for name, much in resources.exceeding_total(wanted):
        if name != SLOTS or resources.workers or resources.slots is not None:
            total = resources.total(name)
            there_are = f"there {'is' if total == 1 else 'are'} {resources.text(name, total)} in all"
            yield Rule("resources", f"It needs {name}={resources.text(name, much)}, and {there_are}.")
    short = resources.shortages(wanted, {})
    for name in short:
        if name == SLOTS and asked[name] == 1 and resources.slots is None:
            continue  # a slot is a worker then; see _workers
        free = max(resources.free(name), 0)
        if asked[name] <= resources.total(name):
            needed, left, of_all = (resources.text(name, n) for n in (asked[name], free, resources.total(name)))
            be = "is" if free == 1 else "are"
            yield Rule("resources", f"It needs {name}={needed}, and {left} of {of_all} {be} free.")
    if not short:
        for name in _kept_by_others(session, job):
            needed = resources.text(name, asked[name])
            yield Rule("reserved", f"It needs {name}={needed}, which a bigger job before it is waiting for.")


def _kept_by_others(session: Session, job: JobSnapshot) -> list[str]:
    """Return the resources that are short only because jobs before it have reserved them, as in a claim."""
    assert job.lane is not None
    reserved: dict[str, int] = {}
    own = LaneHead(-job.priority, job.rank, job.seq, job.lane, job.state)
    try:
        for _ in range(MAX_SKIPPED):
            head = session.lanes.best(partial(read_head, session))
            if head is None or head >= own:
                break
            find_shortages(session, head, reserved)
            session.lanes.skip(head.lane)
    finally:
        session.lanes.unskip_all()
    return session.cache.limits.resources.shortages(session.cache.demands[job.lane], reserved)


def _workers(session: Session) -> Iterator[Rule]:
    workers, busy = len(session.cache.workers), len(session.cache.limits.allocations)
    if not workers:
        yield Rule("workers", "There are no workers.")
    elif busy >= workers:
        yield Rule("workers-busy", "Its worker is busy." if workers == 1 else f"All {workers} workers are busy.")


def _ahead(session: Session, job: JobSnapshot) -> tuple[int, bool]:
    """Count the jobs of its queue, or in line of its key, that go before it; also whether the count is exact."""
    values = {"priority": job.priority, "rank": job.rank}
    where: list[dict[str, object]] = []
    if job.in_line:
        where = [{"key": job.key}]
    elif job.lane is not None:
        where = [{"lane": lane} for lane in session.cache.lanes_of[job.queue]]
    ahead = 0
    for line in where:
        for text in (_AHEAD_IN_LINE if job.in_line else _AHEAD_IN_LANE).values():
            ahead += session.execute(text, values | line | {"most": MAX_COUNTED - ahead}).fetchone()[0]
    return ahead, ahead < MAX_COUNTED


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
