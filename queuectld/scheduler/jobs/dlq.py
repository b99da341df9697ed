"""The dead letter queue: looking at what gave up, running it again, throwing it away."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from queuectl_client.protocol import filters
from queuectl_client.protocol.attributes import ValueKind
from queuectl_client.protocol.filters import Comparison, Filter, Key, Not
from queuectl_client.protocol.messages import DlqList, DlqPurge, DlqRetry
from queuectl_client.protocol.operations import DeadFilter, DeadJobs
from queuectl_client.protocol.selectors import Pick
from queuectl_client.protocol.vocabulary import JobState, ReasonCode
from queuectld.domain.permits import Verb
from queuectld.domain.rate import Rate, read_rate, spacing_ms
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs import editing
from queuectld.scheduler.jobs.bulk import Bulk, Changed, Place
from queuectld.scheduler.jobs.selection import both
from queuectld.scheduler.settings import ConfigService
from queuectld.store.records import Done, ListQuery, Page
from queuectld.store.store import Store

DEAD: Final = Comparison(Key("state", ValueKind.STATE), "=", (str(JobState.DEAD),))
_REASON: Final = Key("reason", ValueKind.TEXT)
_REASON_CODE: Final = Key("reason_code", ValueKind.REASON)
_NUMBERED: Final[Mapping[str, Key]] = {
    ReasonCode.EXIT: Key("exit_code", ValueKind.NUMBER),
    ReasonCode.SIGNAL: Key("signal", ValueKind.SIGNAL),
}
"""Codes that a number may follow, and where it stands."""
_FINISHED: Final = Key("finished_at", ValueKind.TIME)


class DlqService:
    """Verbs on dead jobs. One that is named and not dead is refused (wrong_state), an unknown one too (not_found)."""

    def __init__(
        self, store: Store, clock: Clock, config: ConfigService, remove_files: Callable[[Sequence[str]], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._remove_files = remove_files
        self._bulk = Bulk(store, clock)

    async def list(self, wanted: DlqList) -> Page:
        """One page of dead jobs, oldest first."""
        query = ListQuery(where=_dead(wanted), now_ms=self._clock.now().wall_ms, after=wanted.after, limit=wanted.limit)
        return await self._store.queries.page(query)

    async def retry(self, wanted: DlqRetry) -> Changed:
        """Dead jobs back to pending with no attempts counted; their history stays. At a rate: one after the other."""
        rate = None if wanted.rate == "none" else read_rate(wanted.rate)
        how: dict[str, Any] = {}
        if wanted.changes:
            how["changes"] = editing.stored_changes(wanted.changes, self._config.value)

        async def act(seqs: Sequence[int], place: Place, picked: bool) -> Done:
            delay = None if rate is None else partial(_spaced, rate, place.done)
            # Delays count from when the first of them began, however many slices and calls it takes.
            now = self._clock.now() if rate is None else place.since
            spaced = {**how, "delay_ms": delay}
            return await self._store.act(
                Verb.DLQ_RETRY, seqs, now=now, picked=picked, brief=wanted.brief, how=spaced
            )  # fmt: skip

        return await self._each(Verb.DLQ_RETRY, wanted, act)

    async def purge(self, wanted: DlqPurge) -> Changed:
        """Dead jobs removed for good, with their attempts and output."""
        before_ms = None
        if wanted.older_than is not None:
            before_ms = self._clock.now().wall_ms - round(wanted.older_than * 1000)

        async def act(seqs: Sequence[int], _: Place, picked: bool) -> Done:
            now = self._clock.now()
            done = await self._store.act(Verb.DLQ_PURGE, seqs, now=now, picked=picked, brief=wanted.brief)
            self._remove_files(done.files)
            return done

        return await self._each(Verb.DLQ_PURGE, wanted, act, before_ms)

    async def _each(self, verb: Verb, wanted: DeadJobs, act: Any, before_ms: int | None = None) -> Changed:
        old = None if before_ms is None else Comparison(_FINISHED, "<=", (before_ms,))
        if wanted.ids is None:
            return await self._bulk.each(verb, (), wanted, act, listing=Pick(both(_dead(wanted), old)))
        return await self._bulk.each(verb, wanted.ids, wanted, act, narrowed=old)


def _dead(wanted: DeadFilter) -> Filter:
    """The filter that a request has put together of its parameters."""
    parts: list[Filter | None] = [DEAD]
    if wanted.queue is not None:
        parts.append(Comparison(Key("queue", ValueKind.TEXT), "=", (wanted.queue,)))
    for key, value in (wanted.label or {}).items():
        parts.append(Comparison(Key("label", ValueKind.TEXT, key), "=", (value,)))
    if wanted.name is not None:
        parts.append(Comparison(Key("name", ValueKind.TEXT), "~", (wanted.name,)))
    if wanted.since is not None:
        parts.append(Comparison(_FINISHED, ">=", (wanted.since,)))
    if wanted.reason is not None:
        parts += _died_of(wanted.reason)
    if wanted.filter is not None:
        parts.append(filters.parse(wanted.filter))
    whole = both(*parts)
    assert whole is not None
    return whole


def _died_of(given: str) -> list[Filter]:
    """What `reason` asks for: a code alone; with its number, as `exit 3`; or any other beginning of the words."""
    word, _, number = given.partition(" ")
    if word in {*ReasonCode}:
        code = Comparison(_REASON_CODE, "=", (word,))
        if not number:
            return [code]
        if word in _NUMBERED and number.isdecimal():
            return [code, Comparison(_NUMBERED[word], "=", (min(int(number), 2**53),))]
    # Where the words end there or go on with no letter or digit: `dependency job_1` is not `dependency job_12`.
    begin = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in given)
    return [
        Comparison(_REASON, "~", (f"{begin}*",)),
        Not(Comparison(_REASON, "~", (f"{begin}[0-9A-Za-z]*",))),
    ]


def _spaced(rate: Rate, before: int, index: int) -> int:
    return spacing_ms(rate, before + index)


def remove_log_files(folder: Path, files: Sequence[str]) -> None:
    """Delete log files named relative to `folder`; those already gone are fine."""
    for name in files:
        (folder / name).unlink(missing_ok=True)
