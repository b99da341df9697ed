"""Dependencies of retried jobs: they hold again for parents that have not ended, such as those retried with them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from queuectl_client.protocol.dependencies import BATCH_PREFIX
from queuectl_client.protocol.vocabulary import ENDED_STATES, JobState
from queuectld.domain.job import Now
from queuectld.store.mapping.models import Job
from queuectld.store.mapping.sql import AMONG_IDS, AMONG_SEQS
from queuectld.store.mapping.statement import statement
from queuectld.store.writer.session import Session
from queuectld.store.writes import batches
from queuectld.store.writes.dependencies import INSERT_DEPENDENCY, resolve
from queuectld.store.writes.transitions import JobSnapshot, assign_lane, snapshots, transition

_NAMED: Final = statement(
    Job.select(Job.seq, Job.depends_on).where(AMONG_SEQS & Job.depends_on.is_null(False)).order_by(Job.seq)
)
_BY_ID: Final = statement(Job.select(Job.id, Job.seq, Job.state, Job.upload).where(AMONG_IDS))
_ENDED: Final = frozenset(map(str, ENDED_STATES))
Edges = dict[int, dict[int, str]]
"""By child: its parents (a batch has a negative number), each with the end that is waited for."""


def block_retried(session: Session, retried: Sequence[JobSnapshot], now: Now) -> None:
    """Block those of the jobs, pending again, that depend on a job or batch that has not ended.

    What has ended is not waited for: whoever retries a job wants it to run. Nor is what would wait for the job itself.
    """
    named = {
        seq: dict(json.loads(depends_on))
        for seq, depends_on in session.execute(_NAMED, {"seqs": json.dumps([each.seq for each in retried])})
    }
    if not named:
        return
    unended = _unended(session, {name for parents in named.values() for name in parents})
    if not session.cache.resolving.isdisjoint(unended.values()):
        while session.cache.resolving:  # else the earlier end of a retried parent would be taken for its new one
            resolve(session, now)
    edges = _without_cycles(named, unended, retried)
    for child, parents in edges.items():
        session.executemany(INSERT_DEPENDENCY, [(parent, child, on) for parent, on in parents.items()])
        before = snapshots(session, [child])[child]  # only now: one of its key may have been blocked just before
        transition(session, before, assign_lane(session, before._replace(state=JobState.BLOCKED), now), now)


def _unended(session: Session, names: set[str]) -> dict[str, int]:
    """Return the numbers of the jobs and batches of these names that have not ended."""
    hidden = session.cache.hidden_uploads
    found = {
        name: seq
        for name, seq, state, upload in session.execute(_BY_ID, {"ids": json.dumps(list(names))})
        if state not in _ENDED and upload not in hidden
    }
    for name in names:
        if name.startswith(BATCH_PREFIX):
            batch = batches.find(session, name.removeprefix(BATCH_PREFIX))
            if batch is not None and batch.state is None:
                found[name] = -batch.id
    return found


def _without_cycles(
    named: Mapping[int, Mapping[str, str]], unended: Mapping[str, int], retried: Sequence[JobSnapshot]
) -> Edges:
    """Return the dependencies that hold again, without any that would close a cycle.

    Nothing waits for a retried job yet, so a cycle consists of these dependencies, and of batches with their jobs.
    """
    members: dict[int, list[int]] = {}
    for each in retried:
        if each.batch_id is not None:
            members.setdefault(-each.batch_id, []).append(each.seq)
    edges: Edges = {}
    only_earlier = True
    for child, parents in named.items():
        for name, on in parents.items():
            parent = unended.get(name)
            if parent is None:
                continue
            only_earlier = only_earlier and 0 < parent < child
            if only_earlier or child not in _reachable(edges, members, parent):
                edges.setdefault(child, {})[parent] = on
    return edges


def _reachable(edges: Edges, members: Mapping[int, Sequence[int]], start: int) -> Iterator[int]:
    """Yield the jobs and batches that this one waits for, directly or by way of others, itself first."""
    seen = {start}
    ahead = [start]
    while ahead:
        each = ahead.pop()
        yield each
        new = [parent for parent in (members.get(each) or edges.get(each) or ()) if parent not in seen]
        seen.update(new)
        ahead += new
