"""`queuectl doctor`, `queuectl backup` and `queuectl prune`: for the store as a whole.

The first two work with or without a daemon. The store is the daemon's package to read, so they run `queuectld` as a
program of its own.
"""

import json
import os
import subprocess
import sys
from typing import Any, Final

import click

from queuectl_client.cli.commands import job_actions
from queuectl_client.cli.commands.listing import filter_options, pointed, which
from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.states import State
from queuectl_client.cli.jobinput.values import AGE
from queuectl_client.cli.output import render
from queuectl_client.errors import InvalidParams

MARKS: Final = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@verb("doctor", example="queuectl doctor\nqueuectl doctor --repair")
@click.option("--repair", is_flag=True, help="Repair the store first; no daemon may be running.")
@pass_invocation
def doctor(invocation: Invocation, repair: bool) -> int:
    """Look for what is wrong with the store, its folders and the daemon, and say the way out. Exit 1 for a problem.

    It only looks, and needs no daemon. With --repair the store is copied, and then mended as far as it can be.
    """
    # On a terminal it tells there how far it is.
    stderr = None if sys.stderr.isatty() else subprocess.PIPE
    done = _queuectld(invocation, "doctor", *(["--repair"] if repair else []), stderr=stderr)
    if done.returncode not in (0, 1) or not done.stdout:
        invocation.error((done.stderr or "").strip() or "queuectld could not be run")
        return 1
    found: list[dict[str, Any]] = json.loads(done.stdout)
    if invocation.json:
        invocation.document(found)
    else:
        for finding in found:
            if not invocation.quiet or finding["level"] != "ok":
                invocation.data(_line(finding))
    return done.returncode


@verb("backup", example="queuectl backup ~/queuectl-monday.db")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@pass_invocation
def backup(invocation: Invocation, file: str, force: bool) -> int:
    """Copy the store to FILE, whole and readable by you alone, while the daemon runs or not.

    To go back to it: stop the daemon, put the file in the place of the store, start the daemon.
    """
    done = _queuectld(invocation, "backup", os.path.abspath(file), *(["--force"] if force else []))
    if done.returncode:
        invocation.error(done.stderr.strip().removeprefix("queuectld: "))
        return done.returncode
    if invocation.json:
        invocation.document({"file": os.path.abspath(file), "bytes": os.path.getsize(file)})
    else:
        invocation.say(f"Copied the store to {file} ({render.size(os.path.getsize(file))})")
    return 0


@verb(
    "prune",
    example="""
        queuectl prune --older-than 7d
        queuectl prune --state dead,cancelled --older-than 30d --dry-run
        queuectl prune --queue nightly --label user=ada
    """,
)
@click.option(
    "--older-than", type=AGE, default="0", metavar="DURATION", help="Only jobs that ended at least this long ago."
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=State(("completed", "cancelled", "dead")),
    help="Only these states; default: completed and cancelled.",
)
@filter_options("Ended")
@click.option("--dry-run", is_flag=True, help="Show how many would be removed; change nothing.")
@job_actions.yes_option
@pass_invocation
def prune(
    invocation: Invocation,
    /,
    older_than: float,
    states: tuple[tuple[str, ...], ...],
    dry_run: bool,
    yes: bool,
    **filters: Any,
) -> int:
    """Remove jobs that have ended, with their attempts and output. Dead ones go only when told so.

    To have it done by itself: queuectl config set keep_completed 7d (keep_cancelled, keep_dead).
    """
    state = [state for some in states for state in some]
    params = {"older_than": older_than, "states": state or None, **which(**filters)}
    try:
        return _prune(invocation, params, dry_run=dry_run, yes=yes)
    except InvalidParams as error:
        raise pointed(error, filters["filter"]) from None


def _prune(invocation: Invocation, params: dict[str, Any], *, dry_run: bool, yes: bool) -> int:
    if not dry_run and not yes and job_actions.may_ask():
        count = invocation.call("job.prune", **params, dry_run=True)["removed"]
        if count > 1 and not job_actions.ask(f"Remove {render.plural(count, 'job')}?"):
            invocation.say("Nothing was removed.")
            return job_actions.NOT_DONE
    try:
        answer = invocation.call("job.prune", **params, dry_run=dry_run or None)
    except KeyboardInterrupt:
        if not dry_run:
            invocation.say("\nThe daemon goes on removing these jobs.")
        raise
    if invocation.json:
        invocation.document(answer)
    elif invocation.quiet:
        invocation.data(str(answer["removed"]))
    elif dry_run:
        invocation.data(f"{render.plural(answer['removed'], 'job')} would be removed")
    else:
        invocation.data(f"{render.plural(answer['removed'], 'job')} removed")
    return 0


def _line(finding: dict[str, Any]) -> str:
    line = f"{MARKS[finding['level']]:<8} {finding['subject']}: {render.escape(finding['said'])}"
    return f"{line}\n         {render.escape(finding['way_out'])}" if finding["way_out"] else line


def _queuectld(
    invocation: Invocation, *words: str, stderr: int | None = subprocess.PIPE
) -> "subprocess.CompletedProcess[str]":
    socket = ["--socket", invocation.socket] if invocation.socket else []
    return subprocess.run(
        [sys.executable, "-P", "-m", "queuectld", *words, *socket, "--parent", str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )
