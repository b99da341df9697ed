"""What the walks beside the model draw from: jobs that are asked for, changes of them, and how runs end."""

from typing import Final

from hypothesis import strategies as st

from queuectl_client.protocol.permits import JobAction
from queuectld.domain.job import NewJob
from queuectld.domain.retry import RetryPolicy
from tests.store.lab import new
from tests.store.modeljob import BATCH, LIMITS, Wanted

POLICIES: Final = (RetryPolicy(1, 2, 3600), RetryPolicy(2, 2, 3), RetryPolicy(3, 3, 3600, no_retry_on=(2,)))
SEQS: Final = st.integers(1, 12)
MANY: Final = st.lists(st.integers(0, 20), min_size=1, max_size=8) | st.sampled_from(["k", "k", "l", "batch"])
"""Which jobs, of those there are; also one twice, and now and then one that is not there. Or all but the newest of a
key, or of the batch."""
ENDS: Final = ("success", "success", "1", "2", "signal", "crash")
VERBS: Final = (
    JobAction.CANCEL,
    JobAction.HOLD,
    JobAction.RELEASE,
    JobAction.RETRY,
    JobAction.REMOVE,
    JobAction.DLQ_RETRY,
    JobAction.DLQ_PURGE,
)
PARENTS: Final = st.tuples(SEQS | st.just(BATCH), st.sampled_from(["completed", "dead", "any"]))
WANTED: Final = st.builds(
    Wanted,
    queue=st.sampled_from(["a", "b"]),
    priority=st.integers(-1, 1),
    policy=st.sampled_from(POLICIES),
    delay_ms=st.sampled_from([0, 0, 0, 3000]),
    hold=st.sampled_from([False, False, False, True]),
    once=st.sampled_from([False, False, True]),
    parents=st.just(()) | st.lists(PARENTS, max_size=2, unique_by=lambda parent: parent[0]).map(tuple),
    unique=st.sampled_from([None, None, None, "u"]),
    on_conflict=st.sampled_from(["error", "skip", "replace"]),
    key=st.sampled_from([None, "k", "k", "l"]),
    batch=st.sampled_from([False, False, True]),
)  # fmt: skip
REQUEST: Final = st.lists(WANTED, min_size=1, max_size=6) | st.builds(
    lambda wanted, count: [wanted] * count, st.builds(Wanted, key=st.sampled_from(["k", "l"])), st.integers(2, 6)
)
"""Jobs of one request: of all kinds, or alike and of one key."""
CHANGES: Final = (
    {"priority": 1}, {"priority": -1}, {"delay_ms": 3000}, {"delay_ms": 0}, {"key": "k", "key_limit": 1},
    {"key": "l", "key_limit": 2}, {"key": None, "key_limit": 1},
)  # fmt: skip


def as_new(wanted: Wanted) -> NewJob:
    """The job as the store is asked for it."""
    return new(
        queue=wanted.queue, priority=wanted.priority, retry=wanted.policy, delay_ms=wanted.delay_ms,
        run_at_ms=wanted.run_at_ms, hold=wanted.hold, once=wanted.once, unique_key=wanted.unique,
        on_conflict=wanted.on_conflict, key=wanted.key, key_limit=LIMITS.get(wanted.key or "", 1),
        batch="b" if wanted.batch else None,
        depends_on=tuple((f"job_{parent}" if parent else "batch:b", on) for parent, on in wanted.parents),
    )  # fmt: skip
