"""`queuectl send`: give a running job something to read."""

import os
import sys
from typing import Any, Final

import click

from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output.render import plural
from queuectl_client.protocol.messages import MAX_SEND_BYTES

PIECE_BYTES: Final = 64 * 1024
"""As much as a pipe holds: the next piece goes out once the job has read most of this one."""


@verb(
    "send",
    example="""
        queuectl enqueue --stdin-open 'read answer; echo "got $answer"'
        queuectl send last yes
        tar c src | queuectl send job_7 - --eof
        queuectl send job_7 --eof
    """,
)
@click.argument("job", metavar="ID")
@click.argument("text", required=False, metavar="[TEXT|-]")
@click.option("--eof", is_flag=True, help="Close the stdin of the job.")
@click.option("-n", "--no-newline", is_flag=True, help="Do not append a newline to TEXT.")
@pass_invocation
def send(invocation: Invocation, job: str, text: str | None, eof: bool, no_newline: bool) -> None:
    """Give a running job something to read. It was enqueued with --stdin-open.

    TEXT goes as a line, with a newline at its end unless it has one; - sends what stdin has, as it comes, byte for
    byte. Returns once the job's worker has it; while the job reads nothing, that takes until it does.
    """
    if text is None and not eof:
        raise click.UsageError("nothing to send: give TEXT, - for stdin, or --eof")
    sent, answer = 0, None
    if text == "-":
        sent, answer = _pass_on(invocation, job)
    elif text is not None:
        line = text if no_newline or text.endswith("\n") else f"{text}\n"
        data = line.encode("utf-8", "surrogateescape")
        for start in range(0, len(data), MAX_SEND_BYTES):
            answer = _send(invocation, job, data[start : start + MAX_SEND_BYTES])
        sent = len(data)
    if eof:
        answer = invocation.call("job.send", id=answer["id"] if answer else job, eof=True)["jobs"][0]
    if answer is None:
        invocation.say("Nothing was sent: stdin was empty.")
    elif invocation.json:
        invocation.document(answer)
    else:
        told = [f"{plural(sent, 'byte')} sent"] if sent else []
        invocation.say(f"{answer['id']}: {', '.join([*told, 'stdin closed'] if eof else told)}")


def _pass_on(invocation: Invocation, job: str) -> tuple[int, dict[str, Any] | None]:
    """Send stdin in pieces, as they come; how many bytes that were, and the job as it was told last."""
    sent, answer = 0, None
    while piece := os.read(sys.stdin.fileno(), PIECE_BYTES):
        answer = _send(invocation, answer["id"] if answer else job, piece)  # `last` may be another job by now
        sent += len(piece)
    return sent, answer


def _send(invocation: Invocation, job: str, data: bytes) -> dict[str, Any]:
    told: dict[str, Any] = invocation.call("job.send", id=job, data=data)["jobs"][0]
    return told
