"""Whatever people, workers and crashes do in whatever order: what must hold holds after every step."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import ENDED_STATES, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Claimed
from queuectld.domain.outcome import EndKind, Outcome
from queuectld.domain.retry import RetryPolicy
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.records import MoveTarget
from queuectld.store.writer import cache
from tests.store import verbs
from tests.store.lab import Lab, new

POLICY = RetryPolicy(2, 2, 8)
NUMBERS = st.integers(0, 5)


class Walk:
    """One history of a store. `running` is what workers have in hand, `late` what they may send a second time."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.running: dict[int, Claimed] = {}
        self.late: list[Outcome] = []
        self.ended_runs: set[tuple[int, int]] = set()
        self.batch: str | None = None

    async def add(self, n: int) -> None:
        last = self.lab.store._writer._session.cache.last_seq
        parents = ((str(max(last - n, 1)), ("any", "completed", "dead")[n % 3]),) if n > 3 and last else ()
        try:
            await self.lab.add(
                queue=f"q{n % 2}", priority=n, retry=POLICY, delay_ms=(0, 0, 3000)[n % 3], hold=n == 1, once=n == 2,
                depends_on=parents, unique_key="u" if n == 5 else None, on_conflict="replace",
                key=(None, "k", "k", "l")[last % 4], key_limit=1 + n % 2, slots=1 + n // 4,
                needs={"gpu": 1 + n % 2} if last % 3 == 1 else {}, batch="b" if n % 2 else None,
                run_at_ms=self.lab.wall_ms + 2000 if n == 4 else None,
            )  # fmt: skip
        except Refused:
            return  # the parent is hidden or gone, or the key's holder is processing

    async def add_many(self, n: int) -> None:
        jobs = [new(queue="q1", retry=POLICY, key="k" if n > 3 else None, batch="b") for _ in range(n)]
        jobs += [new(depends_on=(("batch:b", "completed"),))] if jobs else []
        await self.lab.store.intake.add_many(jobs, now=self.lab.now)

    async def batch_step(self, n: int) -> None:
        if self.batch is None:
            self.batch = await self.lab.store.intake.open_upload(now=self.lab.now)
        elif n < 3:
            parents = (("1", "completed"),) if n == 1 and await verbs.find(self.lab.store, "1") else ()
            jobs = [new(depends_on=parents, retry=POLICY, key="k", batch="b2") for _ in range(n)]
            await self.lab.store.intake.add_to_upload(self.batch, jobs, now=self.lab.now)
        else:
            token, self.batch = self.batch, None
            if n == 3:
                await self.lab.store.intake.discard_upload(token)
            else:
                await self.lab.store.intake.commit_upload(token, now=self.lab.now)

    async def turn(self, n: int) -> None:
        outcomes = [self._outcome(claimed, n) for claimed in list(self.running.values())[:n]]
        outcomes += self.late[-(n // 2) :] if n > 1 else []
        idle = [worker for worker in self.lab.workers if worker not in self.running]
        busy = {(claimed.seq, claimed.run) for claimed in self.running.values()}
        turn = await self.lab.turn(outcomes, idle[: n + 1])
        for stored in turn.stored:
            if stored.state is not None:
                assert (stored.seq, stored.run) not in self.ended_runs, "a run ended twice"
                self.ended_runs.add((stored.seq, stored.run))
        for outcome in outcomes[: len(outcomes)]:
            self.running = {w: c for w, c in self.running.items() if (c.seq, c.run) != (outcome.seq, outcome.run)}
        self.late = outcomes[:3]
        for claimed in turn.claimed:
            still = {seq for seq, run in busy if (seq, run) not in {(o.seq, o.run) for o in outcomes}}
            assert claimed.seq not in still, "a job runs twice at once"
            self.running[claimed.worker] = claimed

    def _outcome(self, claimed: Claimed, n: int) -> Outcome:
        kind = EndKind.CRASHED if n == 5 else EndKind.EXITED
        return self.lab.end(claimed, n % 3, kind=kind)

    async def lose_claims(self, n: int) -> None:
        lost = list(self.running.values())[:n]
        await self.lab.store.return_claims([(each.seq, each.run) for each in lost], now=self.lab.now)
        for each in lost:
            del self.running[each.worker]

    async def by_people(self, n: int) -> None:
        store, now = self.lab.store, self.lab.now
        verbs = (
            JobAction.CANCEL,
            JobAction.HOLD,
            JobAction.RELEASE,
            JobAction.RETRY,
            JobAction.DLQ_RETRY,
            JobAction.REMOVE,
        )
        for seq in range(n, n + 3):
            try:
                await store.apply(verbs[(seq + len(self.lab.events)) % 6], [seq + 1], now=now)
            except Refused:
                continue
        verb = verbs[len(self.lab.events) % 6 - 1]
        await store.apply(verb, [*range(n, 3 * n), n], now=now, picked=True)

    async def edit(self, n: int) -> None:
        store, now = self.lab.store, self.lab.now
        for seq in range(n + 1, n + 4):
            try:
                if seq % 2:
                    end = ("first", "last", None)[n % 3]
                    await store.move(seq, MoveTarget(end, None if end else n + 1, "q1" if n == 4 else None), now=now)
                else:
                    keys = {"priority": n - 2, "key": "k" if n > 2 else None, "slots": 1 + n % 3}
                    await store.edit(seq, keys | ({"delay_ms": 0} if n == 5 else {}), now=now)
                await store.explain(seq, now=now)
            except Refused:
                continue

    async def set_limits(self, n: int) -> None:
        limits = {"concurrency": n or None, "rate": "2/s" if n > 3 else None, "failure_limit": n if n == 3 else None}
        await self.lab.store.queue_set(f"q{n % 2}", now=self.lab.now, **limits)
        await self.lab.store.config_set("resources", f"gpu={1 + n % 3}", now=self.lab.now)

    async def pause_queue(self, n: int) -> None:
        await self.lab.store.queue_pause(f"q{n % 2}", n > 2, now=self.lab.now)

    async def time_passes(self, n: int) -> None:
        self.lab.store_ms += n * 1000
        self.lab.wall_ms += (n - 2) * 1500

    async def restart(self, n: int) -> None:
        await self.lab.restart()
        await self.lab.store.intake.discard_open_uploads()
        self.batch = None

    async def check(self) -> None:
        assert check_invariants(self.lab.path) == []
        seen = [event.event_seq for event in self.lab.events]
        assert seen == list(range(1, len(seen) + 1))
        for busy in await self.lab.store.queries.processing():
            assert self.running[busy.worker].seq == busy.seq
        self.limits_hold()
        counts = (await self.lab.store.counts()).by_state
        jobs = await self.lab.store.queries.many(range(1, 200))
        assert counts == {state: sum(job.state is state for job in jobs) for state in JobState}
        assert all(job.finished_ms is not None for job in jobs if job.state in ENDED_STATES)

    def limits_hold(self) -> None:
        """What is counted in memory is what a daemon would count that starts now."""
        session = self.lab.store._writer._session
        fresh = cache.load(self.lab.store._reader._connection)
        limits, anew = session.cache.limits, fresh.limits
        assert (limits.allocations, limits.keys) == (anew.allocations, anew.keys)
        used = {name: much for name, much in limits.resources.used.items() if much}
        assert used == {name: much for name, much in anew.resources.used.items() if much}
        for queue, kept in limits.queues.items():
            assert (kept.running, kept.failures, kept.starts, kept.is_open) == (
                anew.queues[queue].running, anew.queues[queue].failures, anew.queues[queue].starts, kept.may_open
            )  # fmt: skip
            for lane in session.cache.lanes_of[queue]:
                assert session.lanes.is_open(lane) is kept.is_open


STEPS = (
    "add", "add", "add_many", "batch_step", "turn", "turn", "turn", "lose_claims", "by_people", "by_people",
    "pause_queue", "time_passes", "restart", "edit", "set_limits",
)  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(STEPS), NUMBERS), max_size=40))
def test_what_must_hold_holds_after_every_step(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_walk(Path(folder) / "queuectl.db", steps))
        assert check_invariants(Path(folder) / "queuectl.db") == []


async def _walk(path: Path, steps: list[tuple[str, int]]) -> None:
    lab = Lab(path)
    lab.open()
    try:
        await lab.hire(3)
        walk = Walk(lab)
        for name, n in steps:
            await getattr(walk, name)(n)
            await walk.check()
    finally:
        await lab.store.close()
