"""Paginated procedures: lists, changes to the jobs of a selector, output. Sans-I/O."""

from collections.abc import Mapping
from typing import Any

from queuectl_client.calls import Call, Emit, Steps
from queuectl_client.job import Missing
from queuectl_client.session import JOBS_A_CALL


def listed(filters: Mapping[str, Any]) -> Steps[None]:
    """Emit the jobs that match."""
    after = None
    while True:
        page = yield Call("list", {**filters, "after": after})
        yield Emit(page["jobs"])
        after = page["next"]
        if after is None:
            return


def changed(method: str, params: Mapping[str, Any]) -> Steps[None]:
    """Apply a change to any number of jobs and emit the changed ones."""
    after = None
    while True:
        answer = yield Call(method, {**params, "limit": JOBS_A_CALL, "after": after})
        yield Emit(answer["jobs"])
        after = answer.get("next")
        if after is None:
            return


def output_pages(
    id: str | int, attempt: int | None, stream: str | None, missing: Missing, *, wait: bool
) -> Steps[None]:  # fmt: skip
    """Emit the output of a job; `wait`: until the attempt has ended."""
    offset = 0
    while True:
        where = {"attempt": attempt, "stream": stream, "offset": offset, "wait": wait}
        page = yield Call("job.logs", {"id": id, **where})
        offset = page["next"]
        if page.get("dropped") and missing is not None:
            missing(page["dropped"])
        if page["data"]:
            yield Emit((page["data"],))
        if page["eof"] or not (page["data"] or page.get("dropped") or wait):
            return
