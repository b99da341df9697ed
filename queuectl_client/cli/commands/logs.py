"""`queuectl logs` and `queuectl follow`: the output of a job."""

import sys
from base64 import b64encode
from typing import Any

import click

from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output.follow import Output, Sink, follow_job


@verb(
    "logs",
    example="""
        queuectl logs job_7
        queuectl logs -f last
        queuectl logs job_7 -n 20 --attempt 1
        queuectl logs job_7 | less -R
    """,
)
@click.argument("job", metavar="ID")
@click.option("-f", "--follow", "following", is_flag=True, help="Keep printing until the job has ended.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="K", help="Output of the K-th attempt; default: the newest."
)
@click.option("--stdout", "stream", flag_value="stdout", help="Only stdout, of a job with --split-output.")
@click.option("--stderr", "stream", flag_value="stderr", help="Only stderr, of a job with --split-output.")
@click.option("--raw", is_flag=True, help="Pass every byte to the terminal, escape sequences too.")
@pass_invocation
def logs(
    invocation: Invocation,
    job: str,
    following: bool,
    lines: int | None,
    attempt: int | None,
    stream: str | None,
    raw: bool,
) -> None:
    """Show what a job has written, stdout and stderr in their order.

    A terminal gets text and colours and nothing that could move the cursor; --raw passes all. Files and pipes get
    every byte as it is. Streams that were kept apart go to stdout and stderr. Where output is missing (see the setting
    log_max_bytes) a line on stderr says how much; --json tells it as `dropped`, for the whole output whatever --lines
    shows of it.
    """
    if following:
        if attempt is not None:
            raise click.UsageError("--attempt cannot be combined with --follow, which shows all from the newest on")
        follow_job(invocation, job, raw=raw, stream=stream, last_lines=lines)
        return
    found = invocation.call("job.get", id=job)
    if invocation.json:
        invocation.document(_as_map(invocation, found["id"], attempt, stream, lines))
        return
    apart = ("stdout", "stderr") if found["split_output"] and stream is None else (stream,)
    for one in apart:
        sink = Sink(invocation, raw=raw, stream=sys.stderr if one == "stderr" and stream is None else None)
        _show(invocation, found["id"], sink, attempt, one, lines)


def _show(
    invocation: Invocation, job: str, sink: Sink, attempt: int | None, stream: str | None, lines: int | None
) -> None:
    """What there is now of one attempt's output."""
    # Every page is asked of the same attempt, also when a new one begins meanwhile.
    attempt = attempt or Output(invocation, job, stream=stream).page(0, limit=1)["attempt"]
    if not attempt:
        if stream != "stderr":
            invocation.say(f"{job} has not started.")
        return
    output = Output(invocation, job, attempt=attempt, stream=stream)
    try:
        output.show(sink, output.start_of_last(lines) if lines is not None else 0)
    finally:
        sink.end()


def _as_map(
    invocation: Invocation, job: str, attempt: int | None, stream: str | None, lines: int | None
) -> dict[str, Any]:
    """What there is now of one attempt's output: text where it is UTF-8, else base64."""
    attempt = attempt or Output(invocation, job, stream=stream).page(0, limit=1)["attempt"]
    data, dropped = b"", 0
    if attempt:
        output = Output(invocation, job, attempt=attempt, stream=stream)
        pages = list(output.pages(output.start_of_last(lines) if lines is not None else 0))
        data = b"".join(page["data"] for page in pages)
        told_last = pages[-1] if pages else output.page(-1, limit=1)
        # Of all of it, wherever the last lines begin; an older daemon does not tell that.
        dropped = told_last.get("dropped_in_all", sum(page["dropped"] for page in pages))
    told = {"id": job, "attempt": attempt or None, "stream": stream or "both"}
    try:
        return {**told, "data": data.decode(), "encoding": "utf-8", "dropped": dropped}
    except UnicodeDecodeError:
        return {**told, "data": b64encode(data).decode(), "encoding": "base64", "dropped": dropped}


@verb("follow", example="queuectl follow job_7\nqueuectl follow last")
@click.argument("job", metavar="ID")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@click.option("--raw", is_flag=True, help="Pass every byte to the terminal, escape sequences too.")
@pass_invocation
def follow(invocation: Invocation, job: str, lines: int | None, raw: bool) -> None:
    """Show the output of a job as it comes, until the job has ended: queuectl logs -f."""
    follow_job(invocation, job, raw=raw, last_lines=lines)
