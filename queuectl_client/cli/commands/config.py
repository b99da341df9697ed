"""`queuectl config`: the settings kept in the store. The daemon knows their names, ranges and defaults."""

from typing import Any

import click

from queuectl_client.cli.framework import noun, pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render
from queuectl_client.cli.output.printing import table

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
@pass_invocation
def set_value(invocation: Invocation, key: str, value: str) -> None:
    """Set a value; it holds for jobs enqueued from now on."""
    setting = invocation.call("config.set", key=key, value=value)
    if invocation.json:
        invocation.document(setting)
    else:
        invocation.say(f"{setting['key']} is now {render.setting_text(setting['value'])}")


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
    if invocation.json:
        invocation.document(setting)
    else:
        invocation.say(f"{setting['key']} is now {render.setting_text(setting['value'])}, the default")


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
