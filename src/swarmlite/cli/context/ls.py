"""`swarmlite context ls`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.listing import Listing, format_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.client.contexts import DEFAULT, Contexts
from swarmlite.errors import SwarmliteError

LISTING = Listing(
    "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    {
        "Name": "NAME",
        "Description": "DESCRIPTION",
        "DockerEndpoint": "DOCKER ENDPOINT",
        "Error": "ERROR",
        "Current": "",
    },
    quiet="{{.Name}}",
)


@click.command("ls", cls=Command)
@format_option
@flag("-q", "--quiet", help="Only show context names.")
@pass_session
def command(session: Session, form: str, quiet: bool) -> None:
    """List contexts."""
    LISTING.print(_rows(session), form, quiet=quiet)
    if session.chosen_by and not quiet:
        click.echo(f"Warning: {session.chosen_by} overrides the current context.", err=True)


def _rows(session: Session) -> Iterator[dict[str, Any]]:
    contexts = Contexts()
    here = f"unix://{session.paths.run_dir}"
    yield _row(session, DEFAULT, "The node of this host", here)
    for name in contexts.names():
        try:
            found = contexts.get(name)
        except SwarmliteError as error:
            yield _row(session, name, "", "", str(error))
        else:
            yield _row(session, name, found.description, found.host)


def _row(session: Session, name: str, text: str, host: str, error: str = "") -> dict[str, Any]:
    return {
        "Name": name,
        "Description": text,
        "DockerEndpoint": host,
        "Error": error,
        "Current": name == session.context,
    }
