"""`swarmlite completion`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command, one_of

VARIABLE = "_SWARMLITE_COMPLETE"


@click.command("completion", cls=Command)
@click.argument("shell", metavar="bash|zsh|fish", type=one_of(bash="bash", zsh="zsh", fish="fish"))
def command(shell: str) -> None:
    """Print what makes a shell complete commands, flags, and names of the cluster.

    In the shell's start file it holds for every session.

    \b
    Examples:
      source <(swarmlite completion bash)
      source <(swarmlite completion zsh)
      swarmlite completion fish | source
    """
    from click.shell_completion import get_completion_class

    from swarmlite.cli.root import root

    made = get_completion_class(shell)
    assert made is not None
    complete = made(root, {}, "swarmlite", VARIABLE)
    click.echo(complete.source_template % complete.source_vars())
