"""`queuectl worker`: start, stop, list and scale workers."""

from collections.abc import Sequence
from typing import Any

import click

from queuectl_client.cli.framework import noun, pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render
from queuectl_client.cli.output.printing import table
from queuectl_client.cli.output.render import plural
from queuectl_client.errors import NoDaemon

COUNT = click.IntRange(min=1)


@noun("worker", example="queuectl worker start --count 3\nqueuectl worker start -d --count 3\nqueuectl worker stop")
def worker() -> None:
    """Workers: the processes that run jobs, one at a time each."""


@worker.verb("start", example="queuectl worker start\nqueuectl worker start --count 3\nqueuectl worker start -d")
@click.option("--count", type=COUNT, default=1, show_default=True, metavar="N", help="Number of workers.")
@click.option("-d", "--detach", is_flag=True, help="Run in the background; restarted with the daemon.")
@pass_invocation
def start(invocation: Invocation, count: int, detach: bool) -> int:
    """Start workers, and show what they do until Ctrl-C.

    They then finish their current job before this exits; a second Ctrl-C does not wait for that.
    """
    if not detach:
        from queuectl_client.cli.commands.foreground import run_pool

        return run_pool(invocation, count)
    _tell(invocation, invocation.call("worker.start", count=count, detach=True)["workers"], "Started")
    return 0


@worker.verb("stop", example="queuectl worker stop\nqueuectl worker stop --count 1 --no-wait")
@click.option("--count", type=COUNT, metavar="N", help="Number of workers, idle ones first; default: all.")
@click.option("--now", is_flag=True, help="Terminate running jobs: TERM, then KILL.")
@click.option("--no-wait", is_flag=True, help="Return immediately.")
@pass_invocation
def stop(invocation: Invocation, count: int | None, now: bool, no_wait: bool) -> None:
    """Let workers finish their current job and end. No new job starts. Works from anywhere."""
    params: dict[str, Any] = {"now": now, "wait": not no_wait}
    if count is not None:
        params["count"] = count
    try:
        answer = invocation.client(autostart=False).call("worker.stop", **params)
    except NoDaemon:
        answer = {"workers": []}
    except KeyboardInterrupt:
        invocation.say("\nThe workers end when their jobs have ended. To end the jobs: queuectl worker stop --now")
        raise
    workers = answer["workers"]
    for left in answer.get("left", ()):
        invocation.warn(f"left behind: {left}")
    if workers or invocation.json:
        _tell(invocation, workers, "Stopping" if no_wait else "Stopped")
    else:
        invocation.say("No workers are running.")


@worker.verb("list", example="queuectl worker list\nqueuectl worker list --json")
@pass_invocation
def list_workers(invocation: Invocation) -> None:
    """Show every worker and what it does."""
    workers: list[dict[str, Any]] = invocation.call("worker.list")["workers"]
    if invocation.json or invocation.quiet:
        _tell(invocation, workers, "")
    elif workers:
        headers = ("ID", "PID", "STATE", "JOB", "POOL", "SINCE", "DONE")
        table(invocation, headers, [_row(one) for one in workers])
    else:
        invocation.say("No workers. Start some with: queuectl worker start")


@worker.verb("scale", example="queuectl worker scale 4")
@click.argument("count", type=click.IntRange(min=0))
@pass_invocation
def scale(invocation: Invocation, count: int) -> None:
    """Set the number of detached workers: start some, or let some finish and end."""
    _tell(invocation, invocation.call("worker.scale", count=count)["workers"], "Scaled to", "detached worker")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    pool = one.get("pool")
    if isinstance(pool, dict):
        pool = f"{pool['id']} ({pool['kind']})"
    return (
        one["id"],
        str(one.get("pid") or "-"),
        one["state"],
        render.escape(one.get("job") or "-"),
        "-" if pool is None else str(pool),
        render.clock_time(one.get("since")),
        str(one.get("jobs_done", 0)),
    )


def _tell(
    invocation: Invocation, workers: Sequence[dict[str, Any]], done: str, what: str = "worker"
) -> None:  # fmt: skip
    """Tell which workers it was about, as --json, --quiet or a person would have it."""
    if invocation.json:
        invocation.document(list(workers))
    elif invocation.quiet:
        for one in workers:
            invocation.data(one["id"])
    else:
        names = ", ".join(one["id"] for one in workers)
        invocation.say(f"{done} {plural(len(workers), what)}{': ' if names else ''}{names}")
