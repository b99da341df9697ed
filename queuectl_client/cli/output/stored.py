"""Collect and print the ids of enqueued jobs."""

import sys
from array import array
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from queuectl_client.cli.invocation import Invocation

_LINES_A_WRITE: Final = 1000


class Stored:
    """The stored jobs, in order. Generated ids take almost no memory, even a million of them."""

    def __init__(self) -> None:
        self._firsts = array("q")
        """Index of the first job of each run of consecutive numbers."""
        self._seqs = array("q")
        """Number of the first job of each run."""
        self._named: dict[int, str] = {}
        """Ids other than `job_` and the number, by index."""
        self.skipped: set[int] = set()
        self.hint: Mapping[str, Any] | None = None
        """The hint in the daemon's last answer: what keeps the jobs from starting."""
        self.count = 0

    def add(self, answer: Mapping[str, Any]) -> None:
        """Add the jobs of the daemon's answer to one message."""
        self.hint = answer.get("hint")
        self.skipped.update(self.count + place for place in answer.get("skipped", ()))
        for id, seq in zip(answer["ids"], answer["seqs"], strict=True):
            if not self._seqs or seq != self._seqs[-1] + self.count - self._firsts[-1]:
                self._firsts.append(self.count)
                self._seqs.append(seq)
            if id != f"job_{seq}":
                self._named[self.count] = id
            self.count += 1

    def committed(self, answer: Mapping[str, Any]) -> None:
        """Handle the daemon's answer to the commit."""
        self.hint = answer.get("hint")

    def seqs(self) -> Iterator[int]:
        """Yield the numbers of the jobs."""
        ends = [*self._firsts[1:], self.count]
        for first, end, seq in zip(self._firsts, ends, self._seqs, strict=True):
            yield from range(seq, seq + end - first)

    def spans(self) -> Iterator[str]:
        """Yield a selector for each run of jobs. Numbers have 15 digits, so that it is no user's id."""
        ends = [*self._firsts[1:], self.count]
        for first, end, seq in zip(self._firsts, ends, self._seqs, strict=True):
            yield f"{seq:015}-{seq + end - first - 1:015}"

    def ids(self) -> Iterator[str]:
        """Yield the ids of the jobs."""
        for place, seq in enumerate(self.seqs()):
            yield self._named.get(place) or f"job_{seq}"


def announce_all(invocation: Invocation, stored: Stored) -> None:
    """Print the ids of the jobs, one per line, or with --json the jobs."""
    if invocation.json:
        from queuectl_client.cli.output.jsonlines import write_array

        write_array(_jobs(invocation, stored))
        return
    before = "" if invocation.quiet else "Job enqueued with ID: "
    lines = (
        id if place in stored.skipped else f"{before}{id}" for place, id in enumerate(stored.ids())
    )  # fmt: skip
    while some := list(islice(lines, _LINES_A_WRITE)):
        sys.stdout.write("\n".join(some) + "\n")
    if stored.skipped:
        invocation.say(
            f"{len(stored.skipped):,} of them already existed with the same unique key and were not enqueued again"
        )


def _jobs(invocation: Invocation, stored: Stored) -> Iterator[Mapping[str, Any]]:
    from queuectl_client.cli.output.listing import pages

    seqs = stored.seqs()
    while some := list(islice(seqs, _LINES_A_WRITE)):
        yield from pages(invocation, seqs=some)
