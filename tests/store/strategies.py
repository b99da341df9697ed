"""Hypothesis strategies of the state machine test: requested jobs, changes of jobs, and ends of runs."""

from typing import Final

from hypothesis import strategies as st

from queuectl_client.protocol.permits import JobAction
from queuectld.domain.job import NewJob
from queuectld.domain.retry import RetryPolicy
from tests.store.lab import new
from tests.store.modeljob import BATCH, LIMITS, RequestedJob

POLICIES: Final = (RetryPolicy(1, 2, 3600), RetryPolicy(2, 2, 3), RetryPolicy(3, 3, 3600, no_retry_on=(2,)))
SEQS: Final = st.integers(1, 12)
MANY: Final = st.lists(st.integers(0, 20), min_size=1, max_size=8) | st.sampled_from(["k", "k", "l", "batch"])
"""Positions of existing jobs, possibly repeated or out of range; or all jobs of a key or batch but the newest."""
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
REQUESTED_JOBS: Final = st.builds(
    RequestedJob,
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
REQUEST: Final = st.lists(REQUESTED_JOBS, min_size=1, max_size=6) | st.builds(
    lambda job, count: [job] * count, st.builds(RequestedJob, key=st.sampled_from(["k", "l"])), st.integers(2, 6)
)
"""Jobs of one request: of any kind, or identical ones with the same key."""
CHANGES: Final = (
    {"priority": 1}, {"priority": -1}, {"delay_ms": 3000}, {"delay_ms": 0}, {"key": "k", "key_limit": 1},
    {"key": "l", "key_limit": 2}, {"key": None, "key_limit": 1},
)  # fmt: skip


def as_new(requested: RequestedJob) -> NewJob:
    """Convert to a parameter of the store."""
    return new(
        queue=requested.queue, priority=requested.priority, retry=requested.policy, delay_ms=requested.delay_ms,
        run_at_ms=requested.run_at_ms, hold=requested.hold, once=requested.once, unique_key=requested.unique,
        on_conflict=requested.on_conflict, key=requested.key, key_limit=LIMITS.get(requested.key or "", 1),
        batch="b" if requested.batch else None,
        depends_on=tuple((f"job_{parent}" if parent else "batch:b", on) for parent, on in requested.parents),
    )  # fmt: skip
