"""A job's command as it is typed: a JSON object, one shell string, or several words."""

from collections.abc import Callable

import click

from queuectl_client.cli.jobinput.options import JobMap


def command_of(command: tuple[str, ...], *, shell: bool, lenient: bool, say: Callable[[str], None]) -> JobMap:
    """The job that the words alone describe. Raises UsageError where there is none, InvalidParams for bad JSON."""
    if not command:
        raise click.UsageError("no command given; use -f FILE or -f - to read commands from a file or stdin")
    if len(command) > 1:
        return {"command": list(command)}
    if shell or not command[0].lstrip().startswith("{"):
        return {"command": command[0]}
    from queuectl_client.cli.jobinput.jobjson import drop_unknown, parse

    job = parse(command[0])
    if lenient:
        drop_unknown(job, say)
    return job
