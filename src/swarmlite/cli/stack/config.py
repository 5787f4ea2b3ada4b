"""`swarmlite stack config`."""

from __future__ import annotations

import os

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.stack import files
from swarmlite.stack.load import combine, load
from swarmlite.stack.tree import to_yaml


@click.command("config", cls=Command)
@files.compose_option
@flag("--skip-interpolation", help="Skip interpolation and output only merged config.")
def command(paths: tuple[str, ...], skip_interpolation: bool) -> None:
    """Outputs the final config file, after doing merges and interpolations."""
    texts = files.read(paths)
    environment = dict(os.environ)
    tree, warnings = combine(texts, None if skip_interpolation else environment)
    if not skip_interpolation:
        warnings = load(
            texts, "stack", folder=files.folder(paths), environment=environment
        ).warnings
    for warning in warnings:
        click.echo(warning, err=True)
    click.echo(to_yaml(tree), nl=False)
