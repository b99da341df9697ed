"""Random operations on the store and on a model: both agree and the invariants hold after every step.

Every run does the same walks. `python -m tests.store.test_state_machine WALKS [STEPS]` does that many other ones, and
prints the steps that led to a disagreement.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Claimed, Job
from queuectld.domain.outcome import EndKind, Outcome
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.records import MoveTarget
from tests.store import verbs
from tests.store.lab import Lab
from tests.store.model import Model
from tests.store.modeljob import BATCH, CRASH_LIMIT, ENDED, WAITING, Refusal, RequestedJob
from tests.store.strategies import CHANGES, ENDS, MANY, REQUEST, REQUESTED_JOBS, VERBS, as_new

WORKERS: Final = 3


class StoreMachine(RuleBasedStateMachine):
    """A store in a real file, three workers, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="qm", dir="/tmp"))
        self.homes = 0
        self.running: dict[int, Claimed] = {}
        self.told: list[Outcome] = []
        self.upload: str | None = None

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(first=st.lists(REQUESTED_JOBS, min_size=3, max_size=8))
    def open(self, first: list[RequestedJob]) -> None:
        self.lab = Lab(self.folder / "0" / "queuectl.db")
        self.model = Model(self.lab.wall_ms, self.lab.store_ms)

        async def begin() -> None:
            self._begin()
            await self.lab.hire(WORKERS)

        self.do(begin())
        for requested in first:
            self._enqueue(requested)

    def _begin(self) -> None:
        """Open the store. What is told here is not about disks, so none is waited for."""
        self.lab.open()
        self.lab.store._writer._connection.execute("PRAGMA synchronous = OFF")

    def teardown(self) -> None:
        try:
            if hasattr(self, "lab"):
                self.do(self.lab.store.close())
                assert check_invariants(self.lab.path) == []
                assert self.lab.broken == []
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)

    # -- jobs come in

    @rule(requested=REQUESTED_JOBS, at=st.sampled_from([None, None, None, -2000, 2000]))
    def enqueue(self, requested: RequestedJob, at: int | None) -> None:
        if at is not None and not requested.delay_ms:
            requested = replace(requested, run_at_ms=self.model.wall_ms + at)
        self._enqueue(requested)

    def _enqueue(self, requested: RequestedJob) -> None:
        seq = self._last_seq() + 1
        (requested,) = self._told_apart([requested])
        expected = self._expect(lambda: self.model.add(seq, requested))
        got = self._try(verbs.add(self.lab.store, as_new(requested), now=self.lab.now))
        assert got == expected if isinstance(expected, Refusal) else got.seq == expected

    @rule(many=REQUEST)
    def enqueue_many(self, many: list[RequestedJob]) -> None:
        many = self._told_apart(many)
        expected = self._expect(lambda: self._add_to_model(many))
        got = self._try(self.lab.store.intake.add_many([as_new(requested) for requested in many], now=self.lab.now))
        assert got == expected if isinstance(expected, Refusal) else got.seqs == expected, (got, expected)

    def _told_apart(self, many: list[RequestedJob]) -> list[RequestedJob]:
        """None waits for a batch that first comes with this request: test_batch_ends has those."""
        if self.model.batch is not None or not any(requested.batch for requested in many):
            return many
        return [replace(each, parents=tuple(p for p in each.parents if p[0] != BATCH)) for each in many]

    def _add_to_model(self, many: list[RequestedJob], *, hidden: bool = False) -> list[int]:
        seqs: list[int] = []
        following = self._last_seq() + 1
        for requested in many:
            seqs.append(self.model.add(following, requested, hidden=hidden))
            following += seqs[-1] == following
        return seqs

    @rule(many=REQUEST, end=st.sampled_from(["", "", "commit", "discard"]))
    def batch_in_several_messages(self, many: list[RequestedJob], end: str) -> None:
        """One of them is open at a time. What it holds is not seen by anybody until it is committed."""
        store, now = self.lab.store, self.lab.now
        # In there a job of a unique key or a batch may be refused for a hidden one: that is for test_batches.
        many = [replace(requested, unique=None, batch=False) for requested in many]
        many = [replace(each, parents=tuple(p for p in each.parents if p[0] in self.model.jobs)) for each in many]
        if self.upload is None:
            self.upload = self.do(store.intake.open_upload(now=now))
        expected = self._expect(lambda: self._add_to_model(many, hidden=True))
        got = self._try(store.intake.add_to_upload(self.upload, [as_new(requested) for requested in many], now=now))
        assert got == expected if isinstance(expected, Refusal) else got.seqs == expected, (got, expected)
        if end == "commit":
            self.do(store.intake.commit_upload(self.upload, now=now))
            self.model.commit()
            self._take_turn([], 0)
        elif end == "discard":
            self.do(store.intake.discard_upload(self.upload))
            self.model.discard()
        if end:
            self.upload = None

    # -- workers

    @rule(free=st.integers(1, WORKERS), ends=st.integers(0, WORKERS), data=st.data())
    def turn(self, free: int, ends: int, data: st.DataObject) -> None:
        """Some runs end, and some of the workers that are free then get the best jobs that there are."""
        over = list(self.running.values())[:ends]
        done = [self._outcome(claimed, data.draw(st.sampled_from(ENDS))) for claimed in over]
        self._take_turn(done, free)

    @rule(hows=st.lists(st.sampled_from(ENDS), min_size=1, max_size=5))
    def rounds(self, hows: list[str]) -> None:
        """All that runs ends so, and all workers get the best jobs that there are; and so again."""
        for how in hows:
            self._take_turn([self._outcome(claimed, how) for claimed in self.running.values()], WORKERS)
            self.the_store_is_as_the_model_says()

    @rule(times=st.integers(1, CRASH_LIMIT + 1))
    def workers_crash(self, times: int) -> None:
        self.rounds(["crash"] * times)

    def _outcome(self, claimed: Claimed, how: str) -> Outcome:
        if how == "crash":
            return self.lab.end(claimed, kind=EndKind.CRASHED, exit_code=None)
        if how == "signal":
            return self.lab.end(claimed, kind=EndKind.SIGNALLED, exit_code=None, signal=9)
        return self.lab.end(claimed, 0 if how == "success" else int(how))

    @precondition(lambda self: self.told)
    @rule(free=st.integers(0, WORKERS), data=st.data())
    def late_outcomes(self, free: int, data: st.DataObject) -> None:
        """What was told already is told again, by a worker that did not hear that it was stored."""
        again = data.draw(st.lists(st.sampled_from(self.told), min_size=1, max_size=3))
        self._take_turn(again, free)

    def _take_turn(self, outcomes: list[Outcome], free: int) -> None:
        for outcome in outcomes:
            job = self.model.jobs.get(outcome.seq)
            if job is not None:
                crashed = outcome.kind is EndKind.CRASHED
                self.model.ended(job, outcome.run, exit_code=outcome.exit_code, crashed=crashed)
        over = {(outcome.seq, outcome.run) for outcome in outcomes}
        self.told = [*self.told[-8:], *outcomes]
        self.running = {w: claimed for w, claimed in self.running.items() if (claimed.seq, claimed.run) not in over}
        idle = [worker for worker in self.lab.workers if worker not in self.running][:free]
        self.model.time_comes()
        claimed = self.do(self.lab.turn(outcomes, idle)).claimed
        for got in claimed:
            best = self.model.startable()
            assert best, f"job {got.seq} was not to be started"
            assert got.seq == best[0].seq
            assert got.attempt == best[0].attempts + 1
            self.model.claim(best[0], got.worker)
            assert got.run == best[0].run
            self.running[got.worker] = got
        if len(claimed) < len(idle):
            assert self.model.startable() == []

    @rule(count=st.integers(1, WORKERS))
    def claims_reach_nobody(self, count: int) -> None:
        lost = list(self.running.values())[:count]
        self.do(self.lab.store.return_claims([(each.seq, each.run) for each in lost], now=self.lab.now))
        for each in lost:
            del self.running[each.worker]
            self.model.never_began(self.model.jobs[each.seq], each.run)

    # -- people

    @rule(verb=st.sampled_from(VERBS), which=MANY, picked=st.booleans())
    def by_people(self, verb: JobAction, which: list[int] | str, picked: bool) -> None:
        seqs = self._some(which)
        one = getattr(self.model, verb.replace(" ", "_"))
        expected = self._expect(lambda: self.model.each(one, seqs, picked=picked))
        got = self._try(self.lab.store.apply(verb, seqs, now=self.lab.now, picked=picked))
        self._agree(got, expected)

    @rule(key=st.sampled_from(["k", "l"]), count=st.integers(3, 6), verb=st.sampled_from(VERBS[:2] + VERBS[4:5]))
    def all_but_one_of_a_key(self, key: str, count: int, verb: JobAction) -> None:
        self.enqueue_many([RequestedJob(key=key)] * count)
        self.by_people(verb, key, True)

    @rule(which=MANY, states=st.sets(st.sampled_from(sorted(ENDED)), min_size=1).map(frozenset), old=st.booleans())
    def prune(self, which: list[int] | str, states: frozenset[JobState], old: bool) -> None:
        seqs = self._some(which)
        before = dict.fromkeys(states, self.lab.wall_ms + 10**9 if old else 0)
        self.do(verbs.prune(self.lab.store, seqs, before, now=self.lab.now))
        gone = states if old else frozenset[JobState]()
        self._expect(lambda: self.model.each(lambda seq: self.model.prune(seq, gone), seqs, picked=False))

    @rule(which=MANY, changes=st.sampled_from(CHANGES))
    def edit(self, which: list[int] | str, changes: dict[str, Any]) -> None:
        for seq in self._some(which):
            expected = self._expect(lambda seq=seq: self.model.edit(seq, **changes))  # type: ignore[misc]
            self._agree(self._try(self.lab.store.edit(seq, changes, now=self.lab.now)), expected)

    @rule(which=MANY, end=st.sampled_from(["first", "last"]))
    def move(self, which: list[int] | str, end: str) -> None:
        """Where exactly a job then stands is told by the store; the others keep their order."""
        for seq in self._some(which):
            expected = self._expect(lambda seq=seq: self.model.move(seq))  # type: ignore[misc]
            before = self._places(seq)
            self._agree(self._try(self.lab.store.move(seq, MoveTarget(end), now=self.lab.now)), expected)
            assert self._places(seq) == before
            for other, *place in self.lab.store._writer._connection.execute("SELECT seq, priority, rank FROM job"):
                self.model.jobs[other].priority, self.model.jobs[other].rank = place

    def _places(self, besides: int) -> list[int]:
        text = "SELECT seq FROM job WHERE seq <> ? ORDER BY priority DESC, rank, seq"
        return [seq for (seq,) in self.lab.store._writer._connection.execute(text, (besides,))]

    def _some(self, which: list[int] | str) -> list[int]:
        if isinstance(which, str):
            waiting = [job for job in self.model.jobs.values() if job.state in WAITING]
            fit = [job.seq for job in waiting if job.key == which or (which == "batch" and job.requested.batch)]
            return sorted(fit)[:-1] or [1]
        known = sorted(self.model.jobs) or [1]
        return [10_000 if n == 20 else known[n % len(known)] for n in which]

    def _agree(self, got: Any, expected: Any) -> None:
        assert isinstance(got, Refusal) == isinstance(expected, Refusal), (got, expected)
        assert not isinstance(expected, Refusal) or got == expected

    @rule(queue=st.sampled_from(["a", "b"]), concurrency=st.sampled_from([None, 1, 2]))
    def set_queue(self, queue: str, concurrency: int | None) -> None:
        self.do(self.lab.store.queue_set(queue, concurrency=concurrency, now=self.lab.now))
        self.model.concurrency[queue] = concurrency or 1000

    @rule(queue=st.sampled_from(["a", "b"]), paused=st.booleans())
    def pause_queue(self, queue: str, paused: bool) -> None:
        self.do(self.lab.store.queue_pause(queue, paused, now=self.lab.now))
        (self.model.paused.add if paused else self.model.paused.discard)(queue)

    # -- clocks and crashes

    @rule(passed_ms=st.sampled_from([0, 1000, 4000, 20_000]), step_ms=st.sampled_from([0, 0, -3_600_000, 3_600_000]))
    def clocks(self, passed_ms: int, step_ms: int) -> None:
        """Time passes; somebody may set the wall clock meanwhile."""
        self.lab.store_ms += passed_ms
        self.lab.wall_ms += passed_ms + step_ms
        self.model.store_ms, self.model.wall_ms = self.lab.store_ms, self.lab.wall_ms

    @rule()
    def restart(self) -> None:
        async def again() -> None:
            await self.lab.store.close()
            self._begin()

        self.do(again())
        self._forget_upload()

    def _forget_upload(self) -> None:
        self.do(self.lab.store.intake.discard_open_uploads())
        self.model.discard()
        self.upload = None

    @rule(count=st.integers(0, 5))
    def kill(self, count: int) -> None:
        """The daemon is killed while it stores jobs: what its files hold at that moment is all that is left."""
        self.homes += 1
        home = self.folder / str(self.homes)

        async def die() -> list[int]:
            adding = [asyncio.ensure_future(self.lab.add()) for _ in range(count)]
            if adding:
                await asyncio.wait(adding[:1])
            told = [each.result().seq for each in adding if each.done()]
            shutil.copytree(self.lab.path.parent, home, ignore=shutil.ignore_patterns("*-shm"))
            await asyncio.gather(*adding)
            await self.lab.store.close()
            self.lab.path = home / "queuectl.db"
            self._begin()
            return told

        before = self._last_seq()
        told = self.do(die())
        known = {job.seq for job in self._stored() if job.seq > before}
        assert set(told) <= known, "an acknowledged job is lost"
        for seq in sorted(known):
            self.model.add(seq, RequestedJob())
        self._forget_upload()

    # -- what must hold

    @invariant()
    def what_must_hold_holds(self) -> None:
        assert check_invariants(self.lab.path) == []

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        jobs = self._stored()
        assert [job.seq for job in jobs] == sorted(job.seq for job in self.model.jobs.values() if not job.hidden)
        for job in jobs:
            known = self.model.jobs[job.seq]
            assert (job.state, job.attempts, job.runs, job.crashes, job.run, job.worker) == (
                known.state, known.attempts, known.runs, known.crashes, known.run, known.worker
            ), job  # fmt: skip
            assert job.priority == known.priority
            if job.options.key is None:
                assert job.ready is known.ready, job
            kept = [attempt.run for attempt in self.do(self.lab.store.queries.attempts(job.seq))]
            assert kept == sorted(known.ended_runs)
        counts = self.do(self.lab.store.counts())
        assert counts.by_state == self.model.counts()

    @invariant()
    def nothing_runs_twice(self) -> None:
        busy = sorted((row.seq, row.run, row.worker) for row in self.do(self.lab.store.queries.processing()))
        assert busy == self.model.busy()
        workers = [worker for _, _, worker in busy]
        assert len(set(workers)) == len(workers)
        runs = [run for job in self.model.jobs.values() for run in [(job.seq, each) for each in job.ended_runs]]
        assert len(set(runs)) == len(runs), "a run ended twice"

    # -- how both are asked

    def _stored(self) -> list[Job]:
        return list(self.do(self.lab.store.queries.many(range(1, self._last_seq() + 1))))

    def _last_seq(self) -> int:
        return self.lab.store._writer._session.cache.last_seq

    def _expect(self, change: Any) -> Any:
        try:
            return self.model.all_or_none(change)
        except Refusal as refusal:
            return refusal

    def _try(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.do(work)
        except Refused as refused:
            return Refusal(refused.code)


FEW: Final = settings(
    max_examples=30, stateful_step_count=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)  # fmt: skip
"""Of a disagreement all steps are told; making them fewer would take minutes, and is for the command below."""


def test_the_store_agrees_with_a_model_after_every_step() -> None:
    run_state_machine_as_test(StoreMachine, settings=FEW)


if __name__ == "__main__":
    walks, steps = int(sys.argv[1]), int((*sys.argv[2:], "60")[0])
    many = settings(
        FEW, max_examples=walks, stateful_step_count=steps, derandomize=False, phases=[Phase.generate, Phase.shrink]
    )
    run_state_machine_as_test(StoreMachine, settings=many)
    print(f"{walks} walks of up to {steps} steps: the store agrees with the model")
