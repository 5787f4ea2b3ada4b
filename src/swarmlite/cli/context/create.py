"""`swarmlite context create`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import click

from swarmlite.cli.context.endpoint import changed, description_option, endpoint_option
from swarmlite.cli.lazy import Command
from swarmlite.client.contexts import Context, Contexts, check_name
from swarmlite.errors import InvalidSpec


@click.command("create", cls=Command)
@description_option
@endpoint_option
@click.option("--from", "source", default="", help="Create it from a named context.")
@click.argument("name", metavar="CONTEXT")
def command(
    name: str, description: str | None, endpoint: Mapping[str, str] | None, source: str
) -> None:
    """Create a context.

    \b
    Examples:
      swarmlite context create far --docker "host=ssh://admin@192.0.2.20"
      swarmlite context use far
    """
    contexts = Contexts()
    said = dict(endpoint or {})
    if source:
        said.setdefault("from", source)
    if not said.get("host") and not said.get("from"):
        raise InvalidSpec('say where the node is: --docker "host=ssh://USER@HOST"')
    made = changed(Context(check_name(name), ""), said, contexts)
    if description is not None:
        made = replace(made, description=description)
    elif source:
        made = replace(made, description=contexts.get(source).description)
    contexts.add(made)
    click.echo(name)
    click.echo(f'Successfully created context "{name}"', err=True)
