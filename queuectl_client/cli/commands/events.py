"""`queuectl events`: what happened, in the order in which it was stored."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render
from queuectl_client.errors import Gone

Event = Mapping[str, Any]

TOLD: Final = ("worker", "exit_code", "reason", "run_at", "count", "first_seq", "last_seq")


@verb("events", example="queuectl events --since 0\nqueuectl events --follow\nqueuectl events --json | jq '.[].kind'")
@click.option("--since", type=click.IntRange(min=0), metavar="SEQ", help="Only events after SEQ.")
@click.option("--follow", "-f", "following", is_flag=True, help="Keep printing new events.")
@pass_invocation
def events(invocation: Invocation, since: int | None, following: bool) -> None:
    """Show what happened to jobs, workers and queues: all that is kept, or with --follow what happens from now on.

    With --json one array; with --json --follow a JSON object a line.
    """
    if following:
        _show(invocation, _subscribed(invocation, since), lines=True)
        return
    last = invocation.call("status")["event_seq"]
    since = _oldest(invocation) if since is None else since
    if since > last:
        invocation.say(f"no such event yet: {since}; the newest is {last}")
    # The last one is waited for only when it is there to come.
    found = _until(_subscribed(invocation, since), last) if since < last else iter(())
    _show(invocation, found, lines=False)


def _oldest(invocation: Invocation) -> int:
    """The number before the first event that is kept."""
    try:
        invocation.call("events.subscribe", since=0)
    except Gone as error:
        return int(error.data["oldest"]) - 1
    return 0


def _subscribed(invocation: Invocation, since: int | None) -> Iterator[Event]:
    client = invocation.client()
    client.call("events.subscribe", **({} if since is None else {"since": since}))
    for notification in client.notifications():
        if notification.method == "event":
            yield notification.params


def _until(found: Iterator[Event], last: int) -> Iterator[Event]:
    """The events up to this number."""
    for event in found:
        if event["event_seq"] <= last:
            yield event
        if event["event_seq"] >= last:
            return


def _show(invocation: Invocation, found: Iterator[Event], *, lines: bool) -> None:
    if invocation.json and not lines:
        from queuectl_client.cli.output.jsonlines import write_array

        write_array(found)
        return
    import sys

    for event in found:
        if invocation.json:
            invocation.document(event)
        elif invocation.quiet:
            invocation.data(str(event["event_seq"]))
        else:
            invocation.data(_line(event))
        if lines:
            sys.stdout.flush()


def _line(event: Event) -> str:
    subject = event.get("job") or event.get("queue") or ""
    rest = " ".join(f"{key}={render.escape(event[key])}" for key in TOLD if event.get(key) is not None)
    when = render.clock_time(event["time"])
    return f"{event['event_seq']:>6}  {when}  {event['kind']:<16}  {render.escape(subject)}  {rest}".rstrip()
