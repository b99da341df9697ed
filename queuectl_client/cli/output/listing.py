"""Lists of jobs as they come from the daemon: page by page, the newest alone, or sorted.

Whatever the length of the queue, no more is held than a page, or the keys that one run of a sort takes. Prints
nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render

Job = Mapping[str, Any]
Asked = Mapping[str, Any]
"""Parameters of the call `list`: which jobs, and which keys of them."""

COUNTED: Final = 20_000
"""Jobs that are counted one by one to say how many a cut table leaves out; beyond that: more than so many."""
_PAGE: Final = 1_000
_WHOLE: Final = 250
"""Jobs of a page in which each is told whole: a larger one keeps others waiting."""
_NUMBERS: Final = 5_000
MOST_SORTED: Final = 1_000
"""Jobs that the daemon picks out of all by a key; of more it tells the keys, and they are sorted here."""
_FETCHED: Final = 500
"""Jobs that are asked for by their numbers in one call."""


class Order(NamedTuple):
    """How a list is sorted: by this key; those where it is absent come last, either way."""

    key: str
    descending: bool = False

    @property
    def asked(self) -> dict[str, Any]:
        """How the daemon is asked for it."""
        return {} if self == Order("seq") else {"sort": self.key, "descending": self.descending}

    def sorted(self, jobs: Iterable[Job]) -> list[Job]:
        """These jobs in order."""
        return sorted(jobs, key=self.rank, reverse=self.descending)

    def rank(self, job: Job) -> list[Any]:
        """What is compared; with the job's number at its end, which settles ties."""
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
    """The jobs, page by page as they are used. A page may be empty while more follow."""
    after = asked.pop("after", None)
    asked.setdefault("limit", _PAGE if "keys" in asked else _WHOLE)
    while True:
        page = invocation.call("list", **asked, **({"after": after} if after is not None else {}))
        yield from page["jobs"]
        after = page["next"]
        if after is None:
            return


def newest(invocation: Invocation, count: int, asked: Asked) -> Iterable[Job]:
    """The newest `count` jobs, the oldest of them first."""
    if count > _WHOLE:
        return _from_the_oldest(invocation, count, asked)
    return list(newest_first(invocation, asked, count))[::-1]


def _from_the_oldest(invocation: Invocation, count: int, asked: Asked) -> Iterator[Job]:
    """As `newest`, of any number: the first is looked for by the numbers alone, then they are read from it on."""
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
    """The jobs from the newest on; the first `limit` of them."""
    page = _PAGE if "keys" in asked else _WHOLE
    return islice(pages(invocation, **asked, order="newest", limit=min(limit or page, page)), limit)


def in_order(invocation: Invocation, order: Order, asked: Asked, limit: int | None = None) -> Iterator[Job]:
    """The jobs, sorted; the first `limit` of them.

    Of more than a thousand the keys to sort by are read first, then the jobs by their numbers: one that is gone by
    then, or does not fit any longer, is left out.
    """
    if limit is not None and limit <= MOST_SORTED:
        # The daemon knows all of them, and need not tell the keys of each.
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
    """Those of the jobs with these numbers that fit, in this order."""
    return pages(invocation, **asked, seqs=seqs)


def how_many_more(invocation: Invocation, shown: int, asked: Asked) -> str:
    """How many jobs there are besides those shown, in words; empty for none."""
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
