"""Adding jobs: one, or many at once, all or none."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from peewee import SQL

from queuectl_client.protocol.dependencies import BATCH_PREFIX
from queuectl_client.protocol.vocabulary import ErrorCode, EventKind, JobState, ReasonCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, NewJob, Now
from queuectld.domain.reason import Reason
from queuectld.domain.resources import demand
from queuectld.store.mapping import models
from queuectld.store.mapping.jobrows import (
    COMMON,
    INITIAL,
    RARE,
    NewRow,
    job_values,
    ordinary_row,
    read_new_job,
)
from queuectld.store.mapping.rows import Row
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.records import Added, AddedOne
from queuectld.store.writer.lanes import LaneHead
from queuectld.store.writer.session import Session
from queuectld.store.writes import batches, concurrency_keys
from queuectld.store.writes.dependencies import (
    INSERT_DEPENDENCY,
    INSERT_FORWARD,
    Parents,
    id_of,
    resolve,
    take_forward,
    waits_for,
    waits_for_batch,
)
from queuectld.store.writes.dependents import note_end
from queuectld.store.writes.transitions import job, snapshot, transition

_Job: Final = models.Job
_AS_MOST: Final = {
    name: SQL(f"'{value}'" if isinstance(value, str) else str(value))
    for name, value in {**INITIAL, **RARE}.items() if value is not None
}  # fmt: skip
_INSERT_ORDINARY: Final = insert_row(_Job, COMMON, _AS_MOST)
_INSERT: Final = statement(
    _Job.insert({
        **{getattr(_Job, name): _AS_MOST[name] for name in INITIAL if name in _AS_MOST},
        **{getattr(_Job, name): arg(name) for name in (*COMMON, *RARE)},
    })
)  # fmt: skip
_SEQ_OF_ID: Final = statement(_Job.select(_Job.seq, _Job.upload).where(_Job.id == arg("id")))
_UPLOAD_OF: Final = statement(_Job.select(_Job.upload).where(_Job.seq == arg("seq")))
_TAKEN: Final = statement(_Job.select(_Job.id).where(SQL("id IN (SELECT value FROM json_each(:ids))")))
_KEY_HOLDER: Final = statement(
    _Job.select(_Job.seq, _Job.id, _Job.state).where((_Job.unique_key == arg("key")) & SQL(models.HOLDS_KEY))
)  # fmt: skip
MAX_KEY_LIMIT: Final = 1_000_000
"""The largest possible limit of a concurrency key."""
MAX_EDGES: Final = 200_000
"""Maximum number of dependency edges in one request: a short selector may match many jobs."""
_SPARE: Final = 16
"""Extra numbers checked at once, so that a few taken ids need no second query."""
_FIRST_STATE_EVENT: Final = {state: EventKind(f"job.{state}") for state in JobState}


def add(session: Session, new: NewJob, now: Now) -> AddedOne:
    """Store one job. Refused (conflict) if its id or unique key is taken; `skip` returns the holder of the key."""
    adder = Adder(session, now, None, (new,))
    seq, new_row = adder.put(new)
    adder.close()
    if new_row is None:
        return AddedOne(job(session, seq), skipped=True)
    added = read_new_job(new, new_row)
    record_added(session, added, now)
    return AddedOne(added, replaced=adder.replaced)


def record_added(session: Session, added: Job, now: Now) -> None:
    """Record the event of a job that was added by itself."""
    session.record_event(
        _FIRST_STATE_EVENT[added.state], now, job_id=added.id, seq=added.seq, queue=added.queue,
        detail={} if added.reason is None else {"reason": added.reason, "reason_code": added.reason_code},
    )  # fmt: skip


def add_many(session: Session, new: Sequence[NewJob], now: Now) -> Added:
    """Store all jobs or, if one is refused, none; the refusal has its index. Records one event for all."""
    added, count = put_all(session, new, now, None)
    if count:
        first, last = min(added.seqs), max(added.seqs)
        session.record_event(EventKind.JOBS_ADDED, now, detail={"first_seq": first, "last_seq": last, "count": count})
    return added


def put_all(session: Session, new: Sequence[NewJob], now: Now, upload: int | None, first: int = 0) -> tuple[Added, int]:
    """Store jobs without an event; also return how many are new. Indexes in refusals count from `first`."""
    adder = Adder(session, now, upload, new)
    seqs, skipped = [], []
    for index, each in enumerate(new, first):
        try:
            seq, new_row = adder.put(each)
            seqs.append(seq)
            if new_row is None:
                skipped.append(index)
        except Refused as refused:
            data = {**(refused.data or {}), "index": index}
            raise Refused(refused.code, f"job {index + 1}: {refused.message}", data) from refused
    adder.close()
    return Added([adder.ids[seq] for seq in seqs], seqs, skipped), adder.fresh


@dataclass(slots=True)
class _KeyUse:
    """How many jobs occupy a key, and the lowest priority among the admitted ones."""

    occupied: int
    lowest: int | None


class Adder:
    """Adds the jobs of one request to the store, in order."""

    def __init__(self, session: Session, now: Now, upload: int | None, new: Sequence[NewJob]) -> None:
        self.ids: dict[int, str] = {}
        self.fresh = 0
        self.replaced: str | None = None
        self._named: dict[str, int] = {}
        self._session = session
        self._now = now
        self._upload = upload
        self._ordinary: list[Row] = []
        self._rows: list[dict[str, Any]] = []
        self._counts: Counter[tuple[int, JobState, bool]] = Counter()
        self._edges: list[tuple[int, int, str]] = []
        self._environment: tuple[Mapping[str, str], int] | None = None
        self._asked = {each.id for each in new if each.id is not None}
        self._expected = self._asked | {BATCH_PREFIX + each.batch for each in new if each.batch is not None}
        self._numbers_seen = 0
        self._first = session.cache.last_seq + 1
        self._edges_owed = 0
        self._taken: set[str] = set()
        self._still_to_number = len(new)
        self._keys: dict[str, _KeyUse] = {}
        self._batches: dict[str, list[int]] = {}
        """By name: number, jobs, jobs that have not ended, jobs that have failed."""
        self._forward: dict[str, list[tuple[int, str]]] = {}
        self._looked_at: set[int] = set()

    def put(self, new: NewJob) -> tuple[int, NewRow | None]:
        """Return the job's number and its new row; None if it was there already. Written by `flush`."""
        if new.options.unique_key is not None:
            holder = self._holder_of_key(new)
            if holder is not None:
                return holder, None
        parents = None
        if new.depends_on:
            self.flush()
            parents = Parents(self._session, new.depends_on, self._upload, self._expected, new.resolved, self._first)
            self._edges_owed += len(parents.waits_for)
            if self._edges_owed > MAX_EDGES:
                message = f"together they have more than {MAX_EDGES:,} dependencies; depend on a batch instead"
                raise Refused(ErrorCode.TOO_LARGE, message, {"key": "depends_on"})
            self._refuse_circle(new, parents)
        if new.id is not None:
            self._refuse_taken(new.id)
        seq = self._number(new.id)
        new_row = self._new_row(new, seq, parents)
        if (row := ordinary_row(new, new_row)) is not None:
            self._ordinary.append(row)
        else:
            self._rows.append(job_values(new, new_row))
        self.ids[seq] = new_row.id
        if new.id is not None:
            self._named[new.id] = seq
        self.fresh += 1
        self._enter(new, new_row)
        if parents is not None and new_row.state is not JobState.CANCELLED:
            self._edges.extend((parent, seq, on) for parent, on in parents.waits_for.items())
            self._record_forward(parents, seq)
        if new.id is not None and self._resolve_forward(seq, new.id) and new_row.state is JobState.CANCELLED:
            note_end(self._session, seq, new.id, new_row.state)
        return seq, new_row

    def _refuse_circle(self, new: NewJob, parents: Parents) -> None:
        """Refuse a job that would wait for the end of its own batch, directly or by way of others."""
        if new.batch is None:
            return
        found = batches.find(self._session, new.batch)
        own = BATCH_PREFIX + new.batch
        if own in parents.later or (found is not None and waits_for_batch(
            self._session, parents.waits_for, found.id, self._looked_at
        )):  # fmt: skip
            message = f"dependency cycle: the job is in the batch {new.batch!r} and would wait for itself"
            raise Refused(ErrorCode.CONFLICT, message, {"key": "depends_on"})

    def _record_forward(self, parents: Parents, child: int) -> None:
        """Remember dependencies on jobs that come later in the request or upload."""
        if self._upload is not None:
            rows = [(self._upload, parent_id, child, on) for parent_id, on in parents.later.items()]
            self._session.executemany(INSERT_FORWARD, rows)
            return
        for parent_id, on in parents.later.items():
            self._forward.setdefault(parent_id, []).append((child, on))

    def _resolve_forward(self, parent: int, name: str) -> bool:
        """Add the edges of jobs that named this job or batch before it was added. Returns whether there were any."""
        children = self._forward.pop(name, [])
        if self._upload is not None:
            children = take_forward(self._session, self._upload, name)
        if not children:
            return False
        self.flush()
        self._looked_at.clear()
        for child, on in children:
            if waits_for(self._session, (parent,), child, set()):
                other = self.ids.get(child) or id_of(self._session, child)
                message = f"dependency cycle: {name} and {other} would wait for each other"
                if child == parent:
                    message = f"dependency cycle: {name} would wait for itself"
                raise Refused(ErrorCode.CONFLICT, message, {"seq": child})
            self._edges.append((parent, child, on))
        self.flush()
        return True

    def close(self) -> None:
        """Finish the request. Raises Refused (not_found) if a job depends on one that was not added."""
        self.flush()
        for parent_id, children in self._forward.items():
            message = f"depends_on: no such job: {parent_id!r}; it was not stored, as its unique key is taken"
            raise Refused(ErrorCode.NOT_FOUND, message, {"id": parent_id, "seq": children[0][0]})
        resolve(self._session, self._now)

    def flush(self) -> None:
        """Write all rows, counts and edges collected so far."""
        if self._ordinary:
            self._session.executemany(_INSERT_ORDINARY, self._ordinary)
            self._ordinary = []
        if self._rows:
            self._session.executemany(_INSERT, self._rows)
            self._rows = []
        for (queue, state, ready), n in self._counts.items():
            self._session.count(self._upload, queue, state, ready, n)
        self._counts.clear()
        if self._edges:
            self._session.executemany(INSERT_DEPENDENCY, self._edges)
            self._edges = []
        for batch, jobs, open_jobs, failed in self._batches.values():
            batches.change(self._session, batch, jobs=jobs, open_jobs=open_jobs, failed=failed)
        self._batches.clear()

    def _new_row(self, new: NewJob, seq: int, parents: Parents | None) -> NewRow:
        session, now = self._session, self._now
        due_ms = now.store_ms + new.delay_ms if new.delay_ms > 0 else None
        state, reason = JobState.PENDING, None
        if parents is not None and parents.unsatisfiable:
            state, reason, due_ms = JobState.CANCELLED, parents.unsatisfiable, None
        elif new.hold:
            state = JobState.HELD
        elif parents is not None and (parents.waits_for or parents.later):
            state = JobState.BLOCKED
        run_at_ms = new.run_at_ms if due_ms is None else now.wall_ms + new.delay_ms
        queue = session.queue_id(new.queue)
        waits = due_ms is not None or (new.run_at_ms is not None and new.run_at_ms > now.wall_ms)
        lane, in_line = None, False
        if state is JobState.PENDING and self._upload is None and not waits:
            in_line = new.options.key is not None and not self._admit(new, new.options.key, seq)
            lane = None if in_line else session.lane_id(queue, lane_needs(new))
        return NewRow(
            seq, new.id or f"job_{seq}", state, queue, lane, self._upload, due_ms, run_at_ms, now.wall_ms,
            now.wall_ms if state is JobState.CANCELLED else None, reason,
            parents.named if parents is not None else (), self._environment_of(new), in_line,
            None if new.batch is None else self._join(new.batch, state),
        )  # fmt: skip

    def _admit(self, new: NewJob, key: str, seq: int) -> bool:
        """Like `concurrency_keys.admit`, without a query for each of many jobs of one key."""
        use = self._keys.get(key)
        if use is None:
            self.flush()
            occupied = concurrency_keys.occupied(self._session, key, MAX_KEY_LIMIT)
            use = _KeyUse(occupied, concurrency_keys.lowest_priority(self._session, key))
            self._keys[key] = use
        if use.occupied >= new.options.key_limit:
            if use.lowest is None or new.priority <= use.lowest:
                return False
            self.flush()
            keyed = concurrency_keys.Keyed(seq, key, new.options.key_limit, new.priority, seq)
            if not concurrency_keys.admit(self._session, keyed):
                return False
            del self._keys[key]
            return True
        use.occupied += 1
        use.lowest = new.priority if use.lowest is None else min(use.lowest, new.priority)
        return True

    def _join(self, name: str, state: JobState) -> int:
        counted = self._batches.get(name)
        if counted is None:
            number = batches.number_of(self._session, name)
            self._resolve_forward(-number, BATCH_PREFIX + name)
            counted = self._batches[name] = [number, 0, 0, 0]
        ended = state is JobState.CANCELLED
        for new_row, more in enumerate((1, not ended, ended), 1):
            counted[new_row] += more
        return counted[0]

    def _enter(self, new: NewJob, new_row: NewRow) -> None:
        session = self._session
        self._counts[new_row.queue, new_row.state, new_row.lane is not None] += 1
        if new_row.lane is not None:
            session.enter_lane(LaneHead(-new.priority, new_row.seq, new_row.seq, new_row.lane, new_row.state))
        elif new_row.due_ms is not None or new_row.run_at_ms is not None:
            session.due_changed = True

    def _environment_of(self, new: NewJob) -> int:
        """Count one more job for its environment. Jobs of one request mostly share it, so it is hashed once."""
        known = self._environment
        if known is None or known[0] is not new.environment:
            known = (new.environment, self._session.environment_id(new.environment))
            self._environment = known
        self._session.use_environment(known[1], 1)
        return known[1]

    def _refuse_taken(self, wanted: str) -> None:
        row = self._session.execute(_SEQ_OF_ID, {"id": wanted}).fetchone()
        if wanted in self._named or (row is not None and self._upload is not None and row[1] == self._upload):
            # Do not name a number that will never exist: this request stores all of its jobs or none.
            message = f"the id {wanted!r} is given twice: an earlier job of the request has it"
            raise Refused(ErrorCode.CONFLICT, message, {"id": wanted})
        if row is not None:
            message = f"the id {wanted!r} is taken by job {row[0]}; an id is free again when its job is removed"
            raise Refused(ErrorCode.CONFLICT, message, {"id": wanted, "seq": row[0]})

    def _number(self, wanted: str | None) -> int:
        """Take the next number whose `job_N` is not the id of another job."""
        session = self._session
        while True:
            seq = session.next_seq()
            if seq > self._numbers_seen:
                self._look_ahead(seq)
            session.cache.last_seq = seq
            name = f"job_{seq}"
            if name == wanted or (name not in self._taken and name not in self._asked):
                self._still_to_number -= 1
                return seq

    def _look_ahead(self, first: int) -> None:
        self._numbers_seen = first + self._still_to_number - 1 + (_SPARE if self._still_to_number > 1 else 0)
        execute, names = self._session.execute, [f"job_{seq}" for seq in range(first, self._numbers_seen + 1)]
        # A single id is found faster than a list of one.
        is_free = len(names) == 1 and not execute(_SEQ_OF_ID, {"id": names[0]}).fetchone()
        self._taken = set() if is_free else {row[0] for row in execute(_TAKEN, {"ids": json.dumps(names)})}

    def _holder_of_key(self, new: NewJob) -> int | None:
        """Return the holder of the unique key if `skip` keeps it. With `replace`, cancel it; else raise Refused."""
        self.flush()
        session, unique, conflict = self._session, new.options.unique_key, new.options.on_conflict
        row = session.execute(_KEY_HOLDER, {"key": unique}).fetchone()
        if row is None:
            return None
        seq, holder_id, state = row
        holder = snapshot(session, seq)
        if conflict == "skip" and (holder is not None or seq in self.ids or self._is_of_this_upload(seq)):
            self.ids[seq] = holder_id
            return int(seq)
        replaceable = holder is not None and holder.state is not JobState.PROCESSING
        if conflict == "replace" and self._upload is None and replaceable and holder is not None:
            why = Reason.of(ReasonCode.CANCELLED, "replaced by a newer job of the same unique key")
            transition(session, holder, holder._replace(
                state=JobState.CANCELLED, lane=None, due_ms=None, finished_ms=self._now.wall_ms,
            ).with_reason(why), self._now)  # fmt: skip
            resolve(session, self._now)
            # It, or one of its dependents, may have a concurrency key that is cached here.
            self._keys.clear()
            self.replaced = str(holder_id)
            return None
        if seq in self.ids or (holder is None and self._is_of_this_upload(seq)):
            message = f"the unique key {unique!r} is given twice: an earlier job of the request has it"
            raise Refused(ErrorCode.CONFLICT, message, {"key": "unique_key"})
        message = f"the unique key {unique!r} is held by job {holder_id} ({state}) until it has ended"
        if conflict == "replace":
            message += "; a running job, or any job by a batch in several messages, is not replaced"
        raise Refused(ErrorCode.CONFLICT, message, {"id": holder_id, "seq": seq, "key": "unique_key"})

    def _is_of_this_upload(self, seq: int) -> bool:
        row = self._session.execute(_UPLOAD_OF, {"seq": seq}).fetchone()
        return self._upload is not None and row is not None and row[0] == self._upload


def lane_needs(new: NewJob) -> str:
    """Return the part of the lane key of a new job besides the queue; like `JobSnapshot.lane_needs`."""
    options = new.options
    return "" if options.slots == 1 and not options.needs else demand(options.slots, options.needs).key()
