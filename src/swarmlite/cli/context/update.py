"""`swarmlite context update`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import click

from swarmlite.cli.context.endpoint import changed, description_option, endpoint_option
from swarmlite.cli.lazy import Command
from swarmlite.client.contexts import Contexts


@click.command("update", cls=Command)
@description_option
@endpoint_option
@click.argument("name", metavar="CONTEXT")
def command(name: str, description: str | None, endpoint: Mapping[str, str] | None) -> None:
    """Update a context."""
    contexts = Contexts()
    made = contexts.get(name)
    if description is not None:
        made = replace(made, description=description)
    contexts.write(changed(made, endpoint or {}, contexts))
    click.echo(name)
    click.echo(f'Successfully updated context "{name}"', err=True)
