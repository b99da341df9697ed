"""`queuectl edit`: change a job that waits, by key=value or in an editor."""

import json
from collections.abc import Mapping
from typing import Any, Final

import click

from queuectl_client.cli.change import tell_changed
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.joboptions import snake_case
from queuectl_client.cli.values import DURATION, PAIR
from queuectl_client.cli.verbs import pass_invocation, verb
from queuectl_client.errors import InvalidParams

IN_EDITOR: Final = ("command", "name", "labels", "priority", "queue", "timeout", "kill_grace", "max_retries", "cwd")
"""What the editor shows; the values of a job's environment are never shown, and stay as they are."""

_WHOLE: Final = frozenset({"priority", "max_retries"})
_DURATIONS: Final = frozenset({"timeout", "stall_timeout", "kill_grace"})


@verb(
    "edit",
    example="""
        queuectl edit job_7 priority=5 timeout=10m
        queuectl edit job_7 'command=make test' labels=user=ada
        queuectl edit last
    """,
)
@click.argument("job", metavar="ID")
@click.argument("changes", nargs=-1, type=PAIR, metavar="[KEY=VALUE]...")
@pass_invocation
def edit(invocation: Invocation, job: str, changes: tuple[tuple[str, str], ...]) -> None:
    """Change a job that waits. Without KEY=VALUE its keys are opened in $EDITOR, as JSON.

    `none` takes a value away: timeout=none.
    """
    if changes:
        answer = invocation.call("job.edit", id=job, changes=dict(_typed(*change) for change in changes))
    else:
        before = invocation.call("job.get", id=job)
        edited = _edited(before)
        if not edited:
            invocation.say("Nothing was changed.")
            return
        # Its id, for `last` may be another job by now; its rev, for the job may be another one than was shown.
        answer = invocation.call("job.edit", id=before["id"], changes=edited, rev=before["rev"])
    tell_changed(invocation, answer["jobs"], "changed")


def _typed(key: str, text: str) -> tuple[str, Any]:
    """A change as the wire has it: numbers, durations, maps and argv from their text; the rest is text."""
    name = snake_case(key.replace("-", "_"))
    if text == "none" and name != "command":
        return name, None
    if name in _WHOLE:
        try:
            return name, int(text)
        except ValueError:
            raise InvalidParams(f"{key} is {text!r}, but it must be a whole number") from None
    if name in _DURATIONS:
        return name, DURATION.convert(text, None, None)
    if name == "labels" and not text.startswith("{"):
        return name, dict(PAIR.convert(pair, None, None) for pair in text.split(",") if pair)
    if (name == "labels" and text.startswith("{")) or (name == "command" and text.startswith("[")):
        return name, _read(text)
    return name, text


def _edited(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a person changed in the editor."""
    before = {key: job[key] for key in IN_EDITOR}
    text = click.edit(json.dumps(before, indent=2) + "\n", extension=".json")
    if text is None:
        return {}
    after = _read(text)
    if not isinstance(after, dict):
        raise InvalidParams("what was edited is no JSON object any more; nothing was changed")
    gone = {key: None for key in before if key not in after}
    return {key: value for key, value in (after | gone).items() if before.get(key) != value}


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidParams(f"bad JSON: {error}; nothing was changed") from None
