"""The table of verbs: where each is to be found, and what `queuectl --help` says of it."""

from collections.abc import Mapping
from typing import Final

import click

from queuectl_client.cli.framework import LazyCommand, LazyVerbGroup

SECTIONS: Final[Mapping[str, Mapping[str, LazyCommand]]] = {
    "Enqueue": {
        "enqueue": LazyCommand("enqueue:enqueue", "Enqueue a command, or a file of them.", ("add", "submit")),
        "run": LazyCommand("run:run", "Enqueue a command, show its output, exit as it does."),
    },
    "Look": {
        "status": LazyCommand("status:status", "How many jobs there are in each state, and workers."),
        "list": LazyCommand("jobs:list_jobs", "Jobs, a line each.", ("ls", "ps")),
        "show": LazyCommand("jobs:show", "Everything about a job, and its attempts.", ("inspect",)),
        "logs": LazyCommand("logs:logs", "The output of a job.", ("log",)),
        "follow": LazyCommand("logs:follow", "The output of a job as it comes, until it has ended."),
        "explain": LazyCommand("line:explain", "Why a job does not run, and when it may."),
        "wait": LazyCommand("wait:wait", "Wait until jobs have ended."),
        "events": LazyCommand("events:events", "What happened, an event a line."),
    },
    "Change jobs": {
        "cancel": LazyCommand("change:cancel", "End jobs for good, waiting or running."),
        "kill": LazyCommand("change:kill", "Send a signal to all of a running job."),
        "send": LazyCommand("send:send", "Give a running job something to read."),
        "pause": LazyCommand("change:pause", "Stop running jobs (STOP) until they are resumed."),
        "resume": LazyCommand("change:resume", "Let paused jobs go on (CONT)."),
        "hold": LazyCommand("change:hold", "Keep waiting jobs back until they are released."),
        "release": LazyCommand("change:release", "Let held jobs run."),
        "retry": LazyCommand("change:retry", "Run ended jobs again, failed ones now.", ("restart",)),
        "edit": LazyCommand("edit:edit", "Change a job that does not run."),
        "move": LazyCommand("line:move", "Give a waiting job another place in line."),
        "rm": LazyCommand("change:remove", "Remove jobs that do not run, with their output."),
        "dlq": LazyCommand("dlq:dlq", "The dead letter queue: jobs that gave up.", ("dead",)),
    },
    "Run the queue": {
        "worker": LazyCommand("workers:worker", "Start, stop, list and scale workers."),
        "queue": LazyCommand("queues:queue", "List, limit, pause and resume queues."),
        "config": LazyCommand("config:config", "Show and set the defaults."),
        "daemon": LazyCommand("daemon:daemon", "Start, stop and look at the daemon."),
        "doctor": LazyCommand("maintenance:doctor", "Look for what is wrong, and say the way out."),
        "backup": LazyCommand("maintenance:backup", "Copy the store to a file."),
        "prune": LazyCommand("maintenance:prune", "Remove old jobs that have ended."),
        "completion": LazyCommand("completion:completion", "Print the completion script of a shell."),
    },
}


@click.group(
    cls=LazyVerbGroup,
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
