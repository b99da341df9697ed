"""`queuectl status`: the counts. Imports nothing that it does not need, for it is called most."""

from typing import Any, Final

from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation

ALWAYS_SHOWN: Final = {
    "pending": "Pending",
    "processing": "Processing",
    "completed": "Completed",
    "failed": "Failed",
    "dead": "Dead (DLQ)",
}
SHOWN_WHEN_THERE: Final = {"held": "Held", "blocked": "Blocked", "cancelled": "Cancelled"}


@verb("status", example="queuectl status\nqueuectl status --json")
@pass_invocation
def status(invocation: Invocation) -> None:
    """Show how many jobs are in each state, and how many workers are active.

    The first six lines are always the same ones; other states follow where there are such jobs.
    """
    answer = invocation.call("status")
    if invocation.json:
        invocation.document(answer)
        return
    for line in status_lines(answer):
        invocation.data(line)
    if answer.get("draining"):
        invocation.say("The daemon is draining: it starts no jobs. Resume with: queuectl daemon drain --resume")
    if answer.get("paused"):
        invocation.say(f"Paused queues (nothing in them starts): {', '.join(answer['paused'])}")


def status_lines(answer: dict[str, Any]) -> list[str]:
    """The lines of `queuectl status`."""
    counts = answer["counts"]
    lines = [f"{label}: {counts.get(state, 0)}" for state, label in ALWAYS_SHOWN.items()]
    lines.append(f"Active Workers: {answer['workers']}")
    lines += [f"{label}: {counts[state]}" for state, label in SHOWN_WHEN_THERE.items() if counts.get(state)]
    return lines
