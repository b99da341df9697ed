"""The options that describe a job, shared by `enqueue` and `run`: one for each key of the job's JSON.

Turns what was typed into the keys that the daemon takes; what they may hold the daemon decides.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import click

from queuectl_client.cli.framework import Headed
from queuectl_client.cli.jobinput.values import DURATION, PAIR, WHEN, WHOLE, Pair
from queuectl_client.protocol.dependencies import split_end
from queuectl_client.protocol.spelling import snake_case

JobMap = dict[str, Any]


WHAT: Final = "What it is"
WHEN_: Final = "When, and after what"
HOW_MANY: Final = "How many at once"
FAILING: Final = "How long, and when it fails"
AROUND: Final = "What it runs with"


def _option(heading: str, *names: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(*names, cls=Headed, heading=heading, **settings)


_OPTIONS: Final = (
    _option(WHAT, "--id", "id", metavar="ID", help="Its id; job_N when not given."),
    _option(WHAT, "--name", metavar="TEXT", help="A name for people."),
    _option(WHAT, "--label", "labels", type=PAIR, multiple=True, help="A label; may be given again."),
    _option(WHAT, "--queue", metavar="NAME", help="Its queue; default when not given."),
    _option(WHAT, "--priority", type=WHOLE, metavar="N", help="Higher runs first."),
    _option(WHAT, "--batch", metavar="NAME", help="Its batch: others wait for batch:NAME."),
    _option(WHEN_, "--delay", type=DURATION, help="Run it no earlier than so long from now: 90s, 1h30m."),
    _option(WHEN_, "--run-at", type=WHEN, help="Run it no earlier: 18:00, 'tomorrow 09:00', +10m, ISO 8601."),
    _option(WHEN_, "--hold", is_flag=True, help="Keep it back until it is released."),
    _option(
        WHEN_, "--after", "depends_on", multiple=True, metavar="ID",
        help="Run it when ID has completed; may be given again. ID may be last, 3-9, label:K=V, batch:NAME.",
    ),
    _option(WHEN_, "--after-any", multiple=True, metavar="ID", help="Run it when ID has ended, however."),
    _option(WHEN_, "--after-failed", multiple=True, metavar="ID", help="Run it when ID is dead or cancelled."),
    _option(HOW_MANY, "--key", metavar="KEY", help="Jobs of one key run one after the other."),
    _option(HOW_MANY, "--key-limit", type=WHOLE, metavar="N", help="So many of one key at once."),
    _option(HOW_MANY, "--slots", type=WHOLE, metavar="N", help="Worker slots it takes."),
    _option(
        HOW_MANY, "--needs", type=Pair("RESOURCE=N"), multiple=True, help="What it takes of a resource: gpu=1,mem=4G.",
    ),
    _option(HOW_MANY, "--unique", "unique_key", metavar="KEY", help="Only one of this key may wait or run."),
    _option(
        HOW_MANY, "--on-conflict", type=click.Choice(("error", "skip", "replace")),
        help="What to do when the unique key is taken.",
    ),
    _option(FAILING, "--timeout", type=DURATION, help="End an execution that takes longer."),
    _option(FAILING, "--stall-timeout", type=DURATION, help="End one that prints nothing for so long."),
    _option(FAILING, "--kill-grace", type=DURATION, help="Between TERM and KILL when it is ended."),
    _option(FAILING, "--max-retries", type=WHOLE, metavar="N", help="Executions at most; 0 and 1 mean one."),
    _option(FAILING, "--retry-on", multiple=True, metavar="CODE", help="Try again after these alone: tempfail,KILL,3."),
    _option(FAILING, "--no-retry-on", multiple=True, metavar="CODE", help="Give up after these codes or signals."),
    _option(FAILING, "--backoff-base", type=float, metavar="N", help="Waits N, N*N, N*N*N … s between executions."),
    _option(FAILING, "--backoff-max", type=DURATION, help="The longest wait between two executions."),
    _option(FAILING, "--backoff-jitter", type=float, metavar="SHARE", help="0 to 1: how much shorter it may be."),
    _option(FAILING, "--once", is_flag=True, help="Never run it a second time after a crash."),
    _option(AROUND, "--cwd", metavar="DIR", help="The folder it runs in; this one when not given."),
    _option(AROUND, "--env", "env", type=PAIR, multiple=True, help="A variable laid over this environment."),
    _option(AROUND, "--stdin", metavar="TEXT", help="What it reads; nothing when not given."),
    _option(AROUND, "--stdin-open", is_flag=True, help="Let it read what queuectl send gives it."),
    _option(AROUND, "--split-output", is_flag=True, help="Keep stdout and stderr apart."),
)  # fmt: skip
_AFTER: Final = (("after_any", "any"), ("after_failed", "dead"))


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
        job["needs"] = {name: _number(amount) for name, amount in _resources(job["needs"])}
    for key in ("retry_on", "no_retry_on"):
        if key in job:
            job[key] = [_number(code) for codes in job[key] for code in codes.split(",")]
    parents = [_dependency(text) for text in job.pop("depends_on", ())]
    for key, on in _AFTER:
        parents += [{"id": text, "on": on} for text in job.pop(key, ())]
    if parents:
        job["depends_on"] = parents
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


def refuse_idle(job: JobMap, options: Mapping[str, Any]) -> None:
    """Raises UsageError for an option that has no effect on this job, over which the options are laid already.

    Only for what was typed: a job that was printed has the defaults of both, and can be enqueued again.
    """
    given = {snake_case(key) for key, value in job.items() if value is not None}
    for key, needed, words in _GO_WITH:
        if key in options and needed not in given:
            raise click.UsageError(words)


_GO_WITH: Final = (
    ("key_limit", "key", "--key-limit goes with --key"),
    ("on_conflict", "unique_key", "--on-conflict goes with --unique"),
)


def _dependency(text: str) -> str | JobMap:
    parent, end = split_end(text)
    return parent if end is None else {"id": parent, "on": end}


def _resources(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """`gpu=1,mem=4G` is two of them."""
    for name, amounts in pairs:
        first, *others = amounts.split(",")
        yield name, first
        for other in others:
            another, _, amount = other.partition("=")
            yield another, amount


def _number(text: str) -> int | str:
    return int(text) if text.strip().lstrip("-").isdecimal() else text.strip()
