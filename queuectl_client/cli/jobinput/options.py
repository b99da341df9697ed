"""Options that describe a job, shared by `enqueue` and `run`: one for each input attribute.

Converts options to keys of the wire; the daemon checks their values.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import click

from queuectl_client.cli.framework import HeadedOption
from queuectl_client.cli.jobinput.values import DURATION, PAIR, WHEN, WHOLE, Pair
from queuectl_client.protocol.attributes import GIVEN, HEADINGS, Attribute, Form
from queuectl_client.protocol.dependencies import split_end
from queuectl_client.protocol.spelling import snake_case

JobMap = dict[str, Any]


_TYPES: Final[Mapping[str, dict[str, Any]]] = {
    Form.ID: {"metavar": "ID"},
    Form.QUEUE: {"metavar": "NAME"},
    Form.TEXT: {"metavar": "TEXT"},
    Form.ANY_TEXT: {"metavar": "TEXT"},
    Form.FOLDER: {"metavar": "DIR"},
    Form.WHOLE: {"type": WHOLE, "metavar": "N"},
    Form.NUMBER: {"type": float, "metavar": "N"},
    Form.SECONDS: {"type": DURATION},
    Form.TIME: {"type": WHEN},
    Form.FLAG: {"is_flag": True},
    Form.CODES: {"multiple": True, "metavar": "CODE"},
    Form.JOBS: {"multiple": True, "metavar": "ID"},
    Form.LABELS: {"type": PAIR, "multiple": True},
    Form.AMOUNTS: {"type": Pair("RESOURCE=N"), "multiple": True},
    Form.VARIABLES: {"type": PAIR, "multiple": True},
}
"""Type of the option, by the form of the attribute on the wire."""
_AFTER: Final = (
    ("after_any", "any", "Run after ID has ended, in any way."),
    ("after_failed", "dead", "Run after ID is dead or cancelled."),
)
"""Variants of --after: the outcome of the parents to wait for."""


def _options(attribute: Attribute) -> Iterator[Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """Yield the options for this attribute."""
    if attribute.form is Form.WORD:
        settings: dict[str, Any] = {"type": click.Choice(attribute.words)}
    else:
        settings = _TYPES[attribute.form]
    if attribute.metavar is not None:
        settings = {**settings, "metavar": attribute.metavar}
    headed: dict[str, Any] = {"cls": HeadedOption, "heading": attribute.heading}
    names = [attribute.short] if attribute.short else []
    yield click.option(*names, attribute.option, attribute.name, help=attribute.help, **headed, **settings)
    if attribute.form is Form.JOBS:
        for name, _, words in _AFTER:
            yield click.option(f"--{name.replace('_', '-')}", name, help=words, **headed, **settings)


_OPTIONS: Final = [
    option
    for heading in HEADINGS
    for attribute in GIVEN.values()
    if attribute.heading == heading
    for option in _options(attribute)
]


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a verb with all options that describe a job; they are passed as keyword arguments."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def described(options: Mapping[str, Any]) -> JobMap:
    """Return the keys of a job that were given as options, in the wire format."""
    job: JobMap = {
        key: value for key, value in options.items() if value is not None and value is not False and value != ()
    }
    for key, value in job.items():
        match GIVEN[key].form if key in GIVEN else None:
            case Form.LABELS | Form.VARIABLES:
                job[key] = dict(value)
            case Form.AMOUNTS:
                job[key] = {name: _number(amount) for name, amount in _resources(value)}
            case Form.CODES:
                job[key] = [_number(code) for codes in value for code in codes.split(",")]
    parents = [_dependency(text) for text in job.pop("depends_on", ())]
    for key, on, _ in _AFTER:
        parents += [{"id": text, "on": on} for text in job.pop(key, ())]
    if parents:
        job["depends_on"] = parents
    return job


def lay_over(job: JobMap, options: Mapping[str, Any]) -> JobMap:
    """Return the job with the options applied: they take precedence; maps are merged; `delay` replaces `run_at`."""
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
    """Raise UsageError for an option without an effect on this job, to which the options are already applied.

    Only for options: a printed job has all keys, and can be enqueued again.
    """
    given = {snake_case(key) for key, value in job.items() if value is not None}
    for key, needed, words in _GO_WITH:
        if key in options and needed not in given:
            raise click.UsageError(words)


_GO_WITH: Final = (
    ("key_limit", "key", "--key-limit requires --key"),
    ("on_conflict", "unique_key", "--on-conflict requires --unique"),
)


def _dependency(text: str) -> str | JobMap:
    parent, end = split_end(text)
    return parent if end is None else {"id": parent, "on": end}


def _resources(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the resources of pairs such as `gpu=1,mem=4G`, which has two."""
    for name, amounts in pairs:
        first, *others = amounts.split(",")
        yield name, first
        for other in others:
            another, _, amount = other.partition("=")
            yield another, amount


def _number(text: str) -> int | str:
    return int(text) if text.strip().lstrip("-").isdecimal() else text.strip()
