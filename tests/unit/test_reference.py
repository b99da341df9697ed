"""docs/cli.md is what the commands say of themselves, and their examples are commands that there are."""

import shlex

import click
import pytest

from queuectl_client.cli.framework import VerbGroup
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.reference import MADE_BY, page
from queuectl_client.cli.root import root
from tests.architecture.sources import ROOT


def examples() -> list[str]:
    """Every line of the examples of every verb that begins with queuectl, up to its pipe."""
    ctx = click.Context(root)
    commands: list[click.Command] = [root]
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        assert command is not None
        commands += [command, *(command.commands.values() if isinstance(command, VerbGroup) else ())]
    lines = [line.strip() for command in commands for line in command.example.splitlines()]  # type: ignore[attr-defined]
    return [line for line in dict.fromkeys(lines) if line.startswith("queuectl ")]


def test_the_reference_is_what_the_commands_say() -> None:
    assert page() == (ROOT / "docs" / "cli.md").read_text(), f"the commands have changed; run: {MADE_BY}"


def test_the_reference_has_every_verb_with_its_example() -> None:
    text = page()
    for line in examples():
        assert line in text
    for name in root.list_commands(click.Context(root)):
        assert f"### queuectl {name}\n" in text


@pytest.mark.parametrize("line", examples())
def test_an_example_can_be_typed(line: str) -> None:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>&;")
    lexer.whitespace_split = True
    words = list(lexer)
    end = next((place for place, word in enumerate(words) if word and set(word) <= set("|<>&;")), len(words))
    args = words[1:end]
    ctx = root.make_context("queuectl", args, obj=Invocation())
    while isinstance(ctx.command, click.Group) and (ctx._protected_args or ctx.args):
        name, command, rest = ctx.command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert command is not None
        ctx = command.make_context(name, rest, parent=ctx)
