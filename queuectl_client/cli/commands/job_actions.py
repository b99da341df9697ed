"""Run one action on many jobs: confirmation, dry run, paging, and the summary.

The daemon decides which jobs an action applies to; this module asks and reports.
"""

import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import click

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.main import INTERRUPTED
from queuectl_client.cli.output.render import on_terminal, plural

Job = Mapping[str, Any]

PAGE: Final = 1_000
"""Jobs per call, so that each call is short and its answer small."""
SHOWN: Final = 100
"""Rows of a dry run's table on a terminal. Piped output and JSON are never truncated."""
COUNTED: Final = 10_000
"""Jobs counted before asking for confirmation; beyond that the question says "more than"."""
NOT_DONE: Final = 1
SELECTORS: Final = """
    An ID is an id (job_7), a number (7), last, a range (3-9), label:KEY=VALUE, name:GLOB, batch:NAME, @STATE, or all.
"""

dry_run_option = click.option("--dry-run", is_flag=True, help="Show which jobs would be affected; change nothing.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")


_CHANGE: Final = re.compile(r"[A-Za-z_-]+(\.[^=]*)?=")
"""How KEY=VALUE begins. A selector with an equals sign in it, `label:k=v`, has a colon before."""


def ids_and_changes(words: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """The IDs among the words, and the changes as the wire has them. Raises InvalidParams for a bad change."""
    jobs, given = list[str](), list[str]()
    for word in words:
        (given if _CHANGE.match(word) else jobs).append(word)
    if not given:
        return jobs, {}
    from queuectl_client.cli.jobinput.changes import Change, typed

    return jobs, typed(Change().convert(word, None, None) for word in given)


class JobAction(NamedTuple):
    """An action on jobs: its method, its verb and participle (`cancel`, `cancelled`), and the words for each job."""

    method: str
    verb: str
    done: str
    result: str | None = None
    """What is printed after `Job ID`; `done` when None."""


class ChangeSummary:
    """How many jobs were changed and left out so far."""

    def __init__(self) -> None:
        self.count = 0
        self.dependents = {"cancelled": 0, "freed": 0}
        """What became of jobs that waited for removed ones."""
        self.is_partial = False
        """Whether an interrupt came before all jobs were changed."""
        self.left_out: dict[tuple[str, str], int] = {}

    def add(self, answer: Mapping[str, Any]) -> None:
        """Add the counts of one answer."""
        self.count += answer["count"]
        for end, count in answer.get("dependents", {}).items():
            self.dependents[end] += count
        for left in answer["left_out"]:
            key = (left["state"], left["why"])
            self.left_out[key] = self.left_out.get(key, 0) + left["jobs"]


def change(
    invocation: Invocation,
    action: JobAction,
    params: Mapping[str, Any],
    *,
    dry_run: bool,
    confirm: bool = False,
    columns: Iterable[str] | None = None,
) -> int:
    """Apply the action to the jobs that match and report each one. Return the exit code.

    `confirm`: ask first, unless a single job is named.
    """
    if dry_run:
        return _show(invocation, action, params, columns)
    if confirm and not _confirmed(invocation, action, params):
        invocation.say(f"Nothing was {action.done}.")
        return NOT_DONE
    summary = ChangeSummary()
    with _Interrupt() as interrupt:
        if invocation.json:
            from queuectl_client.cli.output.jsonlines import write_array

            write_array(_pages(invocation, action.method, params, summary, interrupt))
        else:
            for job in _pages(invocation, action.method, {**params, "brief": True}, summary, interrupt):
                invocation.data(job["id"] if invocation.quiet else f"Job {job['id']} {action.result or action.done}")
    if summary.is_partial:
        sys.stdout.flush()
        invocation.error(f"interrupted: {plural(summary.count, 'job')} {action.done}, the others are unchanged")
        return INTERRUPTED
    _sum_up(invocation, summary, action.done)
    return INTERRUPTED if interrupt.came else 0


def _show(invocation: Invocation, action: JobAction, params: Mapping[str, Any], columns: Iterable[str] | None) -> int:
    from queuectl_client.cli.commands.jobs import COLUMNS, show_jobs

    summary = ChangeSummary()
    jobs = _pages(invocation, action.method, {**params, "dry_run": True}, summary)
    cut = on_terminal() and not (invocation.json or invocation.quiet)
    show_jobs(invocation, islice(jobs, SHOWN) if cut else jobs, columns or COLUMNS)
    more = sum(1 for _ in jobs)
    if more:
        invocation.say(f"{plural(more, 'more job')} not shown: a pipe or --json shows all.")
    invocation.say(f"Dry run: {plural(summary.count, 'job')} would be {action.done}, and nothing was changed.")
    _tell_left_out(invocation, summary)
    _tell_dependents(invocation, summary, "waiting for these", "would be cancelled", "would no longer wait")
    return 0


class _Interrupt:
    """Notes a Ctrl-C instead of raising it, so that it is known how many jobs were changed. A second one is raised."""

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> "_Interrupt":
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, _number: int, _frame: object) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True


def _pages(
    invocation: Invocation,
    method: str,
    params: Mapping[str, Any],
    summary: ChangeSummary,
    interrupt: _Interrupt | None = None,
) -> Iterator[Job]:
    """Yield the changed jobs, one page per call. After an interrupt no further call is made."""
    after: dict[str, str] = {}
    while True:
        answer = invocation.call(method, **params, **after, limit=PAGE)
        summary.add(answer)
        yield from answer["jobs"]
        if answer["next"] is None:
            return
        if interrupt is not None and interrupt.came:
            summary.is_partial = True
            return
        after = {"after": answer["next"]}


def _confirmed(invocation: Invocation, action: JobAction, params: Mapping[str, Any]) -> bool:
    """Ask for confirmation on a terminal; True without one, so that scripts go on."""
    if not may_ask():
        return True
    count = selected = 0
    after: dict[str, str] = {}
    while count <= COUNTED:
        answer = invocation.call(action.method, **params, **after, limit=PAGE, dry_run=True, brief=True)
        count, selected = count + answer["count"], selected + answer["selected"]
        if answer["next"] is None:
            break
        after = {"after": answer["next"]}
    if selected < 2:
        return True
    many = plural(count, "job") if count <= COUNTED else f"more than {COUNTED:,} jobs"
    return ask(f"{action.verb[0].upper()}{action.verb[1:]} {many}?")


def may_ask() -> bool:
    """Whether stdin and stderr are a terminal, so that a question can be answered."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """Ask a yes/no question. Return means no."""
    sys.stdout.flush()
    return click.confirm(question, err=True, prompt_suffix=" ")


def _sum_up(invocation: Invocation, summary: ChangeSummary, done: str) -> None:
    if not summary.count:
        invocation.say(f"No job was {done}." if summary.left_out else "No job matches.")
    elif summary.left_out or summary.count > PAGE:
        invocation.say(f"{plural(summary.count, 'job')} {done}.")
    _tell_left_out(invocation, summary)
    _tell_dependents(invocation, summary, "waited for removed jobs", "cancelled", "no longer waiting for them")


def _tell_dependents(invocation: Invocation, summary: ChangeSummary, waiting: str, cancelled: str, freed: str) -> None:
    """Tell what becomes of the jobs that wait for removed ones."""
    ends = [f"{n:,} {words}" for n, words in zip(summary.dependents.values(), (cancelled, freed), strict=True) if n]
    if ends and not invocation.json:
        invocation.say(f"{plural(sum(summary.dependents.values()), 'job')} {waiting}: {', '.join(ends)}.")


def _tell_left_out(invocation: Invocation, summary: ChangeSummary) -> None:
    if not summary.left_out:
        return
    reasons: dict[str, list[str]] = {}
    for (state, why), count in sorted(summary.left_out.items()):
        reasons.setdefault(why, []).append(state if len(summary.left_out) == 1 else f"{count:,} {state}")
    total = plural(sum(summary.left_out.values()), "job")
    invocation.say(f"{total} left out: " + "; ".join(f"{', '.join(some)} ({why})" for why, some in reasons.items()))
