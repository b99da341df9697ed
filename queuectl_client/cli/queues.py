"""`queuectl queue`: the queues, and pausing them."""

from typing import Any

import click

from queuectl_client.cli import render
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.verbs import noun, pass_invocation


@noun("queue", example="queuectl queue list\nqueuectl queue pause nightly")
def queue() -> None:
    """Queues: which there are, and whether jobs in them start. A queue appears when it is first used."""


@queue.verb("list", example="queuectl queue list\nqueuectl queue list --json")
@pass_invocation
def list_queues(invocation: Invocation) -> None:
    """Show all queues with the number of their jobs."""
    queues: list[dict[str, Any]] = invocation.call("queue.list")["queues"]
    if invocation.json:
        invocation.document(queues)
    elif invocation.quiet:
        for row in queues:
            invocation.data(row["name"])
    else:
        states = ("pending", "processing", "failed", "dead", "completed")
        rows = [
            (
                render.escape(row["name"]),
                "paused" if row["paused"] else "open",
                *(str(row.get("counts", {}).get(state, 0)) for state in states),
            )
            for row in queues
        ]
        render.table(invocation, ("QUEUE", "IS", *(state.upper() for state in states)), rows)


@queue.verb("pause", example="queuectl queue pause nightly")
@click.argument("name")
@pass_invocation
def pause(invocation: Invocation, name: str) -> None:
    """Start no more jobs of this queue; those that run go on."""
    _tell(invocation, invocation.call("queue.pause", name=name), "paused: no job of it starts until it is resumed")


@queue.verb("resume", example="queuectl queue resume nightly")
@click.argument("name")
@pass_invocation
def resume(invocation: Invocation, name: str) -> None:
    """Start jobs of this queue again."""
    _tell(invocation, invocation.call("queue.resume", name=name), "open")


def _tell(invocation: Invocation, answer: dict[str, Any], what: str) -> None:
    if invocation.json:
        invocation.document(answer["queues"])
        return
    for row in answer["queues"]:
        invocation.say(f"Queue {row['name']} is {what}")
