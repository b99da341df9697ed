"""What is told to a person after something was enqueued: what keeps it from starting."""

from collections.abc import Iterable, Mapping
from typing import Any

from queuectl_client.cli.invocation import Invocation

NO_WORKERS = "No workers are active, so it waits. Start some with: queuectl worker start"


def hint(invocation: Invocation, job: Mapping[str, Any]) -> None:
    """Tell why a job that was just enqueued does not start, where that is so."""
    if invocation.quiet:
        return
    state = job["state"]
    if state == "cancelled":
        invocation.say(f"Job {job['id']} is cancelled already: {job.get('reason')}")
        return
    if state == "pending" and job.get("run_at") and not job.get("ready"):
        from queuectl_client.cli.output.render import full_time

        invocation.say(f"It runs no earlier than {full_time(job['run_at'])}")
    hint_at_queues(invocation, [job["queue"]], job["slots"])


def hint_at_queues(invocation: Invocation, queues: Iterable[str], slots: int) -> None:
    """Tell which of the queues are paused, and how to start workers where there are none, or not that many slots."""
    if invocation.quiet:
        return
    status = invocation.call("status")
    for queue in sorted(set(queues).intersection(status["paused"])):
        invocation.say(f"Queue {queue} is paused, so it waits. Open it with: queuectl queue resume {queue}")
    if not status["workers"]:
        invocation.say(NO_WORKERS)
    else:
        hint_at_slots(invocation, slots, status["workers"])


def hint_at_slots(invocation: Invocation, slots: int, workers: int) -> None:
    """Tell that a job takes more slots than there are. Config slots counts instead of the workers, if set."""
    if slots <= workers or invocation.quiet or invocation.call("config.get", key="slots")["value"] is not None:
        return
    invocation.say(
        f"It needs {slots:,} slots, and there are {workers:,} in all, so it waits. "
        f"Start more with: queuectl worker start -d --count {slots - workers}"
    )
