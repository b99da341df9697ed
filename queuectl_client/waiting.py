"""The calls of one wait for any number of jobs: first until they have ended, then for the jobs, page by page.

Without I/O, so Client, AsyncClient and the CLI share it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from queuectl_client.calls import Call, Emit, Steps
from queuectl_client.errors import Gone

Job = Mapping[str, Any]

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of the ids of one call: half of what a message may have."""
_AROUND: Final = 5
"""Bytes before an id in a message, at most."""


class Wait:
    """Until all have ended, or (`any`) one of those of a call. Each answer to `params` goes to `ended`."""

    def __init__(
        self, ids: Sequence[str | int], *, any: bool = False, timeout: float | None = None, **how: Any
    ) -> None:
        """`how`: `keys` and `limit` of the jobs that are told, as the wire has them."""
        self.done = True
        self.first_failure: Job | None = None
        self.pages: list[Pages] = []
        """The jobs, once all have ended."""
        self._timeout = timeout
        self._until = None if timeout is None else time.monotonic() + timeout
        self._how = how
        self._asked: list[dict[str, Any]] = [{"ids": some, "any": any or None} for some in slices(ids)] or [{}]

    @property
    def params(self) -> dict[str, Any] | None:
        """The next call; None when all have ended, or the time is over."""
        if not self.done or len(self.pages) == len(self._asked):
            return None
        left = None if self._until is None else max(0.0, self._until - time.monotonic())
        return {**self._asked[len(self.pages)], **self._how, "timeout": left}

    def ended(self, answer: Mapping[str, Any]) -> None:
        """What such a call was answered."""
        asked = self._asked[len(self.pages)]
        self.done = answer["done"]
        self.first_failure = self.first_failure or answer.get("first_failure")
        self.pages.append(Pages({**asked, "timeout": 0, **self._how}, self._how, answer))

    def until_ended(self) -> Steps[bool]:
        """Wait; whether it was done in time."""
        while (params := self.params) is not None:
            self.ended((yield Call("job.wait", params)))
        return self.done

    def told(self) -> Steps[None]:
        """The jobs, once all have ended, page after page."""
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
        """Wait, then the jobs. Raises TimeoutError when it was not done in time."""
        if not (yield from self.until_ended()):
            raise TimeoutError(f"not done within {self._timeout:g} s")
        yield from self.told()


class Pages:
    """The jobs of one answer: `jobs` is the first page, and `take` makes the next of each answer to `params`."""

    def __init__(self, again: Mapping[str, Any], how: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        self.jobs: list[Any] = []
        self.params: Mapping[str, Any] | None = None
        """The call for the next page; None when there is none."""
        self._again = again
        self._how = how
        self._told = 0
        self._skip = 0
        self.jobs = self.take(answer)

    def take(self, answer: Mapping[str, Any]) -> list[Any]:
        """The jobs of an answer."""
        jobs: list[Any] = answer["jobs"]
        following = answer.get("next")
        more = following is not None and self._how.get("limit") != 0
        self.params = {"after": following, "timeout": 0, **self._how} if more else None
        fresh = jobs[self._skip :]
        self._skip = max(0, self._skip - len(jobs))
        self._told += len(fresh)
        return fresh

    def forgotten(self) -> None:
        """The daemon was restarted and does not know any more which jobs these were: they are asked for once more."""
        self.params, self._skip = self._again, self._told


def slices(ids: Sequence[str | int]) -> Iterator[Sequence[str | int]]:
    """The ids in pieces that each fit into a call."""
    start = size = 0
    for place, each in enumerate(ids):
        length = _AROUND + len(str(each).encode("utf-8", "surrogateescape"))
        if size + length > MOST_BYTES:
            yield ids[start:place]
            start, size = place, 0
        size += length
    if ids:
        yield ids[start:]
