"""One verb on many jobs, as a person has it: the question before it, page after page, what was done and left out.

The daemon decides to which jobs a verb applies; here is what is asked and told.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import click

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output.render import on_terminal, plural

Job = Mapping[str, Any]

PAGE: Final = 1_000
"""Jobs of one call, so that each is short and its answer small."""
SHOWN: Final = 100
"""Rows of a dry run's table on a terminal; more would scroll away. What is piped or JSON is never cut."""
COUNTED: Final = 10_000
"""Jobs that are counted for a question; beyond that it says: more than so many."""
NOT_DONE: Final = 1
SELECTORS: Final = """
    An ID is an id (job_7), a number (7), last, a range (3-9), label:KEY=VALUE, name:GLOB, batch:NAME, @STATE, or all.
"""

dry_run_option = click.option("--dry-run", is_flag=True, help="Show which jobs it would be, and change nothing.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask, however many jobs it is.")


class Deed(NamedTuple):
    """What a verb does, in words: `cancel`, `cancelled`; with `told`, what is said of each job, if that differs."""

    method: str
    verb: str
    done: str
    told: str | None = None


class Tally:
    """What the answers so far have said."""

    def __init__(self) -> None:
        self.count = 0
        self.left_out: dict[tuple[str, str], int] = {}

    def add(self, answer: Mapping[str, Any]) -> None:
        """Count one answer in."""
        self.count += answer["count"]
        for left in answer["left_out"]:
            key = (left["state"], left["why"])
            self.left_out[key] = self.left_out.get(key, 0) + left["jobs"]


def change(
    invocation: Invocation,
    deed: Deed,
    asked: Mapping[str, Any],
    *,
    dry_run: bool,
    confirm: bool = False,
    columns: Iterable[str] | None = None,
) -> int:
    """Do it to the jobs that are asked for, and tell of each. `confirm`: ask first where it is more than one named job.

    Returns the exit code.
    """
    if dry_run:
        return _show(invocation, deed, asked, columns)
    if confirm and not _agreed(invocation, deed, asked):
        invocation.say(f"Nothing was {deed.done}.")
        return NOT_DONE
    tally = Tally()
    if invocation.json:
        from queuectl_client.cli.output.jsonlines import write_array

        write_array(_pages(invocation, deed.method, asked, tally))
    else:
        for job in _pages(invocation, deed.method, {**asked, "brief": True}, tally):
            invocation.data(job["id"] if invocation.quiet else f"Job {job['id']} {deed.told or deed.done}")
    _sum_up(invocation, tally, deed.done)
    return 0


def _show(invocation: Invocation, deed: Deed, asked: Mapping[str, Any], columns: Iterable[str] | None) -> int:
    from queuectl_client.cli.commands.jobs import COLUMNS, show_jobs

    tally = Tally()
    jobs = _pages(invocation, deed.method, {**asked, "dry_run": True}, tally)
    cut = on_terminal() and not (invocation.json or invocation.quiet)
    show_jobs(invocation, islice(jobs, SHOWN) if cut else jobs, columns or COLUMNS)
    more = sum(1 for _ in jobs)
    if more:
        invocation.say(f"{plural(more, 'more job')} not shown: a pipe or --json shows all.")
    invocation.say(f"Dry run: {plural(tally.count, 'job')} would be {deed.done}, and nothing was changed.")
    _tell_left_out(invocation, tally)
    return 0


def _pages(invocation: Invocation, method: str, asked: Mapping[str, Any], tally: Tally) -> Iterator[Job]:
    """The jobs as they are changed, a page at a time; memory does not grow with them."""
    after: dict[str, str] = {}
    while True:
        answer = invocation.call(method, **asked, **after, limit=PAGE)
        tally.add(answer)
        yield from answer["jobs"]
        if answer["next"] is None:
            return
        after = {"after": answer["next"]}


def _agreed(invocation: Invocation, deed: Deed, asked: Mapping[str, Any]) -> bool:
    """Whether a person at a terminal wants it. Without a terminal there is nobody to ask, and scripts go on."""
    if not may_ask():
        return True
    count = selected = 0
    after: dict[str, str] = {}
    while count <= COUNTED:
        answer = invocation.call(deed.method, **asked, **after, limit=PAGE, dry_run=True, brief=True)
        count, selected = count + answer["count"], selected + answer["selected"]
        if answer["next"] is None:
            break
        after = {"after": answer["next"]}
    if selected < 2:
        return True
    many = plural(count, "job") if count <= COUNTED else f"more than {COUNTED:,} jobs"
    return ask(f"{deed.verb[0].upper()}{deed.verb[1:]} {many}?")


def may_ask() -> bool:
    """Whether somebody sits at a terminal who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """Whether the answer is yes; no when it is just Return."""
    sys.stdout.flush()
    return click.confirm(question, err=True, prompt_suffix=" ")


def _sum_up(invocation: Invocation, tally: Tally, done: str) -> None:
    if not tally.count:
        invocation.say(f"No job was {done}." if tally.left_out else "No job matches.")
    elif tally.left_out or tally.count > PAGE:
        invocation.say(f"{plural(tally.count, 'job')} {done}.")
    _tell_left_out(invocation, tally)


def _tell_left_out(invocation: Invocation, tally: Tally) -> None:
    if not tally.left_out:
        return
    reasons: dict[str, list[str]] = {}
    for (state, why), count in sorted(tally.left_out.items()):
        reasons.setdefault(why, []).append(state if len(tally.left_out) == 1 else f"{count:,} {state}")
    total = plural(sum(tally.left_out.values()), "job")
    invocation.say(f"{total} left out: " + "; ".join(f"{', '.join(some)} ({why})" for why, some in reasons.items()))
