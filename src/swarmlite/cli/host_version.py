"""`swarmlite version`."""

from __future__ import annotations

import platform

import click

import swarmlite
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.gofunctions import to_json
from swarmlite.cli.output.gotemplate import Template


@click.command("version", cls=Command)
@click.option("-f", "--format", "form", default="", help="'json' or a Go template.")
def command(form: str) -> None:
    """Show the version."""
    client = {
        "Version": swarmlite.__version__,
        "PythonVersion": platform.python_version(),
        "Os": platform.system().lower(),
        "Arch": platform.machine(),
    }
    if form == "json":
        click.echo(to_json({"Client": client}))
    elif form:
        click.echo(Template(form).render({"Client": client}))
    else:
        click.echo("Client: swarmlite")
        click.echo(f" Version:           {client['Version']}")
        click.echo(f" Python version:    {client['PythonVersion']}")
        click.echo(f" OS/Arch:           {client['Os']}/{client['Arch']}")
