"""Hints after enqueueing: what keeps a new job from starting."""

from collections.abc import Mapping
from typing import Any

from queuectl_client.cli.invocation import Invocation

NO_WORKERS = "No workers are active, so it waits. Start some with: queuectl worker start"

DRAINING = "The daemon is draining, so it waits. Resume with: queuectl daemon drain --resume"


def tell_why_it_waits(invocation: Invocation, job: Mapping[str, Any], hint: Mapping[str, Any] | None) -> None:
    """Print why a job that was just enqueued does not start, if it does not. `hint`: that of the answer."""
    if invocation.quiet:
        return
    if str(job["id"]) != str(job["seq"]):
        tell_what_id_hides(invocation, job["id"])
    state = job["state"]
    if state == "cancelled":
        invocation.say(f"Job {job['id']} is cancelled already: {job.get('reason')}")
        return
    if state == "pending" and job.get("run_at") and not job.get("ready"):
        from queuectl_client.cli.output.render import full_time

        invocation.say(f"It runs no earlier than {full_time(job['run_at'])}")
    tell_hint(invocation, hint, job["slots"])


def tell_what_id_hides(invocation: Invocation, id: str) -> None:
    """Print that an id such as `12` or `3-9` now means this job, not a number or a range."""
    if invocation.json or not (id[:1].isdecimal() and id[-1:].isdecimal()):
        return
    from queuectl_client.protocol.selectors import hidden_by

    if (hidden := hidden_by(id)) is not None:
        invocation.say(f"Commands take {id!r} for the job with this id, not for {hidden}.")


def tell_hint(invocation: Invocation, hint: Mapping[str, Any] | None, slots: int) -> None:
    """Print the daemon's hint for new jobs that need this many slots. None: an older daemon, without hints."""
    if hint is None:
        return
    if hint["draining"]:
        invocation.say(DRAINING)
    for queue in hint["paused"]:
        invocation.say(f"Queue {queue} is paused, so it waits. Resume it with: queuectl queue resume {queue}")
    if not hint["workers"]:
        invocation.say(NO_WORKERS)
    else:
        tell_slots(invocation, slots, hint["slots"])


def tell_slots(invocation: Invocation, slots: int, there_are: int) -> None:
    """Print that a job needs more slots than there are."""
    if slots > there_are:
        be = "is" if there_are == 1 else "are"
        invocation.say(
            f"It needs {slots:,} slots, but there {be} {there_are:,} in all, so it waits. "
            f"Start more with: queuectl worker start -d --count {slots - there_are}"
        )
