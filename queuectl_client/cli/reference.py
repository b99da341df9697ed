"""Generate docs/cli.md from the commands: `python -m queuectl_client.cli.reference > docs/cli.md`.

A test checks that the page is up to date.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

import click

from queuectl_client.cli.framework import GLOBAL_OPTIONS, HeadedOption, LazyCommand, VerbCommand, VerbGroup
from queuectl_client.cli.root import SECTIONS, root

WIDTH: Final = 119
_BAR: Final = r"\|"
MADE_BY: Final = "python -m queuectl_client.cli.reference > docs/cli.md"

_BEGIN: Final = f"""\
<!-- Made by: {MADE_BY} -->

# The command line

Every verb tells the same of itself with `-h`. Data goes to stdout, everything that is told to people to stderr; with
`--json` stdout holds JSON and nothing else. Where an id goes, a sequence number does too, and where several go, the
selectors `last`, `3-9`, `label:k=v`, `name:x*`, `batch:b`, `@failed` (or any other state) and `all`.

| exit code | |
|---|---|
| 0 | all is well |
| 1 | failed |
| 2 | wrong usage, or input that is not allowed |
| 3 | no daemon was reached |
| 4 | no such job, queue or batch |
| 5 | not in this state, or a conflict |
| 124 | time was over |
| 130 | interrupted by Ctrl-C |
| others | `run`, `wait --exit-status` and `enqueue --wait`: the job's own |
"""


def page() -> str:
    """Return the text of docs/cli.md."""
    ctx = click.Context(root, info_name="queuectl", **root.context_settings)
    lines = [
        _BEGIN,
        *_examples(root.example),
        "Options that every verb takes, before it or after it:",
        "",
        *_table(ctx, "option", GLOBAL_OPTIONS),
    ]
    for title, section in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name, entry in section.items():
            lines += _verb(ctx, name, entry)
    return "\n".join(lines).rstrip("\n") + "\n"


def _verb(parent: click.Context, name: str, entry: LazyCommand) -> Iterator[str]:
    command = root.get_command(parent, name)
    assert command is not None
    yield from _command(click.Context(command, parent, name), f"queuectl {name}", entry.aliases)
    if isinstance(command, VerbGroup):
        above = click.Context(command, parent, name)
        for inner, verb in command.commands.items():
            yield from _command(click.Context(verb, above, inner), f"queuectl {name} {inner}")


def _command(ctx: click.Context, words: str, aliases: Iterable[str] = ()) -> Iterator[str]:
    command = ctx.command
    assert isinstance(command, VerbCommand | VerbGroup)
    yield f"### {words}"
    yield ""
    others = ", ".join(f"`{alias}`" for alias in aliases)
    yield from _paragraphs((command.help or "") + (f"\n\nAlso: {others}." if others else ""))
    yield from ("```text", f"{words} {' '.join(command.collect_usage_pieces(ctx))}".rstrip(), "```", "")
    yield from _options(ctx)
    yield from _examples(command.example)


def _examples(text: str) -> list[str]:
    return ["```sh", *(line.strip() for line in text.strip().splitlines()), "```", ""]


def _options(ctx: click.Context) -> Iterator[str]:
    """Yield the options of a verb, one table for each heading in its help."""
    groups: dict[str, list[click.Option]] = {}
    for option in ctx.command.params:
        if isinstance(option, click.Option):
            groups.setdefault(option.heading if isinstance(option, HeadedOption) else "option", []).append(option)
    for title, options in groups.items():
        yield from _table(ctx, title, options)


def _table(ctx: click.Context, title: str, options: Iterable[click.Option]) -> Iterator[str]:
    yield from (f"| {title} | |", "|---|---|")
    for option in options:
        record = option.get_help_record(ctx)
        if record is not None:
            cells = (f"`{record[0]}`", _plain(record[1]))
            yield f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"
    yield ""


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text, wrapped unless marked with click's `\\b`."""
    for paragraph in text.strip().split("\n\n"):
        if paragraph.startswith("\b"):
            yield from ("```text", *paragraph.removeprefix("\b").strip("\n").splitlines(), "```", "")
        else:
            yield from textwrap.wrap(_plain(" ".join(paragraph.split())), WIDTH, break_long_words=False)
            yield ""


def _plain(text: str) -> str:
    """Return the text with Markdown characters escaped, except in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<\[\]~])", r"\\\1", part) for part in parts)


if __name__ == "__main__":
    sys.stdout.write(page())
