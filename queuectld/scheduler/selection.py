"""From what a person names to jobs: ids, numbers and selectors."""

from collections.abc import Iterable, Sequence
from typing import Final

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.store.store import Store

MAX_SELECTED: Final = 100_000
"""Jobs that one selector may name; more would hold the daemon up for everybody."""


async def one(store: Store, ref: str) -> int:
    """The seq of the job that `ref` names. Refused (not_found, or invalid_params when it names several)."""
    seqs = await several(store, [ref])
    if len(seqs) != 1:
        message = f"{ref!r} names {len(seqs)} jobs, but exactly one is needed here"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"id": ref})
    return seqs[0]


async def several(store: Store, refs: Sequence[str]) -> list[int]:
    """The seqs of all jobs named, each once, in the order named. Refused (not_found) for a name that fits none.

    An exact id wins, then a number means a seq, then a selector: `last`, `3-9`, `label:k=v`, `name:x*`,
    `batch:b`, `@failed`, `all`.
    """
    seqs: dict[int, None] = {}
    for ref in refs:
        seq = await store.find(ref)
        if seq is not None:
            seqs[seq] = None
        elif is_selector(ref):
            found = await store.select(ref, MAX_SELECTED)
            if not found and ref == "last":
                raise Refused(ErrorCode.NOT_FOUND, "there is no job yet", {"id": ref})
            seqs.update(dict.fromkeys(found))
        else:
            raise Refused(ErrorCode.NOT_FOUND, f"there is no job {ref!r}", {"id": ref})
    return list(seqs)


def is_selector(ref: str) -> bool:
    """Whether `ref` has the form of a selector, which may fit no job at all."""
    if ref in ("last", "all") or ref.startswith(("@", "label:", "name:", "batch:")):
        return True
    first, dash, last = ref.partition("-")
    return bool(dash) and first.isascii() and first.isdigit() and last.isascii() and last.isdigit()


async def load(store: Store, seqs: Iterable[int]) -> list[Job]:
    """The jobs, in the order of `seqs`; those that are gone are left out."""
    wanted = list(seqs)
    by_seq = {job.seq: job for job in await store.many(wanted)}
    return [by_seq[seq] for seq in wanted if seq in by_seq]
