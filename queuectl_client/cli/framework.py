"""Base classes of the commands: examples in the help, global options, lazy loading.

The module of a verb is imported when the verb is called, so that `queuectl status` imports no other.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click

from queuectl_client.cli.invocation import Invocation

pass_invocation = click.make_pass_decorator(Invocation)

Callback = Callable[[click.Context, click.Parameter, Any], None]


class LazyCommand(NamedTuple):
    """A verb that is imported on use: its target (`module:attribute`), one-line summary, and aliases."""

    target: str
    summary: str
    aliases: tuple[str, ...] = ()


def _keep(attribute: str, value: Any = None) -> Callback:
    """A callback that keeps what was given (or `value` for it), before the verb or after it; the later one wins."""

    def callback(ctx: click.Context, parameter: click.Parameter, given: Any) -> None:
        del parameter
        if given is not None and given is not False:
            setattr(ctx.ensure_object(Invocation), attribute, given if value is None else value)

    return callback


def _version(ctx: click.Context, parameter: click.Parameter, given: bool) -> None:
    del parameter
    if given and not ctx.resilient_parsing:
        from queuectl_client.version import __version__

        click.echo(f"queuectl {__version__}")
        ctx.exit()


def _flag(*names: str, callback: Callback, help: str, eager: bool = False) -> click.Option:
    return click.Option(names, is_flag=True, is_eager=eager, expose_value=False, callback=callback, help=help)


GLOBAL_OPTIONS: Sequence[click.Option] = (
    click.Option(
        ("--socket",),
        metavar="PATH",
        expose_value=False,
        callback=_keep("socket"),
        help="Socket of the daemon.",
    ),
    _flag("--json", callback=_keep("json"), help="Print JSON."),
    _flag("-q", "--quiet", callback=_keep("quiet"), help="Print only IDs, or nothing, and no hints."),
    _flag(
        "--no-autostart",
        callback=_keep("autostart", value=False),
        help="Do not start a daemon; exit 3 if none is running.",
    ),
    click.Option(
        ("--color",),
        type=click.Choice(("auto", "never", "always")),
        expose_value=False,
        callback=_keep("color"),
        help="Use colours: on a terminal (auto), never or always.",
    ),
    _flag("--version", callback=_version, eager=True, help="Show the version and exit."),
)


class HeadedOption(click.Option):
    """An option that stands under a heading of its own in the help of its verb."""

    def __init__(self, *args: Any, heading: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.heading = heading


class _BaseCommand(click.Command):
    """A command that takes the global options too, and shows its examples as they are to be typed."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, then the global ones."""
        return [*super().get_params(ctx), *GLOBAL_OPTIONS]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own options first, each under its heading, the global ones apart."""
        groups: dict[str, list[click.Parameter]] = {"Options": []}
        for option in self.get_params(ctx):
            title = "Everywhere" if option in GLOBAL_OPTIONS else getattr(option, "heading", "Options")
            groups.setdefault(title, []).append(option)
        for title, group in groups.items():
            # An argument stands in the usage line and in the text; click lists it here too, with nothing beside it.
            options = [option for option in group if isinstance(option, click.Option)]
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, a line each, never wrapped."""
        del ctx
        lines = [line.strip() for line in self.example.strip().splitlines()]
        if lines:
            with formatter.section("Examples" if len(lines) > 1 else "Example"):
                for line in lines:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class VerbCommand(_BaseCommand):
    """A command that does something."""


class VerbGroup(_BaseCommand, click.Group):
    """A command that has verbs of its own: `dlq list`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its verbs, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; for a word that is no verb with what it means, and else where to look for all."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            from queuectl_client.cli.meanings import meant

            noun = "" if ctx.parent is None else ctx.command.name or ""
            forms = meant(noun, error.command_name, self.all_names(ctx))
            hint = _question(ctx.command_path, forms, self.all_names(ctx)) or f"See: {ctx.command_path} --help"
            raise click.UsageError(f"No such command {error.command_name!r}. {hint}", ctx) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it; for an option of another program that stands where a verb should, with the verb."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from queuectl_client.cli.meanings import OPTIONS

            if ctx.parent is not None or error.option_name not in OPTIONS:
                raise
            hint = _question(ctx.command_path, OPTIONS[error.option_name], ())
            raise click.NoSuchOption(error.option_name, f"{error.format_message()} {hint}", ctx=ctx) from None

    def all_names(self, ctx: click.Context) -> list[str]:
        """Every name of every verb."""
        return self.list_commands(ctx)

    def verb(self, name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
        """Declare a verb of this noun."""
        return self.command(name, cls=VerbCommand, example=example, **settings)


def _question(path: str, forms: Sequence[str], verbs: Sequence[str]) -> str:
    """Which of these forms was meant: a verb alone, or whole commands as they are typed. Empty for none."""
    if not forms:
        return ""
    *others, last = [repr(form if forms == (form,) and form in verbs else f"{path} {form}") for form in forms]
    return f"Did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


class LazyVerbGroup(VerbGroup):
    """A noun whose verbs are found in a table and imported when they are called."""

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, LazyCommand]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections
        self.commands_by_name = {name: entry for section in sections.values() for name, entry in section.items()}
        self.names = {alias: name for name, entry in self.commands_by_name.items() for alias in (name, *entry.aliases)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb by its first name."""
        del ctx
        return list(self.commands_by_name)

    def all_names(self, ctx: click.Context) -> list[str]:
        """Every name of every verb, the other ones too."""
        del ctx
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of this name or alias, its module imported now."""
        del ctx
        name = self.names.get(cmd_name)
        if name is None:
            return None
        module, _, attribute = self.commands_by_name[name].target.partition(":")
        command = getattr(import_module(f"queuectl_client.cli.commands.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table's sections; imports nothing."""
        del ctx
        for title, section in self.sections.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(", ".join((name, *entry.aliases)), entry.summary) for name, entry in section.items()]
                )


def verb(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], VerbCommand]:
    """Declare a verb, with the lines that show how it is used."""
    return click.command(name, cls=VerbCommand, example=example, **settings)


def noun(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], VerbGroup]:
    """Declare a noun, to be given verbs by its `verb` method."""
    return click.group(name, cls=VerbGroup, example=example, **settings)
