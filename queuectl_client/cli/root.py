"""The table of verbs: where each is to be found, and what `queuectl --help` says of it."""

from collections.abc import Mapping
from typing import Final

import click

from queuectl_client.cli.framework import Entry, LazyNoun

SECTIONS: Final[Mapping[str, Mapping[str, Entry]]] = {
    "Enqueue": {
        "enqueue": Entry("enqueue:enqueue", "Enqueue a command, or a file of them.", ("add", "submit")),
        "run": Entry("run:run", "Enqueue a command, show its output, exit as it does."),
    },
    "Look": {
        "status": Entry("status:status", "How many jobs there are in each state, and workers."),
        "list": Entry("jobs:list_jobs", "Jobs, a line each.", ("ls", "ps")),
        "show": Entry("jobs:show", "Everything about a job, and its attempts.", ("inspect",)),
        "logs": Entry("logs:logs", "The output of a job.", ("log",)),
        "follow": Entry("logs:follow", "The output of a job as it comes, until it has ended."),
        "explain": Entry("line:explain", "Why a job does not run, and when it may."),
        "wait": Entry("wait:wait", "Wait until jobs have ended."),
        "events": Entry("events:events", "What happened, an event a line."),
    },
    "Change jobs": {
        "cancel": Entry("change:cancel", "End jobs for good, waiting or running."),
        "kill": Entry("change:kill", "Send a signal to all of a running job."),
        "send": Entry("send:send", "Give a running job something to read."),
        "pause": Entry("change:pause", "Stop running jobs (STOP) until they are resumed."),
        "resume": Entry("change:resume", "Let paused jobs go on (CONT)."),
        "hold": Entry("change:hold", "Keep waiting jobs back until they are released."),
        "release": Entry("change:release", "Let held jobs run."),
        "retry": Entry("change:retry", "Run ended jobs again, failed ones now.", ("restart",)),
        "edit": Entry("edit:edit", "Change a job that does not run."),
        "move": Entry("line:move", "Give a waiting job another place in line."),
        "rm": Entry("change:remove", "Remove jobs that do not run, with their output."),
        "dlq": Entry("dlq:dlq", "The dead letter queue: jobs that gave up.", ("dead",)),
    },
    "Run the queue": {
        "worker": Entry("workers:worker", "Start, stop, list and scale workers."),
        "queue": Entry("queues:queue", "List, limit, pause and resume queues."),
        "config": Entry("config:config", "Show and set the defaults."),
        "daemon": Entry("daemon:daemon", "Start, stop and look at the daemon."),
        "doctor": Entry("maintenance:doctor", "Look for what is wrong, and say the way out."),
        "backup": Entry("maintenance:backup", "Copy the store to a file."),
        "prune": Entry("maintenance:prune", "Remove old jobs that have ended."),
        "completion": Entry("completion:completion", "Print the completion script of a shell."),
    },
}


@click.group(
    cls=LazyNoun,
    sections=SECTIONS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    example="""
        queuectl enqueue 'echo Hello World'
        queuectl worker start --count 3
        queuectl run 'make test'
        queuectl list --state failed
    """,
)
@click.pass_context
def root(ctx: click.Context) -> object:
    """A queue of commands that run in the background, are tried again when they fail, and survive crashes.

    Without a verb: queuectl status.
    """
    if ctx.invoked_subcommand is not None:
        return None
    from queuectl_client.cli.commands.status import status

    return ctx.invoke(status)
