"""The calls of one wait for any number of jobs: wait until they have ended, then fetch them page by page.

Sans-I/O, shared by Client, AsyncClient and the CLI.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from queuectl_client.calls import Call, Emit, Steps
from queuectl_client.errors import Gone

Job = Mapping[str, Any]

MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of ids in one call: half the largest message."""
_AROUND: Final = 5
"""Maximum size of an id's MessagePack header, in bytes."""


class Wait:
    """Wait until all jobs (`any`: one of them) have ended. Each answer to a call of `params` goes to `ended`."""

    def __init__(
        self, ids: Sequence[str | int], *, any: bool = False, timeout: float | None = None, **how: Any
    ) -> None:
        """`how`: the wire parameters `keys` and `limit` of the pages."""
        self.done = True
        self.first_failure: Job | None = None
        self.pages: list[Pages] = []
        """The pages of jobs; None until the wait is over."""
        self._timeout = timeout
        self._until = None if timeout is None else time.monotonic() + timeout
        self._how = how
        self._asked: list[dict[str, Any]] = [{"ids": some, "any": any or None} for some in slices(ids)] or [{}]

    @property
    def params(self) -> dict[str, Any] | None:
        """Return the parameters of the next call; None when all jobs have ended or the time is over."""
        if not self.done or len(self.pages) == len(self._asked):
            return None
        left = None if self._until is None else max(0.0, self._until - time.monotonic())
        return {**self._asked[len(self.pages)], **self._how, "timeout": left}

    def ended(self, answer: Mapping[str, Any]) -> None:
        """Handle the answer to a call."""
        asked = self._asked[len(self.pages)]
        self.done = answer["done"]
        self.first_failure = self.first_failure or answer.get("first_failure")
        self.pages.append(Pages({**asked, "timeout": 0, **self._how}, self._how, answer))

    def until_ended(self) -> Steps[bool]:
        """Wait; return False on a timeout."""
        while (params := self.params) is not None:
            self.ended((yield Call("job.wait", params)))
        return self.done

    def emit_pages(self) -> Steps[None]:
        """Emit the jobs page by page, after the wait."""
        for pages in self.pages:
            yield Emit(pages.jobs)
            while pages.params is not None:
                try:
                    answer = yield Call("job.wait", pages.params)
                except Gone:
                    pages.forgotten()
                    continue
                yield Emit(pages.take(answer))

    def jobs(self) -> Steps[None]:
        """Wait, then emit the jobs. Raise TimeoutError on a timeout."""
        if not (yield from self.until_ended()):
            raise TimeoutError(f"not done within {self._timeout:g} s")
        yield from self.emit_pages()


class Pages:
    """Pages of jobs: `jobs` is the first; `take` returns that of the answer to `params`."""

    def __init__(self, again: Mapping[str, Any], how: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        self.jobs: list[Any] = []
        self.params: Mapping[str, Any] | None = None
        """Parameters of the call for the next page; None after the last."""
        self._again = again
        self._how = how
        self._fetched = 0
        self._skip = 0
        self.jobs = self.take(answer)

    def take(self, answer: Mapping[str, Any]) -> list[Any]:
        """Return the jobs of an answer."""
        jobs: list[Any] = answer["jobs"]
        following = answer.get("next")
        more = following is not None and self._how.get("limit") != 0
        self.params = {"after": following, "timeout": 0, **self._how} if more else None
        fresh = jobs[self._skip :]
        self._skip = max(0, self._skip - len(jobs))
        self._fetched += len(fresh)
        return fresh

    def forgotten(self) -> None:
        """Ask again from the beginning: a restarted daemon no longer has this answer."""
        self.params, self._skip = self._again, self._fetched


def slices(ids: Sequence[str | int]) -> Iterator[Sequence[str | int]]:
    """Yield slices of the ids that each fit into a call."""
    start = size = 0
    for place, each in enumerate(ids):
        length = _AROUND + len(str(each).encode("utf-8", "surrogateescape"))
        if size + length > MOST_BYTES:
            yield ids[start:place]
            start, size = place, 0
        size += length
    if ids:
        yield ids[start:]
