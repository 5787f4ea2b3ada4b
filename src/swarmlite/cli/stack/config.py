"""`swarmlite stack config`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.stack import files
from swarmlite.stack.canonical.objects import ordered
from swarmlite.stack.load import combine
from swarmlite.stack.tree import to_yaml


@click.command("config", cls=Command)
@files.compose_option
@files.profile_option
@flag("--skip-interpolation", help="Skip interpolation and output only merged config.")
def command(paths: tuple[str, ...], skip_interpolation: bool) -> None:
    """Outputs the final config file, after doing merges and interpolations.

    \b
    Examples:
      swarmlite stack config -c compose.yml
      swarmlite stack config -c compose.yml -c production.yml
      swarmlite stack config --skip-interpolation -c compose.yml
    """
    texts, folder = files.read(paths), files.folder(paths)
    filled_in = not skip_interpolation
    known = files.environment(paths)
    tree, warnings = combine(texts, known, folder, interpolated=filled_in)
    for warning in warnings:
        click.echo(warning, err=True)
    click.echo(to_yaml(ordered(tree)), nl=False)
