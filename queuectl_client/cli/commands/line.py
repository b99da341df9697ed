"""`queuectl move` and `queuectl explain`: where a job stands in line, and why it does not run."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from queuectl_client.cli.commands.job_actions import dry_run_option
from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render


@verb(
    "move",
    example="""
        queuectl move job_7 --first
        queuectl move job_7 --before job_3
        queuectl move last --queue nightly --last
    """,
)
@click.argument("job", metavar="ID")
@click.option("--first", is_flag=True, help="Move to the front of its queue.")
@click.option("--last", is_flag=True, help="Move to the end of its queue.")
@click.option("--before", metavar="ID", help="Move directly before this job, into its queue and priority.")
@click.option("--queue", metavar="NAME", help="Move to this queue.")
@dry_run_option
@pass_invocation
def move(
    invocation: Invocation, job: str, first: bool, last: bool, before: str | None, queue: str | None, dry_run: bool
) -> None:
    """Give a waiting job another place in line. Its priority changes where that is needed to get it there."""
    if first + last + (before is not None) > 1 or not (first or last or before or queue):
        raise click.UsageError("give one of --first, --last and --before ID, or a --queue, or both")
    place = {"first": first or None, "last": last or None, "before": before, "queue": queue}
    params = {key: value for key, value in place.items() if value is not None}
    jobs = invocation.call("job.move", id=job, **params, dry_run=dry_run)["jobs"]
    if dry_run:
        from queuectl_client.cli.commands.jobs import COLUMNS, show_jobs

        show_jobs(invocation, jobs, COLUMNS)
        invocation.say("Dry run: 1 job would be moved, and nothing was changed.")
    elif invocation.json:
        invocation.document(jobs)
    else:
        where = "to the front" if first else "to the end" if last else f"before {before}" if before else ""
        to_queue = f"to queue {jobs[0]['queue']}" if queue else ""
        moved = f"Job {jobs[0]['id']} moved {' '.join(filter(None, (to_queue, where)))}"
        invocation.data(jobs[0]["id"] if invocation.quiet else moved)


@verb("explain", example="queuectl explain job_7\nqueuectl explain last --json")
@click.argument("job", metavar="ID")
@pass_invocation
def explain(invocation: Invocation, job: str) -> None:
    """Say why a job does not run: every rule that holds it back, its place in line, and when it may start."""
    told = invocation.call("job.explain", id=job)
    if invocation.json:
        invocation.document(told)
        return
    if invocation.quiet:
        for rule in told["rules"]:
            invocation.data(rule["rule"])
        return
    label = render.STATE_LABELS.get(told["state"], told["state"])
    invocation.data(f"{told['job']}: {label}")
    for rule in told["rules"]:
        until = f" Until {render.full_time(rule['until'])}." if rule["until"] else ""
        for line in _wrapped(f"{render.escape(rule['text'])}{until}"):
            invocation.data(line)
    for line in _forecast(told):
        invocation.data(f"  {line}")
    sys.stdout.flush()


def _wrapped(sentence: str) -> list[str]:
    """The sentence, indented; on a terminal in lines that fit."""
    if not render.on_terminal():
        return [f"  {sentence}"]
    import textwrap

    return textwrap.wrap(
        sentence,
        max(render.terminal_width(), 20),
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )


def _forecast(told: Mapping[str, Any]) -> list[str]:
    """Its place in line and when it may start, in words; nothing for a job that runs or has ended."""
    if {rule["rule"] for rule in told["rules"]} & {"running", "recovery", "ending", "ended"}:
        return []
    lines = []
    if told["position"] is not None:
        more = "" if told["position_exact"] else ", or further back"
        lines.append(f"Place in line: {told['position']:,}{more}")
    if not told["rules"]:
        lines.append("May start: now")
    elif {rule["rule"] for rule in told["rules"]} <= {"workers-busy", "position"}:
        lines.append("May start: as soon as a worker is free")
    elif told["starts_at"] is None:
        lines.append("May start: not known, it depends on the above")
    else:
        lines.append(f"May start: {render.full_time(told['starts_at'])}")
    return lines
