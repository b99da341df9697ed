"""A store in a few dictionaries: what the real one must agree with. Written from the interface, not from the store."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from tests.store.modeljob import (
    BATCH,
    CRASH_LIMIT,
    ENDED,
    LIMITS,
    STARTABLE,
    WAITING,
    ModelJob,
    Refusal,
    RequestedJob,
    S,
)


class Model:
    """All jobs, and both clocks. Every method is what the verb of its name must do."""

    def __init__(self, wall_ms: int, store_ms: int) -> None:
        self.wall_ms = wall_ms
        self.store_ms = store_ms
        self.jobs: dict[int, ModelJob] = {}
        self.paused: set[str] = set()
        self.concurrency: dict[str, int] = {}
        self.batch: list[int] | None = None
        """How many jobs the batch has had, how many have not ended, and how many failed."""
        self._to_tell: list[tuple[int, JobState]] = []
        self._retried: list[ModelJob] = []

    def all_or_none(self, change: Callable[[], Any]) -> Any:
        """Do it; where it is refused, nothing of it was done. Those that wait for others are told at its end."""
        before = copy.deepcopy((self.jobs, self.batch))
        try:
            done = change()
        except Refusal:
            self.jobs, self.batch = before
            self._to_tell.clear()
            self._retried.clear()
            raise
        self._tell()
        return done

    def each(self, verb: Callable[[int], None], seqs: Sequence[int], *, picked: bool) -> None:
        """Do it to each of the jobs, one after the other. `picked`: those to which it cannot be done are left out."""
        for seq in dict.fromkeys(seqs):
            try:
                verb(seq)
            except Refusal:
                if not picked:
                    raise
        self._wait_again()

    # -- in

    def add(self, seq: int, requested: RequestedJob, *, hidden: bool = False) -> int:
        """The number of the job, which may be one that was there already. Raises Refusal."""
        holder = self._holder(requested.unique)
        if holder is not None and requested.on_conflict == "skip":
            return holder.seq
        if holder is not None and (requested.on_conflict == "error" or holder.state is S.PROCESSING):
            raise Refusal(ErrorCode.CONFLICT)
        if holder is not None:
            self._end(holder, S.CANCELLED)
            self._tell()
        ends = [(parent, on, self._end_of(parent, hidden)) for parent, on in requested.parents]
        if requested.batch and self._waits_for_batch([parent for parent, _, end in ends if end is None]):
            raise Refusal(ErrorCode.CONFLICT)
        job = self.jobs[seq] = ModelJob(seq, requested, requested.priority, requested.key, seq, hidden)
        job.run_at_ms = requested.run_at_ms
        if requested.delay_ms:
            job.due_ms = self.store_ms + requested.delay_ms
        hopeless = any(end is not None and not comes_true(on, end) for _, on, end in ends)
        if requested.batch:
            self._count_in_batch(jobs=1, open_=not hopeless, failed=hopeless)
        if hopeless:
            job.state = S.CANCELLED
            return seq
        job.parents = {parent: on for parent, on, end in ends if end is None}
        job.state = S.HELD if requested.hold else S.BLOCKED if job.parents else S.PENDING
        self._look(job)
        return seq

    def _end_of(self, parent: int, hidden: bool) -> JobState | None:
        """How a parent has ended; None: it has not. Raises Refusal when there is none."""
        if parent == BATCH:
            if self.batch is None:
                raise Refusal(ErrorCode.NOT_FOUND)
            return None if self.batch[1] else S.DEAD if self.batch[2] else S.COMPLETED
        if parent not in self.jobs or (self.jobs[parent].hidden and not hidden):
            raise Refusal(ErrorCode.NOT_FOUND)
        state = self.jobs[parent].state
        return state if state in ENDED else None

    def _waits_for_batch(self, ahead: list[int]) -> bool:
        while ahead:
            each = ahead.pop()
            if each == BATCH:
                return True
            ahead.extend(self.jobs[each].parents)
        return False

    def commit(self) -> None:
        """The hidden jobs are there."""
        for job in self.jobs.values():
            job.hidden = False
            self._look(job)

    def discard(self) -> None:
        """The hidden jobs will never have been there."""
        self.jobs = {seq: job for seq, job in self.jobs.items() if not job.hidden}

    def _holder(self, unique: str | None) -> ModelJob | None:
        holders = [job for job in self.jobs.values() if job.state not in ENDED and job.requested.unique == unique]
        return holders[0] if unique is not None and holders else None

    # -- the turn

    def time_comes(self) -> None:
        """A turn looks at the clocks."""
        for job in self.jobs.values():
            self._look(job)

    def startable(self) -> list[ModelJob]:
        """The jobs that a free worker may get, the best first. Of a key the best ones alone, in whatever queue."""
        taken = Counter(job.key for job in self.jobs.values() if job.in_hand)
        busy = Counter(job.requested.queue for job in self.jobs.values() if job.in_hand)
        found = []
        for job in sorted(self.jobs.values(), key=lambda job: (-job.priority, job.rank, job.seq)):
            if job.ready and (job.key is None or taken[job.key] < LIMITS[job.key]):
                taken[job.key] += 1
                queue = job.requested.queue
                if queue not in self.paused and busy[queue] < self.concurrency.get(queue, 1000):
                    found.append(job)
        return found

    def claim(self, job: ModelJob, worker: int) -> None:
        job.state, job.worker, job.ready = S.PROCESSING, worker, False
        job.run += 1
        job.runs += 1

    def never_began(self, job: ModelJob, run: int) -> None:
        """A claim is given back: it counts nowhere."""
        if job.run != run or not job.in_hand:
            return
        if job.state is S.PROCESSING:
            job.runs -= 1
            job.state, job.ready = S.PENDING, True
        job.worker = job.ending = None

    def ended(self, job: ModelJob, run: int, *, exit_code: int | None, crashed: bool) -> bool:
        """An execution has ended. False: it was told before, or is of an older run, and means nothing."""
        if job.run != run or not job.in_hand:
            return False
        job.ended_runs.append(run)
        if job.state is S.CANCELLED:
            job.ending = None
            return True
        job.worker = None
        if crashed:
            job.crashes += 1
            if job.requested.once or job.crashes > CRASH_LIMIT:
                self._end(job, S.DEAD)
            else:
                job.state, job.ready = S.PENDING, True
        elif exit_code == 0:
            self._end(job, S.COMPLETED)
        else:
            self._fail(job, exit_code)
        self._tell()
        return True

    def _fail(self, job: ModelJob, exit_code: int | None) -> None:
        job.attempts += 1
        policy = job.requested.policy
        if job.attempts >= max(policy.max_retries, 1) or exit_code in policy.no_retry_on:
            self._end(job, S.DEAD)
            return
        job.state = S.FAILED
        job.run_at_ms = None
        job.due_ms = self.store_ms + int(min(policy.backoff_base**job.attempts, policy.backoff_max) * 1000)

    # -- people

    def cancel(self, seq: int) -> None:
        job = self.known(seq)
        self.needs(job.state not in ENDED)
        job.ending, job.worker = job.worker, None
        self._end(job, S.CANCELLED)

    def hold(self, seq: int) -> None:
        job = self.known(seq)
        self.needs(job.state in WAITING)
        if job.ready:
            job.due_ms = job.run_at_ms = None
        job.state, job.ready = S.HELD, False

    def release(self, seq: int) -> None:
        job = self.known(seq)
        self.needs(job.state is S.HELD)
        job.state = S.BLOCKED if job.parents else S.PENDING
        self._look(job)

    def retry(self, seq: int) -> None:
        job = self.known(seq)
        backs_off = job.state is S.PENDING and job.attempts > 0 and job.due_ms is not None
        if job.state is not S.FAILED and not backs_off:
            self.needs(job.state in ENDED and job.ending is None)
            if self._holder(job.requested.unique) is not None:
                raise Refusal(ErrorCode.CONFLICT)
            job.attempts = job.crashes = 0
            self._retried.append(job)
            if job.requested.batch:
                self._count_in_batch(open_=1, failed=-has_failed(job.state))
        job.state, job.due_ms, job.run_at_ms = S.PENDING, None, None
        self._look(job)

    def remove(self, seq: int) -> None:
        job = self.known(seq)
        self.needs(job.state is not S.PROCESSING and job.ending is None)
        if job.state not in ENDED:
            self._end(job, S.CANCELLED)
        del self.jobs[seq]
        if job.requested.batch:
            self._count_in_batch(jobs=-1)

    def dlq_retry(self, seq: int) -> None:
        self.needs(self.known(seq).state is S.DEAD)
        self.retry(seq)

    def dlq_purge(self, seq: int) -> None:
        self.needs(self.known(seq).state is S.DEAD)
        self.remove(seq)

    def prune(self, seq: int, states: frozenset[JobState]) -> None:
        job = self.jobs.get(seq)
        if job is not None and not job.hidden and job.state in states & ENDED and job.ending is None:
            self.remove(seq)

    def move(self, seq: int) -> None:
        job = self.known(seq)
        self.needs(job.state in WAITING)
        self._look(job)

    def edit(
        self, seq: int, *, priority: int | None = None, delay_ms: int | None = None, key: str | None = "", **_: Any
    ) -> None:
        job = self.known(seq)
        self.needs(job.state is not S.PROCESSING and job.ending is None)
        if delay_ms is not None:
            self.needs(job.state in WAITING)
            job.state = S.PENDING if job.state is S.FAILED else job.state
            job.ready, job.run_at_ms = False, None
            job.due_ms = self.store_ms + delay_ms if delay_ms else None
        if priority is not None:
            job.priority = priority
        if key != "":
            job.key = key
        self._look(job)

    def known(self, seq: int) -> ModelJob:
        if seq not in self.jobs or self.jobs[seq].hidden:
            raise Refusal(ErrorCode.NOT_FOUND)
        return self.jobs[seq]

    @staticmethod
    def needs(condition: bool) -> None:
        if not condition:
            raise Refusal(ErrorCode.WRONG_STATE)

    # -- what follows from it

    def _wait_again(self) -> None:
        """Jobs that were retried wait for parents that have not ended, but for none that would wait for them."""
        retried, self._retried = self._retried, []
        for job in sorted(retried, key=lambda job: job.seq):
            for parent, on in job.requested.parents:
                is_there = self.batch is not None if parent == BATCH else parent in self.jobs
                if is_there and self._end_of(parent, True) is None and not self._waits_for(parent, job, retried):
                    job.parents[parent] = on
            if job.parents:
                job.state, job.ready = S.BLOCKED, False

    def _waits_for(self, parent: int, job: ModelJob, retried: Sequence[ModelJob]) -> bool:
        if parent == BATCH:
            members = [each for each in retried if each.requested.batch]
            return any(each is job or self._waits_for(each.seq, job, retried) for each in members)
        return parent == job.seq or any(self._waits_for(each, job, retried) for each in self.jobs[parent].parents)

    def _look(self, job: ModelJob) -> None:
        """Its time may have come; if so it has come for good, whatever the clocks do."""
        if job.state not in STARTABLE or job.ready or job.hidden:
            return
        if (job.due_ms or 0) <= self.store_ms and (job.run_at_ms or 0) <= self.wall_ms:
            job.ready, job.due_ms, job.run_at_ms = True, None, None

    def _end(self, job: ModelJob, state: JobState) -> None:
        job.state, job.ready, job.due_ms = state, False, None
        job.parents.clear()
        self._to_tell.append((job.seq, state))
        if job.requested.batch:
            self._count_in_batch(open_=-1, failed=has_failed(state))

    def _tell(self) -> None:
        """Those that wait for what has ended run, or never will."""
        while self._to_tell:
            parent, state = self._to_tell.pop(0)
            for child in list(self.jobs.values()):
                on = child.parents.pop(parent, None)
                if on is None:
                    continue
                if not comes_true(on, state):
                    self._end(child, S.CANCELLED)
                elif not child.parents and child.state is S.BLOCKED:
                    child.state = S.PENDING
                    self._look(child)

    def _count_in_batch(self, jobs: int = 0, open_: int = 0, failed: int = 0) -> None:
        batch = self.batch = self.batch or [0, 0, 0]
        batch[0] += jobs
        batch[1] += open_
        batch[2] += failed
        if open_ < 0 and not batch[1]:
            self._to_tell.append((BATCH, S.DEAD if batch[2] else S.COMPLETED))
        if not batch[0]:
            self.batch = None

    def counts(self) -> Mapping[JobState, int]:
        """How many jobs are in each state."""
        return {state: sum(job.state is state for job in self.jobs.values() if not job.hidden) for state in S}

    def busy(self) -> Iterable[tuple[int, int, int]]:
        """What workers run: (seq, run, worker)."""
        return sorted((job.seq, job.run, job.worker) for job in self.jobs.values() if job.worker is not None)


def has_failed(state: JobState) -> int:
    """1 for an end that makes a batch one that failed."""
    return int(state in (S.DEAD, S.CANCELLED))


def comes_true(on: str, state: JobState) -> bool:
    """Whether a parent's end is the one that was waited for. A cancelled parent is as good as dead."""
    return on == "any" or (on == "completed") == (state is S.COMPLETED)
