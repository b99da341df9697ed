"""Fetch lists of jobs: page by page, the newest only, or sorted.

Memory is bounded, whatever the length of the queue, by a page or the keys of one run of a sort. Prints nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render

Job = Mapping[str, Any]
Asked = Mapping[str, Any]
"""Parameters of the call `list`: filters, and keys."""

COUNTED: Final = 20_000
"""Maximum jobs counted to tell how many a truncated table omits."""
_PAGE: Final = 1_000
_WHOLE: Final = 250
"""Jobs of a page with whole jobs: a larger one would delay other clients."""
_NUMBERS: Final = 5_000
MOST_SORTED: Final = 1_000
"""Maximum jobs that the daemon sorts by a key; for more, the keys are fetched and sorted here."""
_FETCHED: Final = 500
"""Jobs fetched by their numbers in one call."""


class Order(NamedTuple):
    """Sort order of a list: by this key; jobs without it come last, in either direction."""

    key: str
    descending: bool = False

    @property
    def asked(self) -> dict[str, Any]:
        """Parameters of the call `list` for this order."""
        return {} if self == Order("seq") else {"sort": self.key, "descending": self.descending}

    def sorted(self, jobs: Iterable[Job]) -> list[Job]:
        """These jobs in order."""
        return sorted(jobs, key=self.rank, reverse=self.descending)

    def rank(self, job: Job) -> list[Any]:
        """Return the sort key of a job, which ends with its number, so that there are no ties."""
        value = job[self.key]
        if self.key == "state":
            value = render.STATE_ORDER[value]
        elif self.key == "command":
            value = render.command_text(value)
        elif self.key == "worker" and value is not None:
            value = int(value[1:])
        elif isinstance(value, bytes):
            value = render.escape(value)
        absent = value is None
        return [absent is not self.descending, 0 if absent else value, -job["seq"] if self.descending else job["seq"]]


def pages(invocation: Invocation, **asked: Any) -> Iterator[Job]:
    """Yield the jobs; pages are fetched as they are consumed. A page may be empty while more follow."""
    after = asked.pop("after", None)
    asked.setdefault("limit", _PAGE if "keys" in asked else _WHOLE)
    while True:
        page = invocation.call("list", **asked, **({"after": after} if after is not None else {}))
        yield from page["jobs"]
        after = page["next"]
        if after is None:
            return


def newest(invocation: Invocation, count: int, asked: Asked) -> Iterable[Job]:
    """Return the newest `count` jobs, the oldest of them first."""
    if count > _WHOLE:
        return _from_the_oldest(invocation, count, asked)
    return list(newest_first(invocation, asked, count))[::-1]


def _from_the_oldest(invocation: Invocation, count: int, asked: Asked) -> Iterator[Job]:
    """Like `newest`, for any number: find the first by numbers only, then fetch from there on."""
    numbers = pages(invocation, **{**asked, "keys": ["seq"]}, order="newest", limit=min(count, _NUMBERS))
    last = first = None
    for job in islice(numbers, count):
        first = job["seq"]
        last = last or first
    if first is None or last is None:
        return
    keys = {"keys": list(dict.fromkeys((*asked["keys"], "seq")))} if "keys" in asked else {}
    for job in pages(invocation, **{**asked, **keys}, after=str(first - 1)):
        if job["seq"] > last:
            return
        yield job


def newest_first(invocation: Invocation, asked: Asked, limit: int | None = None) -> Iterator[Job]:
    """Yield the jobs from the newest on, at most `limit`."""
    page = _PAGE if "keys" in asked else _WHOLE
    return islice(pages(invocation, **asked, order="newest", limit=min(limit or page, page)), limit)


def in_order(invocation: Invocation, order: Order, asked: Asked, limit: int | None = None) -> Iterator[Job]:
    """Yield the jobs in this order, at most `limit`.

    For more than MOST_SORTED, fetch the sort keys first, then the jobs by their numbers, without those that were
    removed or no longer match.
    """
    if limit is not None and limit <= MOST_SORTED:
        # The daemon sorts, so the keys of all jobs need not be sent.
        yield from islice(pages(invocation, **asked, **order.asked, limit=limit), limit)
        return
    from queuectl_client.cli.output.sorting import first, sort

    which = {key: value for key, value in asked.items() if key != "keys"}
    keys = dict.fromkeys(("seq", order.key))
    ranks = (order.rank(job) for job in pages(invocation, **which, keys=list(keys), limit=_PAGE * 5))
    down = order.descending
    ranked = sort(ranks, reverse=down) if limit is None else first(limit, ranks, reverse=down)
    seqs = (abs(rank[-1]) for rank in ranked)
    while group := list(islice(seqs, _FETCHED)):
        yield from numbered(invocation, group, asked)


def numbered(invocation: Invocation, seqs: Sequence[int], asked: Asked) -> Iterator[Job]:
    """Yield the jobs with these numbers that match, in this order."""
    return pages(invocation, **asked, seqs=seqs)


def how_many_more(invocation: Invocation, shown: int, asked: Asked) -> str:
    """Return how many more jobs match than are shown, as text; empty for none."""
    which = {key: value for key, value in asked.items() if key != "keys"}
    if not set(which) - {"state"}:
        counts = invocation.call("status")["counts"]
        total = sum(counts[state] for state in which.get("state") or counts)
    else:
        rows: Iterable[Job] = pages(invocation, **which, order="newest", keys=["seq"], limit=_PAGE * 5)
        total = sum(1 for _ in islice(rows, COUNTED + shown))
        if total == COUNTED + shown:
            return f"More than {COUNTED:,} other jobs"
    return render.plural(total - shown, "other job") if total > shown else ""
