"""Finds calls that add jobs and do not run concurrently with their neighbours. Their parameters are unchecked.

What a selector in `depends_on` matches depends on the jobs stored before. Many jobs wait for short requests of other
clients, and would also wait for those of their own connection that were sent after them.
"""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol.selectors import is_selector
from queuectld.server.route import Caller
from queuectld.store.records import FEW

_SPELLINGS = ("depends_on", "dependsOn")


CHECKED_AT_ONCE: Final = 500
"""Jobs of a `batch.add` checked before other calls of the daemon have their turn, in some 3 ms."""


def adds_to_batch_alone(caller: Caller, params: Mapping[str, Any]) -> bool:
    """Whether this `batch.add` call has to run alone: others would overtake it while its jobs are checked."""
    jobs = params.get("jobs")
    return (isinstance(jobs, list) and len(jobs) > CHECKED_AT_ONCE) or has_dependency_selector(caller, params)


def adds_alone(caller: Caller, params: Mapping[str, Any]) -> bool:
    """Whether this `enqueue` or `enqueue_many` call has to run alone."""
    jobs = params.get("jobs")
    return (isinstance(jobs, list) and len(jobs) > FEW) or has_dependency_selector(caller, params)


def has_dependency_selector(caller: Caller, params: Mapping[str, Any]) -> bool:
    """Whether a job of this `enqueue`, `enqueue_many` or `batch.add` call has a selector in `depends_on`."""
    token, defaults, jobs = params.get("token"), params.get("defaults"), params.get("jobs")
    opened = caller.batches.get(token) if isinstance(token, str) else None
    if opened is not None and any(is_selector(reference) for reference, _ in opened.defaults.depends_on):
        return True
    if _has_selector(params) or _has_selector(defaults):
        return True
    if not isinstance(jobs, list):
        return False
    # Most jobs have no dependencies and cost two dict lookups each.
    waiting = (job for job in jobs if type(job) is dict and ("depends_on" in job or "dependsOn" in job))
    return any(map(_has_selector, waiting))


def _has_selector(job: object) -> bool:
    if not isinstance(job, Mapping):
        return False
    for spelling in _SPELLINGS:
        named = job.get(spelling)
        if isinstance(named, list) and any(map(_is_one, named)):
            return True
    return False


def _is_one(dependency: object) -> bool:
    parent = dependency.get("id") if isinstance(dependency, Mapping) else dependency
    return isinstance(parent, str) and is_selector(parent)
