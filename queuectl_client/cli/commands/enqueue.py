"""`queuectl enqueue`: enqueue one job. Many at once are enqueued by batches.py."""

from collections.abc import Sequence
from typing import Any, Final

import click

from queuectl_client.cli.framework import HeadedOption, VerbCommand, pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.command import command_of, script_of
from queuectl_client.cli.jobinput.options import JobMap, described, job_options, lay_over, refuse_idle
from queuectl_client.cli.output.hints import tell_why_it_waits
from queuectl_client.protocol.attributes import GIVEN
from queuectl_client.submission import described as submission


class EnqueueVerb(VerbCommand):
    """A verb that takes a command: an option it does not know was probably meant for that."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As any command, with a hint for `enqueue ls -l`: neither its -l nor ours is guessed."""
        if (behind := self._short_behind_command(ctx, args)) is not None:
            raise click.UsageError(
                f"{behind} behind the command may belong to it or to queuectl: put it before the command, "
                f"or for the command itself after --: {ctx.command_path} -- COMMAND {behind} …",
                ctx,
            )
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from queuectl_client.cli.meanings import JOB_OPTIONS

            if (meant := JOB_OPTIONS.get(error.option_name)) is not None:
                # As the message: click would leave out a possibility that is not spelled alike.
                message = f"{error.format_message()} Did you mean {meant!r}?"
                raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None
            hint = f"Options of the command itself go after --: {ctx.command_path} -- COMMAND {error.option_name} …"
            raise click.NoSuchOption(error.option_name, f"{error.format_message()} {hint}", ctx=ctx) from None

    def _short_behind_command(self, ctx: click.Context, args: Sequence[str]) -> str | None:
        """A short option of a job that stands behind a bare word of the command; None for none.

        A command in one word, as JSON or for the shell, has its own options inside, so what follows is ours.
        """
        options = {name: each for each in self.get_params(ctx) for name in each.opts if isinstance(each, click.Option)}
        rest = iter(args)
        bare = False
        for word in rest:
            if word == "--":
                return None
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            if not word.startswith("-") or word == "-":
                bare = bare or not any(letter in word for letter in " \t\n{")
                continue
            if bare and name in _OF_A_JOB:
                return name
            option = options.get(name)
            if isinstance(option, click.Option) and not option.is_flag and name == word:
                next(rest, None)
        return None


_OF_A_JOB: Final = frozenset(attribute.short for attribute in GIVEN.values() if attribute.short)
MANY: Final = "Many at once"


@click.command(
    "enqueue",
    cls=EnqueueVerb,
    example="""
        queuectl enqueue '{"command":"echo Hello World"}'
        queuectl enqueue 'tar czf b.tgz src && echo done' --priority 5 --timeout 10m
        queuectl enqueue -- rsync -a src/ host:dst/
        queuectl enqueue 'make report' --after last --run-at 'tomorrow 09:00'
        queuectl enqueue -f commands.txt --queue nightly
        queuectl list --queue nightly --json | queuectl enqueue -f - --new-ids
        queuectl enqueue --array 1-100%4 'render frame-{}.pov' --then 'make film'
        find . -name '*.wav' -print0 | queuectl enqueue -0 --each - -- lame {} {}.mp3
    """,
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--shell", is_flag=True, help="Treat the command as a shell command even if it begins with {.")
@click.option(
    "--script",
    metavar="FILE",
    help="Run this script, as it is now, by the interpreter of its #! line; COMMAND is its arguments. - is stdin.",
)
@click.option("--lenient", is_flag=True, help="Warn about unknown JSON keys instead of rejecting them.")
@click.option("--wait", is_flag=True, help="Wait until the job has ended and exit with its exit code.")
@click.option("--follow", is_flag=True, help="Show the output until the job has ended and exit with its exit code.")
@click.option(
    "-f",
    "--file",
    cls=HeadedOption,
    heading=MANY,
    metavar="FILE",
    help="Read JSON objects, an array of them, or one shell command per line; - is stdin.",
)
@click.option(
    "--new-ids",
    cls=HeadedOption,
    heading=MANY,
    is_flag=True,
    help="Ignore the ids in the JSON, so that jobs printed by list --json can be enqueued again.",
)
@click.option(
    "--array",
    cls=HeadedOption,
    heading=MANY,
    metavar="RANGE",
    help="One job per number of 1-100, 1,3,7-9 or 0-90:10; {} is the number. A %K at the end: at most K at once.",
)
@click.option(
    "--each",
    cls=HeadedOption,
    heading=MANY,
    metavar="FILE",
    help="One job per line of FILE; {} is the line; - is stdin.",
)
@click.option(
    "-0",
    "--null",
    cls=HeadedOption,
    heading=MANY,
    is_flag=True,
    help="Lines of --each end with NUL instead of newline.",
)
@click.option(
    "--then",
    cls=HeadedOption,
    heading=MANY,
    multiple=True,
    metavar="COMMAND",
    help="Run COMMAND when all jobs have completed.",
)
@click.option(
    "--then-any",
    cls=HeadedOption,
    heading=MANY,
    multiple=True,
    metavar="COMMAND",
    help="Run COMMAND when all jobs have ended, in any way.",
)
@click.option(
    "--then-failed",
    cls=HeadedOption,
    heading=MANY,
    multiple=True,
    metavar="COMMAND",
    help="Run COMMAND when all jobs have ended and one has failed.",
)
@job_options
@pass_invocation
def enqueue(
    invocation: Invocation,
    /,
    command: tuple[str, ...],
    shell: bool,
    script: str | None,
    lenient: bool,
    wait: bool,
    follow: bool,
    file: str | None,
    new_ids: bool,
    array: str | None,
    each: str | None,
    null: bool,
    then: tuple[str, ...],
    then_any: tuple[str, ...],
    then_failed: tuple[str, ...],
    **options: Any,
) -> int:
    """Enqueue a command to run in the background, in this folder, with this environment.

    COMMAND is a JSON object, one shell string, or several words that run without a shell. An option wins over the
    same key of the JSON. Of many jobs all are stored, or none.

    With --array and --each, {} in COMMAND stands for the number or the line, quoted where a shell reads it. Without {}
    a line is the last argument. In the values of --id, --name, --label, --key, --unique, --cwd, --env and --stdin {}
    stands for it too, as it is. Each job of an array has its number in QUEUECTL_ARRAY_INDEX. The jobs are a batch
    (--batch), which --then waits for.
    """
    followers = [(text, "completed") for text in then] + [(text, "any") for text in then_any]
    followers += [(text, "dead") for text in then_failed]
    if file is not None or array is not None or each is not None or followers:
        from queuectl_client.cli.commands.batches import BulkRequest, enqueue_many

        if script is not None:
            raise click.UsageError("--script is one job; it cannot be combined with -f, --array, --each or --then")
        if follow:
            raise click.UsageError("--follow works with one job; for many use queuectl wait or queuectl events")
        many = BulkRequest(command, file=file, array=array, each=each, null=null, followers=followers, new_ids=new_ids)
        return enqueue_many(invocation, many, described(options), shell=shell, lenient=lenient, wait=wait)
    if null:
        raise click.UsageError("-0 requires --each")
    given = described(options)
    if script is not None:
        if "stdin" in given or "stdin_open" in given:
            raise click.UsageError("--script takes the job's stdin; it cannot be combined with another one")
        job = build_of(script_of(script, command), given)
    else:
        job = build(invocation, command, given, shell=shell, lenient=lenient, new_ids=new_ids)
    stored, hint = store(invocation, job)
    if not (follow or wait):
        announce(invocation, stored, hint)
        return 0
    from queuectl_client.cli.output.detaching import detaching

    with detaching(invocation, stored["id"], "follow" if follow else "wait"):
        if not (wait and invocation.json):
            announce(invocation, stored, hint)
        return _follow(invocation, stored["id"]) if follow else _wait(invocation, stored["id"], hint)


def _follow(invocation: Invocation, job: str) -> int:
    """Show the job's output until it has ended, and exit as it did."""
    from queuectl_client.cli.output.follow import follow_job
    from queuectl_client.cli.output.outcome import exit_code

    return exit_code(follow_job(invocation, job))


def _wait(invocation: Invocation, job: str, hint: JobMap | None) -> int:
    """Wait for the job, tell how it ended, and exit as it did. `hint`: what was told of it when it was stored."""
    from queuectl_client.cli.commands.wait import ending, status_of, told, waited_for

    waited = waited_for(invocation, [job], announced=hint is not None and not hint["workers"])
    if waited is None:
        return 0
    for one in told(invocation, waited):
        if invocation.json:
            invocation.document(one)
        else:
            invocation.say(ending(one))
    return status_of(waited)


def build(
    invocation: Invocation,
    command: tuple[str, ...],
    options: JobMap,
    *,
    shell: bool = False,
    lenient: bool = False,
    new_ids: bool = False,
) -> JobMap:
    """The whole job that the words and options describe, with what it takes from this process.

    Raises UsageError where there is no command, JSON that cannot be read, or an option without an effect.
    """
    job = command_of(command, shell=shell, lenient=lenient, say=invocation.say)
    if new_ids:
        job.pop("id", None)
    return build_of(job, options)


def build_of(job: JobMap, options: JobMap) -> JobMap:
    """The job with the options over it, and what it takes from this process. Raises UsageError for an idle option."""
    whole = lay_over(job, options)
    refuse_idle(whole, options)
    return submission(whole, {})


def store(invocation: Invocation, job: JobMap) -> tuple[JobMap, JobMap | None]:
    """Enqueue it; the job as stored, and what keeps it from starting. Raises what the daemon refuses it with."""
    stored: JobMap = invocation.call("enqueue", **job)
    hint: JobMap | None = stored.pop("hint", None)
    return stored, hint


def announce(invocation: Invocation, job: JobMap, hint: JobMap | None) -> None:
    """Tell which job it became, and what keeps it from starting."""
    if invocation.json:
        invocation.document(job)
    elif invocation.quiet or job.get("skipped"):
        invocation.data(job["id"])
    else:
        invocation.data(f"Job enqueued with ID: {job['id']}")
    if job.get("skipped"):
        invocation.say(f"Job {job['id']} with unique key {job['unique_key']!r} already exists; nothing enqueued")
        return
    if job.get("replaced"):
        invocation.say(f"Job {job['replaced']}, which had the same unique key, is cancelled and replaced by this one")
    tell_why_it_waits(invocation, job, hint)
