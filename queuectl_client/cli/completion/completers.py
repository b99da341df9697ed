"""Completers: candidates for parameters, such as job ids, names and keys. Some query the daemon.

A completer gets the text at the cursor and yields the candidates that begin with it. Errors of calls propagate.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import click

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render
from queuectl_client.protocol.attributes import COMPUTED, EDITABLE, KINDS, SHOWN
from queuectl_client.protocol.permits import PERMITS, JobAction
from queuectl_client.protocol.vocabulary import ReasonCode


class Candidate(NamedTuple):
    """A completion candidate and its description."""

    value: str
    words: str = ""


Source = Callable[[Invocation, click.Context, str], Iterable[Candidate]]

_JOBS: Final = 50
"""Maximum jobs offered, the newest: a longer list is of no use."""
_SEARCHED: Final = 1000
"""Newest jobs searched for ids with the prefix."""
_LOOKED_AT: Final = 200
"""Newest jobs whose labels, names and batches are offered."""
_ACTIONS: Final[Mapping[str, JobAction]] = {
    **{str(action): action for action in JobAction},
    "send": JobAction.KILL,
    "edit": JobAction.MOVE,
    "rm": JobAction.REMOVE,
    "dlq": JobAction.DLQ_RETRY,
}
"""Commands on jobs and their actions, which determine the states of the jobs offered."""
_SIGNALS: Final = ("TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT")


def source(ctx: click.Context, parameter: click.Parameter) -> Source | None:
    """Return the completer of a parameter; None: click completes it by its type."""
    parent = ctx.parent.info_name if ctx.parent is not None else None
    name = parameter.name or ""
    return _OF_NOUN.get((parent or "", name)) or _OF_NAME.get(name)


def _matching(words: Iterable[Candidate], incomplete: str) -> Iterator[Candidate]:
    return (candidate for candidate in words if candidate.value.startswith(incomplete))


def _call(invocation: Invocation, method: str, **params: Any) -> Any:
    invocation.autostart = False
    return invocation.call(method, **params)


def _verb(ctx: click.Context) -> str:
    """Return the first word of the verb: `dlq` for `dlq retry`."""
    while ctx.parent is not None and ctx.parent.parent is not None:
        ctx = ctx.parent
    return ctx.command.name or ""  # the first name, also if an alias was typed


def jobs(invocation: Invocation, ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield references to any number of jobs: ids and selectors."""
    kind, colon, _ = incomplete.partition(":")
    if incomplete.startswith("@"):
        yield from _matching((Candidate(f"@{state}", f"all {state} jobs") for state in render.STATE_LABELS), incomplete)
    elif colon and kind in _SELECTORS:
        for candidate in _SELECTORS[kind](invocation, ctx, incomplete.removeprefix(kind + ":")):
            yield Candidate(f"{kind}:{candidate.value}", candidate.words)
    else:
        yield from job(invocation, ctx, incomplete)
        yield from _matching([Candidate("all", "all jobs")], incomplete)
        if incomplete:
            yield from _matching((Candidate(f"{kind}:", "jobs by it") for kind in _SELECTORS), incomplete)


def job(invocation: Invocation, ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield the newest jobs that the verb applies to, then `last`."""
    action = _ACTIONS.get(_verb(ctx))
    asked = {"state": sorted(PERMITS[action].states)} if action is not None else {}
    page = _call(invocation, "list", **asked, order="newest", limit=_SEARCHED, keys=["id", "state", "command"])
    rows = (row for row in page["jobs"] if row["id"].startswith(incomplete))
    for row in islice(rows, _JOBS):
        yield Candidate(row["id"], f"{row['state']}  {render.command_text(row['command'])}")
    yield from _matching([Candidate("last", "the newest job")], incomplete)


def job_or_batch(invocation: Invocation, ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield jobs, or `batch:NAME`, to wait for."""
    if incomplete.startswith("batch:"):
        yield from jobs(invocation, ctx, incomplete)
    else:
        yield from job(invocation, ctx, incomplete)
        yield from _matching([Candidate("batch:", "all jobs of a batch")] if incomplete else [], incomplete)


def job_or_change(invocation: Invocation, ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield dead jobs, and keys to change before they run again."""
    yield from jobs(invocation, ctx, incomplete)
    if incomplete:
        yield from changes(invocation, ctx, incomplete)


def queues(invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield the existing queues."""
    rows = _call(invocation, "queue.list")["queues"]
    candidates = (Candidate(row["name"], "paused" if row["paused"] else f"{row['ready']} ready") for row in rows)
    return _matching(candidates, incomplete)


def labels(invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield names of labels; after a name, its values."""
    name, equals, _ = incomplete.partition("=")
    found: dict[str, None] = {}
    for row in _newest(invocation):
        for key, value in row["labels"].items():
            if not equals:
                found[f"{key}="] = None
            elif key == name:
                found[f"{key}={value}"] = None
    return _matching(map(Candidate, found), incomplete)


def job_names(invocation: Invocation, ctx: click.Context, incomplete: str) -> Iterable[Candidate]:
    """Yield names of jobs, except for a new job, which gets its own."""
    return () if _verb(ctx) in ("enqueue", "run") else names(invocation, ctx, incomplete)


def names(invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield names of jobs."""
    return _matching(
        map(Candidate, dict.fromkeys(row["name"] for row in _newest(invocation) if row["name"])), incomplete
    )


def batches(invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield names of batches."""
    return _matching(
        map(Candidate, dict.fromkeys(row["batch"] for row in _newest(invocation) if row["batch"])), incomplete
    )


def _newest(invocation: Invocation) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = _call(invocation, "list", order="newest", limit=_LOOKED_AT)["jobs"]
    return jobs


def resources(invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield names of the configured resources."""
    supplies = _call(invocation, "config.get", key="resources")["value"] or ""
    pairs = (part.strip().partition("=") for part in supplies.split(",") if "=" in part)
    return _matching((Candidate(f"{name}=", f"{amount} in all") for name, _, amount in pairs), incomplete)


def settings(invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield config keys, with their values."""
    rows = _call(invocation, "config.list")["config"]
    return _matching((Candidate(row["key"], render.setting_text(row["value"])) for row in rows), incomplete)


def changes(_invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield keys of a job that can be changed."""
    return _matching((Candidate(f"{key}=", attribute.form) for key, attribute in EDITABLE.items()), incomplete)


def filters(invocation: Invocation, ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield keys, or the states, reasons or queues after one; nothing after a space, as quoting differs by shell."""
    key, equals, value = incomplete.partition("=")
    if " " in incomplete:
        return
    if not equals:
        yield from _matching((Candidate(f"{known}=", str(kind)) for known, kind in KINDS.items()), incomplete)
    elif key in ("state", "state!"):
        yield from _matching((Candidate(f"{key}={state}") for state in render.STATE_LABELS), incomplete)
    elif key in ("reason_code", "reason_code!"):
        yield from _matching((Candidate(f"{key}={code}") for code in ReasonCode), incomplete)
    elif key in ("queue", "queue!"):
        yield from (
            Candidate(f"{key}={candidate.value}", candidate.words) for candidate in queues(invocation, ctx, value)
        )


def reasons(_invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield codes of reasons."""
    return _matching(map(Candidate, ReasonCode), incomplete)


def sort_keys(_invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield keys to sort by."""
    return _matching((Candidate(key, str(kind)) for key, kind in KINDS.items()), incomplete)


def states(_invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """States, with commas between them."""
    before, comma, typed = incomplete.rpartition(",")
    names = (state for state in render.STATE_LABELS if state.startswith(typed.lower()))
    return (Candidate(f"{before}{comma}{state}") for state in names)


def columns(_invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield columns of a table that are not yet in the list."""
    before, comma, _ = incomplete.rpartition(",")
    taken = before.split(",")
    return _matching((Candidate(before + comma + key) for key in (*SHOWN, *COMPUTED) if key not in taken), incomplete)


def signals(_invocation: Invocation, _ctx: click.Context, incomplete: str) -> Iterator[Candidate]:
    """Yield names of signals."""
    return _matching(map(Candidate, _SIGNALS), incomplete.upper())


def files(*_: Any) -> Iterator[Candidate]:
    """Let the shell complete paths."""
    yield Candidate(":file")


def folders(*_: Any) -> Iterator[Candidate]:
    """Let the shell complete paths of folders."""
    yield Candidate(":folder")


_SELECTORS: Final[Mapping[str, Source]] = {"label": labels, "name": names, "batch": batches}
_OF_NOUN: Final[Mapping[tuple[str, str], Source]] = {
    ("queue", "name"): queues,
    ("queue", "names"): queues,
    ("config", "key"): settings,
    ("queuectl", "name"): job_names,
    ("dlq", "name"): job_names,
}
_OF_NAME: Final[Mapping[str, Source]] = {
    "job": job,
    "before": job,
    "jobs": jobs,
    "words": job_or_change,
    "changes": changes,
    **dict.fromkeys(("depends_on", "after", "after_any", "after_failed"), job_or_batch),
    "queue": queues,
    "states": states,
    "ids": jobs,
    "labels": labels,
    "batch": batches,
    "filter": filters,
    "reason": reasons,
    "needs": resources,
    "sort": sort_keys,
    "shown": columns,
    "signal": signals,
    **dict.fromkeys(("command", "file", "each", "socket"), files),
    "cwd": folders,
}
