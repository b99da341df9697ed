"""Print on stderr what a `wait` waits for, and why: after a second, and again on changes.

Runs in a thread with its own connection, so it never delays the wait or makes it fail. Woken by events of the daemon,
at most once a second.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from threading import Event, Thread
from typing import Any, Final, NamedTuple

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output.outcome import has_ended
from queuectl_client.cli.output.render import clock_time, escape, plural
from queuectl_client.errors import ConnectionLost, QueuectlError
from queuectl_client.protocol.vocabulary import ENDED_STATES, EventKind

FIRST_AFTER_S: Final = 1.0
EVERY_S: Final = 1.0
RETURN_WITHIN_S: Final = 60.0
_SHOWN: Final = 250
"""Jobs searched for the first that has not ended."""
_PAUSED: Final = 50
"""Maximum paused queues excluded from the search for a ready job."""
_ENDS: Final = frozenset(EventKind(f"job.{state}") for state in ENDED_STATES)
_USUAL: Final = frozenset({EventKind.JOB_PROCESSING, EventKind.JOB_COMPLETED, EventKind.JOBS_ADDED})
"""Frequent events while jobs run: subscribed to only while none of the awaited jobs is running."""
_PASSING: Final = frozenset({"position", "workers-busy"})
"""Rules that only say that other jobs run first."""
_WAYS_OUT: Final = {
    "workers": "Start some with: queuectl worker start",
    "held": "Release it with: queuectl release {job}",
}


class Report(NamedTuple):
    """What a wait waits for: the sentence, and a key that changes when it is to be printed again."""

    sentence: str
    key: object
    runs: bool
    """Whether an awaited job is running."""


class WaitReport:
    """Reports on one wait. `jobs`: the awaited jobs; empty: until nothing can run."""

    def __init__(self, invocation: Invocation, jobs: Sequence[str], *, announced: bool) -> None:
        """`announced`: the lack of workers was already printed."""
        self._invocation = invocation.another()
        self._invocation.autostart = False
        self._say = invocation.say
        self._jobs = jobs
        self._known = ("workers",) if announced else ()
        self._last: object = self._known or None
        self._over = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:
            pass  # no thread can be started now: report nothing

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _run(self) -> None:
        if self._over.wait(FIRST_AFTER_S):
            return
        try:
            while not self._over.is_set():
                try:
                    self._follow()
                except ConnectionLost:
                    self._await_daemon()
        except (QueuectlError, OSError):
            return  # the wait itself reports the error
        finally:
            self._invocation.close()

    def _follow(self) -> None:
        client = self._invocation.client()
        kinds: frozenset[EventKind] | None = None
        while not self._over.is_set():
            report = self._report()
            requested = frozenset(EventKind) - (_USUAL if report is None or report.runs else frozenset())
            if len(self._jobs) != 1 and (report is None or report.runs):
                requested -= _ENDS
            if requested != kinds:
                client.call("events.subscribe", kinds=sorted(requested))
                kinds = requested
                continue  # look again, for changes before the subscription
            if report is not None and report.key != self._last and not self._over.is_set():
                self._say(report.sentence)
                self._last = report.key
            next(client.notifications())
            client.drop_notifications(until=time.monotonic() + EVERY_S)

    def _report(self) -> Report | None:
        if self._jobs:
            return _one(self._invocation, self._jobs, self._known)
        return _all(self._invocation, self._known)

    def _await_daemon(self) -> None:
        from queuectl_client.paths import resolve
        from queuectl_client.returning import wait_for_daemon

        self._invocation.close()
        wait_for_daemon(resolve(socket=self._invocation.socket), RETURN_WITHIN_S).close()


def _by_state(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in counts.items())


def _one(invocation: Invocation, jobs: Sequence[str], known: Collection[str]) -> Report | None:
    """Report on named jobs: how many are left, and what keeps the first one waiting."""
    answer = invocation.call("job.wait", ids=list(jobs), timeout=0, keys=["id", "state"], limit=_SHOWN)
    left = {state: n for state, n in answer["counts"].items() if n and state not in ENDED_STATES}
    first = next((job for job in answer["jobs"] if not has_ended(job)), None)
    count = sum(left.values())
    if answer["done"] or not count:
        return None
    what = f"{count:,} jobs ({_by_state(left)})"
    if first is None:
        return Report(f"Waiting for {what}.", tuple(left), "processing" in left)
    why, key = _why(invocation, first["id"], known)
    if count == 1:
        sentence = f"Waiting for {escape(first['id'])} ({first['state']}). {why}"
        return Report(sentence.rstrip(), key, first["state"] == "processing")
    return Report(f"Waiting for {what}; {escape(first['id'])}: {why}".rstrip(": "), key, "processing" in left)


def _all(invocation: Invocation, known: Collection[str]) -> Report | None:
    """Report on a wait until nothing can run."""
    status = invocation.call("status")
    left = {state: status["counts"][state] for state in ("processing", "failed") if status["counts"][state]}
    ready = _ready(invocation, status["paused"])
    if left.get("processing"):
        waits = status["counts"]["pending"]
        words = _by_state({**left, **({"pending": waits} if waits and ready else {})})
        return Report(f"Waiting for all jobs: {words}.", "runs", runs=True)
    if ready is not None:
        why, key = _why(invocation, ready, known)
        return Report(f"Waiting for the jobs that are ready; {escape(ready)}: {why}".rstrip(": "), key, runs=False)
    if left:
        page = invocation.call("list", state=["failed"], keys=["id", "run_at"], sort="run_at", limit=1)["jobs"]
        when = f"; {escape(page[0]['id'])} runs again at {clock_time(page[0]['run_at'])}" if page else ""
        return Report(f"Waiting for {plural(left['failed'], 'failed job')}{when}.", "failed", runs=False)
    return None


def _ready(invocation: Invocation, paused: Sequence[str]) -> str | None:
    """Return the first ready job of a queue that is not paused, as far as one call searches."""
    where = "ready=true"
    if paused:
        quoted = ", ".join(f'"{name}"' for name in paused[:_PAUSED])
        where += f" and not queue in ({quoted})"
    page = invocation.call("list", state=["pending"], filter=where, keys=["id"], limit=1)["jobs"]
    return str(page[0]["id"]) if page else None


def _why(invocation: Invocation, job: str, known: Collection[str]) -> tuple[str, object]:
    """Return what keeps the job waiting, as text, and the codes of its rules as a key.

    `known`: codes of rules that were printed before, and are left out if there is another.
    """
    rules: Sequence[Mapping[str, Any]] = invocation.call("job.explain", id=job)["rules"]
    counted = [rule for rule in rules if rule["rule"] not in _PASSING] or rules[:1]
    told = [rule for rule in counted if rule["rule"] not in known] or counted
    words = []
    for rule in told:
        until = f" Until {clock_time(rule['until'])}." if rule["until"] else ""
        way_out = _WAYS_OUT.get(rule["rule"], "").format(job=job)
        is_complete = not way_out or way_out in rule["text"]
        end = "" if rule is told[-1] else "."  # behind a command at the end of the line it would be copied, too
        words.append(f"{escape(rule['text'])}{until}" + ("" if is_complete else f" {way_out}{end}"))
    return " ".join(words), tuple(rule["rule"] for rule in counted)
