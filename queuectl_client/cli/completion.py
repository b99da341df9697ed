"""`queuectl completion`: the script that makes a shell complete verbs and options."""

import click

from queuectl_client.cli.verbs import verb

SHELLS = ("bash", "zsh", "fish")


@verb("completion", example='eval "$(queuectl completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, to be put into its start-up file. Needs no daemon."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "queuectl", "_QUEUECTL_COMPLETE").source())
