"""`queuectl edit`: change a job that does not run, by KEY=VALUE or in an editor."""

import os
import sys
from typing import Any

import click

from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.changes import Change, Job, needs_job, typed
from queuectl_client.errors import Conflict, InvalidParams
from queuectl_client.protocol.vocabulary import ENDED_STATES


@verb(
    "edit",
    example="""
        queuectl edit job_7 priority=5 timeout=10m
        queuectl edit job_7 'command=make test' labels.user=ada env.MODE=fast
        queuectl edit last
    """,
)
@click.argument("job", metavar="ID")
@click.argument("changes", nargs=-1, type=Change(), metavar="[KEY=VALUE]...")
@pass_invocation
def edit(invocation: Invocation, job: str, changes: tuple[tuple[str, str], ...]) -> int:
    """Change a job that waits, or that has ended, for its retry. Without KEY=VALUE it is opened in $EDITOR, as TOML.

    KEY is a key of the job (command, queue, priority, timeout, retry_on, env, …). `none` takes a value away:
    timeout=none. Lists are typed with commas: retry_on=75,SIGKILL. labels, needs and env are changed as a whole
    (labels=a=1,b=2) or entry by entry (labels.a=1, env.MODE=none). What is not named stays as it is.
    """
    if not changes:
        return _in_editor(invocation, job)
    if not needs_job(changes):
        answer = invocation.call("job.edit", id=job, changes=typed(changes))
    else:
        before = invocation.call("job.get", id=job)
        answer = invocation.call("job.edit", id=before["id"], changes=typed(changes, before), rev=before["rev"])
    return _tell(invocation, answer["jobs"][0])


def _in_editor(invocation: Invocation, ref: str) -> int:
    by_a_person = sys.stdin.isatty() and sys.stderr.isatty()
    if not by_a_person and not (os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        raise click.UsageError("no terminal for an editor; give KEY=VALUE, such as priority=5")
    from queuectl_client.cli.jobinput import editfile

    before: Job = invocation.call("job.get", id=ref)
    text = editfile.written(before)
    while True:
        edited = click.edit(text, extension=".toml")
        if edited is None:
            invocation.say("Nothing was changed.")
            return 0
        try:
            return _send(invocation, before, editfile.changes(before, edited))
        except (InvalidParams, Conflict) as error:
            # What was typed is not thrown away for a slip of the pen.
            if not by_a_person or isinstance(error, Conflict):
                raise
            invocation.error(error.message)
            if not click.confirm("Edit it again?", default=True, err=True, prompt_suffix=" "):
                raise
            text = edited


def _send(invocation: Invocation, before: Job, changed: dict[str, Any]) -> int:
    if not changed:
        invocation.say("Nothing was changed.")
        return 0
    # Its id, for `last` may be another job by now; its rev, for the job may be another one than was shown.
    answer = invocation.call("job.edit", id=before["id"], changes=changed, rev=before["rev"])
    return _tell(invocation, answer["jobs"][0])


def _tell(invocation: Invocation, job: Job) -> int:
    if invocation.json:
        invocation.document([job])
    else:
        invocation.data(job["id"] if invocation.quiet else f"Job {job['id']} changed")
        if job["state"] in ENDED_STATES:
            invocation.say(f"It is {job['state']}; to run it with the change: queuectl retry {job['id']}")
    return 0
