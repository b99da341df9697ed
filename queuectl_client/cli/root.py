"""Table of verbs: their modules, and their summaries in `queuectl --help`."""

from collections.abc import Mapping
from typing import Final

import click

from queuectl_client.cli.framework import LazyCommand, LazyVerbGroup

SECTIONS: Final[Mapping[str, Mapping[str, LazyCommand]]] = {
    "Enqueue": {
        "enqueue": LazyCommand("enqueue:enqueue", "Enqueue one or many commands.", ("add", "submit")),
        "run": LazyCommand("run:run", "Run a command through the queue: show its output, exit with its exit code."),
    },
    "Inspect": {
        "status": LazyCommand("status:status", "Show the number of jobs in each state and of workers."),
        "list": LazyCommand("jobs:list_jobs", "List jobs.", ("ls", "ps")),
        "show": LazyCommand("jobs:show", "Show the details and attempts of a job.", ("inspect",)),
        "logs": LazyCommand("logs:logs", "Show the output of a job.", ("log",)),
        "follow": LazyCommand("logs:follow", "Follow the output of a job until it has ended."),
        "explain": LazyCommand("line:explain", "Explain why a job does not run, and when it may."),
        "wait": LazyCommand("wait:wait", "Wait until jobs have ended."),
        "events": LazyCommand("events:events", "List events."),
    },
    "Change jobs": {
        "cancel": LazyCommand("change:cancel", "Cancel waiting or running jobs."),
        "kill": LazyCommand("change:kill", "Send a signal to all processes of a running job."),
        "send": LazyCommand("send:send", "Write to the stdin of a running job."),
        "pause": LazyCommand("change:pause", "Stop running jobs (STOP) until they are resumed."),
        "resume": LazyCommand("change:resume", "Resume paused jobs (CONT)."),
        "hold": LazyCommand("change:hold", "Hold waiting jobs until they are released."),
        "release": LazyCommand("change:release", "Release held jobs."),
        "retry": LazyCommand("change:retry", "Run ended jobs again, failed ones now.", ("restart",)),
        "edit": LazyCommand("edit:edit", "Edit a job that is not running."),
        "move": LazyCommand("line:move", "Move a waiting job within or between queues."),
        "rm": LazyCommand("change:remove", "Remove jobs that are not running, with their output."),
        "dlq": LazyCommand("dlq:dlq", "The dead letter queue: jobs that gave up.", ("dead",)),
    },
    "Run the queue": {
        "worker": LazyCommand("workers:worker", "Start, stop, list and scale workers."),
        "queue": LazyCommand("queues:queue", "List, limit, pause and resume queues."),
        "config": LazyCommand("config:config", "Show and set the defaults."),
        "daemon": LazyCommand("daemon:daemon", "Start, stop and inspect the daemon."),
        "doctor": LazyCommand("maintenance:doctor", "Check the store and the daemon for problems."),
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
