"""`queuectl config`: the settings kept in the store. The daemon knows their names, ranges and defaults."""

from typing import Any, Final, NamedTuple

import click

from queuectl_client.cli.commands.job_actions import NOT_DONE, ask, may_ask, yes_option
from queuectl_client.cli.framework import noun, pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render
from queuectl_client.cli.output.printing import table
from queuectl_client.errors import InvalidParams
from queuectl_client.protocol.durations import with_units
from queuectl_client.protocol.spelling import snake_case

_KEEP: Final = "keep_"
"""How the settings begin that say how long ended jobs are kept; the state follows."""

# A value such as -1 is for the daemon to refuse, in words that say what is allowed.
ANY_VALUE = {"ignore_unknown_options": True}


@noun("config", example="queuectl config set maxRetries 5\nqueuectl config get backoff_base\nqueuectl config list")
def config() -> None:
    """Show and set the defaults of jobs, and how they are run. maxRetries, max-retries and max_retries are one key."""


@config.verb(
    "set",
    example="queuectl config set maxRetries 5\nqueuectl config set timeout none",
    context_settings=ANY_VALUE,
)
@click.argument("key")
@click.argument("value", type=click.UNPROCESSED)
@yes_option
@pass_invocation
def set_value(invocation: Invocation, key: str, value: str, yes: bool) -> int:
    """Set a value; it holds for jobs enqueued from now on.

    keep_completed, keep_cancelled and keep_dead remove jobs that are older, now and later: on a terminal it asks.
    """
    removed = _removed_by(invocation, key, value)
    if removed is not None and removed.jobs and not yes and may_ask():
        question = f"Remove {removed.words}, and from now on all that are older?"
        if not ask(question):
            invocation.say("Nothing was changed.")
            return NOT_DONE
    setting = invocation.call("config.set", key=key, value=value)
    _done(invocation, setting, f"{setting['key']} is now {_text(setting)}")
    if removed is not None:
        invocation.say(f"{removed.words} {'is' if removed.jobs == 1 else 'are'} removed now.")
    return 0


class _Removed(NamedTuple):
    """What a new retention time removes at once."""

    jobs: int
    words: str


def _removed_by(invocation: Invocation, key: str, value: str) -> _Removed | None:
    """What setting the key to this value removes at once; None where it is no retention time, or is not valid."""
    name = snake_case(key)
    kept = with_units(value)
    if not name.startswith(_KEEP) or kept is None or invocation.quiet:
        return None
    state = name.removeprefix(_KEEP)
    try:
        jobs = invocation.call("job.prune", older_than=kept, states=[state], dry_run=True)["removed"]
    except InvalidParams:
        return None  # of an unknown state, or out of range: config.set says so in its own words
    return _Removed(jobs, f"{render.plural(jobs, f'{state} job')} that ended more than {render.duration(kept)} ago")


@config.verb("get", example="queuectl config get maxRetries\nqueuectl config get")
@click.argument("key", required=False)
@pass_invocation
def get(invocation: Invocation, key: str | None) -> None:
    """Show the value of a key, or all of them."""
    if key is None:
        _show_all(invocation)
        return
    setting = invocation.call("config.get", key=key)
    if invocation.json:
        invocation.document(setting)
    else:
        invocation.data(render.setting_text(setting["value"]))


@config.verb("list", example="queuectl config list")
@pass_invocation
def list_all(invocation: Invocation) -> None:
    """Show every key with its value."""
    _show_all(invocation)


@config.verb("unset", example="queuectl config unset maxRetries")
@click.argument("key")
@pass_invocation
def unset(invocation: Invocation, key: str) -> None:
    """Go back to the default."""
    setting = invocation.call("config.unset", key=key)
    _done(invocation, setting, f"{setting['key']} is now {_text(setting)}, the default")


def _done(invocation: Invocation, setting: dict[str, Any], sentence: str) -> None:
    if invocation.json:
        invocation.document(setting)
    elif not invocation.quiet:
        invocation.data(sentence)


def _text(setting: dict[str, Any]) -> str:
    """The value as a person reads it: how long jobs are kept in units, too."""
    text = render.setting_text(setting["value"])
    if setting["key"].startswith(_KEEP) and setting["value"] is not None:
        return f"{render.duration(setting['value'])} ({text} s)"
    return text


def _show_all(invocation: Invocation) -> None:
    settings: list[dict[str, Any]] = invocation.call("config.list")["config"]
    if invocation.json:
        invocation.document(settings)
    elif invocation.quiet:
        for setting in settings:
            invocation.data(setting["key"])
    else:
        rows = [
            (setting["key"], render.setting_text(setting["value"]), "default" if setting["default"] else "set")
            for setting in settings
        ]
        table(invocation, ("KEY", "VALUE", "FROM"), rows)
