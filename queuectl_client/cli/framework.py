"""Base classes of commands: examples in the help, global options, lazy loading.

The module of a verb is imported when the verb is called, so `queuectl status` imports no other.
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
    """Return a callback that stores the option's value (or `value`) in the Invocation; the last occurrence wins."""

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
    """An option with a heading in the help of its verb."""

    def __init__(self, *args: Any, heading: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.heading = heading


class _BaseCommand(click.Command):
    """A command with the global options and with examples in its help."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's parameters, then the global ones."""
        return [*super().get_params(ctx), *GLOBAL_OPTIONS]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's options by heading, then the global ones."""
        groups: dict[str, list[click.Parameter]] = {"Options": []}
        for option in self.get_params(ctx):
            title = "Everywhere" if option in GLOBAL_OPTIONS else getattr(option, "heading", "Options")
            groups.setdefault(title, []).append(option)
        for title, group in groups.items():
            # Click lists arguments here too, but without a help text.
            options = [option for option in group if isinstance(option, click.Option)]
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, one per line, unwrapped."""
        del ctx
        lines = [line.strip() for line in self.example.strip().splitlines()]
        if lines:
            with formatter.section("Examples" if len(lines) > 1 else "Example"):
                for line in lines:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class VerbCommand(_BaseCommand):
    """A command that is not a group."""


class VerbGroup(_BaseCommand, click.Group):
    """A noun, a command with verbs: `dlq list`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the verb. For an unknown one, suggest what was meant, or the help."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            from queuectl_client.cli.meanings import meant

            noun = "" if ctx.parent is None else ctx.command.name or ""
            forms = meant(noun, error.command_name, self.all_names(ctx))
            hint = _question(ctx.command_path, forms, self.all_names(ctx)) or f"See: {ctx.command_path} --help"
            raise click.UsageError(f"No such command {error.command_name!r}. {hint}", ctx) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. For an option that another program has in place of a verb, suggest the verb."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from queuectl_client.cli.meanings import OPTIONS

            if ctx.parent is not None or error.option_name not in OPTIONS:
                raise
            hint = _question(ctx.command_path, OPTIONS[error.option_name], ())
            raise click.NoSuchOption(error.option_name, f"{error.format_message()} {hint}", ctx=ctx) from None

    def all_names(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs."""
        return self.list_commands(ctx)

    def verb(self, name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
        """Return a decorator that declares a verb of this noun."""
        return self.command(name, cls=VerbCommand, example=example, **settings)


def _question(path: str, forms: Sequence[str], verbs: Sequence[str]) -> str:
    """Return `did you mean` with these forms: a verb, or complete commands. Empty for none."""
    if not forms:
        return ""
    *others, last = [repr(form if forms == (form,) and form in verbs else f"{path} {form}") for form in forms]
    return f"Did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


class LazyVerbGroup(VerbGroup):
    """A noun with a table of verbs that are imported when called."""

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, LazyCommand]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections
        self.commands_by_name = {name: entry for section in sections.values() for name, entry in section.items()}
        self.names = {alias: name for name, entry in self.commands_by_name.items() for alias in (name, *entry.aliases)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the first names of all verbs."""
        del ctx
        return list(self.commands_by_name)

    def all_names(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs, with aliases."""
        del ctx
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the verb of this name or alias."""
        del ctx
        name = self.names.get(cmd_name)
        if name is None:
            return None
        module, _, attribute = self.commands_by_name[name].target.partition(":")
        command = getattr(import_module(f"queuectl_client.cli.commands.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's sections, without importing the verbs."""
        del ctx
        for title, section in self.sections.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(", ".join((name, *entry.aliases)), entry.summary) for name, entry in section.items()]
                )


def verb(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], VerbCommand]:
    """Return a decorator that declares a verb. `example`: lines for its help."""
    return click.command(name, cls=VerbCommand, example=example, **settings)


def noun(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], VerbGroup]:
    """Return a decorator that declares a noun; its `verb` method adds verbs."""
    return click.group(name, cls=VerbGroup, example=example, **settings)
