"""The options that describe a job, shared by `enqueue` and `run`: one for each key of the job's JSON.

Turns what was typed into the keys that the daemon takes; what they may hold the daemon decides.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from queuectl_client.cli.values import DURATION, PAIR, WHOLE, Pair

JobMap = dict[str, Any]

_OPTIONS: Final = (
    click.option("--id", "id", metavar="ID", help="Its id; job_N when not given."),
    click.option("--name", metavar="TEXT", help="A name for people."),
    click.option("--label", "labels", type=PAIR, multiple=True, help="A label; may be given again."),
    click.option("--queue", metavar="NAME", help="Its queue; default when not given."),
    click.option("--priority", type=WHOLE, metavar="N", help="Higher runs first."),
    click.option("--max-retries", type=WHOLE, metavar="N", help="Executions at most; 0 and 1 mean one."),
    click.option("--backoff-base", type=float, metavar="N", help="Waits N, N*N, N*N*N … seconds between executions."),
    click.option("--backoff-max", type=DURATION, help="The longest wait between two executions."),
    click.option("--backoff-jitter", type=float, metavar="SHARE", help="0 to 1: how much a wait may be shortened."),
    click.option("--retry-on", multiple=True, metavar="CODE", help="Try again after this exit code or signal alone."),
    click.option("--no-retry-on", multiple=True, metavar="CODE", help="Give up after this exit code or signal."),
    click.option("--timeout", type=DURATION, help="End an execution that takes longer."),
    click.option("--stall-timeout", type=DURATION, help="End an execution that prints nothing for so long."),
    click.option("--kill-grace", type=DURATION, help="Between TERM and KILL when it is ended."),
    click.option("--delay", type=DURATION, help="Run it no earlier than so long from now."),
    click.option("--run-at", metavar="TIME", help="Run it no earlier than this (ISO 8601)."),
    click.option("--cwd", metavar="DIR", help="The folder it runs in; this one when not given."),
    click.option("--env", "env", type=PAIR, multiple=True, help="A variable laid over this environment."),
    click.option("--stdin", metavar="TEXT", help="What it reads; nothing when not given."),
    click.option("--stdin-open", is_flag=True, help="Let it read what queuectl send gives it while it runs."),
    click.option(
        "--after",
        "depends_on",
        multiple=True,
        metavar="ID[:WHEN]",
        help="Run it after job ID; WHEN: completed (usual), dead or any.",
    ),
    click.option("--unique", "unique_key", metavar="KEY", help="Only one job of this key may be waiting or running."),
    click.option(
        "--on-conflict", type=click.Choice(("error", "skip", "replace")), help="What to do when the key is taken."
    ),
    click.option("--key", metavar="KEY", help="Jobs of one key run one after the other."),
    click.option("--key-limit", type=WHOLE, metavar="N", help="So many of one key at once."),
    click.option("--slots", type=WHOLE, metavar="N", help="Worker slots it takes."),
    click.option("--needs", type=Pair("RESOURCE=N"), multiple=True, help="An amount of a resource it takes."),
    click.option("--hold", is_flag=True, help="Keep it back until it is released."),
    click.option("--once", is_flag=True, help="Never run it a second time after a crash."),
    click.option("--split-output", is_flag=True, help="Keep stdout and stderr apart."),
)


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb all options that describe a job; they arrive as its keyword arguments."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def described(options: Mapping[str, Any]) -> JobMap:
    """The keys of a job that were given as options, as the wire has them; those not given are absent."""
    job: JobMap = {
        key: value for key, value in options.items() if value is not None and value is not False and value != ()
    }
    for key in ("labels", "env"):
        if key in job:
            job[key] = dict(job[key])
    if "needs" in job:
        job["needs"] = {name: _number(amount) for name, amount in job["needs"]}
    for key in ("retry_on", "no_retry_on"):
        if key in job:
            job[key] = [_number(code) for codes in job[key] for code in codes.split(",")]
    if "depends_on" in job:
        job["depends_on"] = [_dependency(text) for text in job["depends_on"]]
    return job


def lay_over(job: JobMap, options: Mapping[str, Any]) -> JobMap:
    """The job with the options laid over it: they win, maps are joined, `delay` and `run_at` replace one another."""
    taken = set(options)
    if taken & {"delay", "run_at"}:
        taken |= {"delay", "run_at"}
    kept = {key: value for key, value in job.items() if value is not None and snake_case(key) not in taken}
    joined = {
        snake_case(key): {**value, **options[snake_case(key)]}
        for key, value in job.items()
        if isinstance(value, dict) and isinstance(options.get(snake_case(key)), dict)
    }
    return {**kept, **options, **joined}


def snake_case(key: str) -> str:
    """`max_retries` of `maxRetries`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


def _dependency(text: str) -> str | JobMap:
    job, colon, when = text.partition(":")
    return {"id": job, "on": when} if colon else job


def _number(text: str) -> int | str:
    return int(text) if text.strip().lstrip("-").isdecimal() else text.strip()
