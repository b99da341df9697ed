"""The dead letter queue: list, retry and purge dead jobs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from queuectl_client.protocol import filters
from queuectl_client.protocol.attributes import ValueKind
from queuectl_client.protocol.filters import Comparison, Filter, Key, Not
from queuectl_client.protocol.messages import DlqList, DlqPurge, DlqRetry
from queuectl_client.protocol.operations import DeadFilter, DeadJobs
from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.selectors import Criteria
from queuectl_client.protocol.vocabulary import JobState, ReasonCode
from queuectld.domain.rate import Rate, read_rate, spacing_ms
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs import editing
from queuectld.scheduler.jobs.bulk import BulkCursor, BulkExecutor, BulkResult
from queuectld.scheduler.jobs.selection import all_of
from queuectld.scheduler.settings import ConfigService
from queuectld.store.records import ActionResult, ListQuery, Page
from queuectld.store.store import Store

DEAD: Final = Comparison(Key("state", ValueKind.STATE), "=", (str(JobState.DEAD),))
_REASON: Final = Key("reason", ValueKind.TEXT)
_REASON_CODE: Final = Key("reason_code", ValueKind.REASON)
_NUMBERED: Final[Mapping[str, Key]] = {
    ReasonCode.EXIT: Key("exit_code", ValueKind.NUMBER),
    ReasonCode.SIGNAL: Key("signal", ValueKind.SIGNAL),
}
"""Reason codes that may be followed by a number, and the key that holds it."""
_FINISHED: Final = Key("finished_at", ValueKind.TIME)


class DlqService:
    """Methods on dead jobs. Raise Refused (wrong_state) for a named job that is not dead, (not_found) if unknown."""

    def __init__(
        self, store: Store, clock: Clock, config: ConfigService, remove_files: Callable[[Sequence[str]], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._remove_files = remove_files
        self._bulk = BulkExecutor(store, clock)

    async def list(self, request: DlqList) -> Page:
        """Return one page of dead jobs, oldest first."""
        now_ms = self._clock.now().wall_ms
        query = ListQuery(where=_dead(request), now_ms=now_ms, after=request.after, limit=request.limit)
        return await self._store.queries.page(query)

    async def retry(self, request: DlqRetry) -> BulkResult:
        """Make dead jobs pending again with zero attempts, keeping their history; with `rate`, spaced in time."""
        rate = None if request.rate == "none" else read_rate(request.rate)
        how: dict[str, Any] = {}
        if request.changes:
            how["changes"] = editing.stored_changes(request.changes, self._config.value)

        async def act(seqs: Sequence[int], cursor: BulkCursor, picked: bool) -> ActionResult:
            delay = None if rate is None else partial(_spaced, rate, cursor.done)
            # Delays count from the start of the operation, across slices and calls.
            now = self._clock.now() if rate is None else cursor.since
            spaced = {**how, "delay_ms": delay}
            return await self._store.apply(
                JobAction.DLQ_RETRY, seqs, now=now, picked=picked, brief=request.brief, how=spaced
            )  # fmt: skip

        return await self._each(JobAction.DLQ_RETRY, request, act)

    async def purge(self, request: DlqPurge) -> BulkResult:
        """Remove dead jobs with their attempts and output."""
        before_ms = None
        if request.older_than is not None:
            before_ms = self._clock.now().wall_ms - round(request.older_than * 1000)

        async def act(seqs: Sequence[int], _: BulkCursor, picked: bool) -> ActionResult:
            now = self._clock.now()
            done = await self._store.apply(JobAction.DLQ_PURGE, seqs, now=now, picked=picked, brief=request.brief)
            self._remove_files(done.files)
            return done

        return await self._each(JobAction.DLQ_PURGE, request, act, before_ms)

    async def _each(self, verb: JobAction, request: DeadJobs, act: Any, before_ms: int | None = None) -> BulkResult:
        old = None if before_ms is None else Comparison(_FINISHED, "<=", (before_ms,))
        if request.ids is None:
            return await self._bulk.apply(verb, (), request, act, listing=Criteria(all_of(_dead(request), old)))
        return await self._bulk.apply(verb, request.ids, request, act, condition=old)


def _dead(request: DeadFilter) -> Filter:
    """Build the filter of a request from its parameters."""
    parts: list[Filter | None] = [DEAD]
    if request.queue is not None:
        parts.append(Comparison(Key("queue", ValueKind.TEXT), "=", (request.queue,)))
    for key, value in (request.label or {}).items():
        parts.append(Comparison(Key("label", ValueKind.TEXT, key), "=", (value,)))
    if request.name is not None:
        parts.append(Comparison(Key("name", ValueKind.TEXT), "~", (request.name,)))
    if request.since is not None:
        parts.append(Comparison(_FINISHED, ">=", (request.since,)))
    if request.reason is not None:
        parts += _died_of(request.reason)
    if request.filter is not None:
        parts.append(filters.parse(request.filter))
    whole = all_of(*parts)
    assert whole is not None
    return whole


def _died_of(given: str) -> list[Filter]:
    """Build the filter for `reason`: a code, a code with its number (`exit 3`), or a prefix of the text."""
    word, _, number = given.partition(" ")
    if word in {*ReasonCode}:
        code = Comparison(_REASON_CODE, "=", (word,))
        if not number:
            return [code]
        if word in _NUMBERED and number.isdecimal():
            return [code, Comparison(_NUMBERED[word], "=", (min(int(number), 2**53),))]
    # The prefix must end at a word boundary: `dependency job_1` does not match `dependency job_12`.
    begin = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in given)
    return [
        Comparison(_REASON, "~", (f"{begin}*",)),
        Not(Comparison(_REASON, "~", (f"{begin}[0-9A-Za-z]*",))),
    ]


def _spaced(rate: Rate, before: int, index: int) -> int:
    return spacing_ms(rate, before + index)


def remove_log_files(folder: Path, files: Sequence[str]) -> None:
    """Delete log files given relative to `folder`; missing ones are ignored."""
    for name in files:
        (folder / name).unlink(missing_ok=True)
