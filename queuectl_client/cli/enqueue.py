"""`queuectl enqueue`: one job, in every form it can be typed in. A file of them is the business of bulk.py."""

from typing import Any

import click

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.joboptions import JobMap, described, job_options, lay_over
from queuectl_client.cli.verbs import Verb, pass_invocation
from queuectl_client.submission import described as submission

NO_WORKERS = "No workers are active, so it waits. Start some with: queuectl worker start"


class CommandVerb(Verb):
    """A verb that takes a command: an option it does not know was probably meant for that."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As any command, with a hint for `enqueue ls -l`."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = f"Options of the command itself go behind --: {ctx.command_path} -- COMMAND {error.option_name} …"
            raise click.NoSuchOption(error.option_name, f"{error.format_message()} {hint}", ctx=ctx) from None


@click.command(
    "enqueue",
    cls=CommandVerb,
    example="""
        queuectl enqueue '{"command":"echo Hello World"}'
        queuectl enqueue 'tar czf backup.tgz src && echo done' --priority 5 --timeout 10m
        queuectl enqueue -- rsync -a src/ host:dst/
        queuectl enqueue -f commands.txt --queue nightly
        seq 100 | sed 's/^/echo /' | queuectl enqueue -f -
    """,
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("-f", "--file", "file", metavar="FILE", help="A JSON object or a shell command a line; - is stdin.")
@click.option("--shell", is_flag=True, help="Take the command for a shell string, though it begins with {.")
@click.option("--lenient", is_flag=True, help="Warn of unknown keys in the JSON instead of refusing them.")
@click.option("--wait", is_flag=True, help="Wait until it has ended, and exit as it does.")
@click.option("--follow", is_flag=True, help="Show its output until it has ended, and exit as it does.")
@job_options
@pass_invocation
def enqueue(
    invocation: Invocation,
    /,
    command: tuple[str, ...],
    file: str | None,
    shell: bool,
    lenient: bool,
    wait: bool,
    follow: bool,
    **options: Any,
) -> int:
    """Enqueue a command to run in the background, in this folder, with this environment.

    COMMAND is a JSON object, one shell string, or several words that run without a shell. An option wins over the
    same key of the JSON. With -f all of the file is stored, or nothing.
    """
    if file is not None:
        from queuectl_client.cli.bulk import enqueue_file

        if command or follow or options["id"]:
            raise click.UsageError("-f FILE goes with neither a COMMAND, --follow nor --id")
        return enqueue_file(invocation, file, described(options), shell=shell, lenient=lenient, wait=wait)
    job = build(invocation, command, described(options), shell=shell, lenient=lenient)
    stored = store(invocation, job)
    if not (wait and invocation.json):
        announce(invocation, stored)
    if follow:
        from queuectl_client.cli.follow import follow_job
        from queuectl_client.cli.outcome import exit_code

        return exit_code(follow_job(invocation, stored["id"]))
    if wait:
        return _wait(invocation, stored["id"])
    return 0


def _wait(invocation: Invocation, job: str) -> int:
    """Wait for the job, tell how it ended, and exit as it did."""
    from queuectl_client.cli.wait import ended_jobs, ending, first_failure

    ended = ended_jobs(invocation, [job]) or []
    for one in ended:
        if invocation.json:
            invocation.document(one)
        else:
            invocation.say(ending(one))
    return first_failure(ended)


def build(
    invocation: Invocation, command: tuple[str, ...], options: JobMap, *, shell: bool = False, lenient: bool = False
) -> JobMap:
    """The whole job that the words and options describe, with what it takes from this process.

    Raises UsageError where there is no command, or JSON that cannot be read.
    """
    if not command:
        raise click.UsageError("no command is given; a file or stdin is read with -f FILE or -f -")
    if len(command) > 1:
        job: JobMap = {"command": list(command)}
    elif shell or not command[0].lstrip().startswith("{"):
        job = {"command": command[0]}
    else:
        from queuectl_client.cli.jobjson import drop_unknown, parse

        job = parse(command[0])
        if lenient:
            drop_unknown(job, invocation.say)
    return submission(lay_over(job, options), {})


def store(invocation: Invocation, job: JobMap) -> JobMap:
    """Enqueue it; the job as stored. Raises what the daemon refuses it with."""
    stored: JobMap = invocation.call("enqueue", **job)
    return stored


def announce(invocation: Invocation, job: JobMap) -> None:
    """Tell which job it became, and how to start workers where there are none."""
    if invocation.json:
        invocation.document(job)
    elif invocation.quiet:
        invocation.data(job["id"])
    else:
        invocation.data(f"Job enqueued with ID: {job['id']}")
    if job["state"] == "cancelled":
        invocation.say(f"Job {job['id']} is cancelled already: {job.get('reason')}")
    else:
        hint_at_workers(invocation)


def hint_at_workers(invocation: Invocation) -> None:
    """Tell how to start workers where there are none."""
    if not invocation.quiet and not invocation.call("status")["workers"]:
        invocation.say(NO_WORKERS)
