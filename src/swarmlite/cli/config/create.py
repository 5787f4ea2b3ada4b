"""`swarmlite config create`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, parsed
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import CreateConfigRequest
from swarmlite.proto.objects_pb2 import Config
from swarmlite.proto.specs_pb2 import ConfigSpec
from swarmlite.stack.syntax import fields


@click.command("create", cls=Command)
@click.option(
    "-l", "--label", multiple=True, type=parsed(fields.pair, "list"), help="Config labels."
)
@click.option("--template-driver", help="Template driver (golang).")
@click.argument("name")
@click.argument("file", metavar="file|-", required=False)
@pass_session
def command(session: Session, /, name: str, file: str | None, **values: Any) -> None:
    """Create a config from a file or STDIN as content.

    \b
    Examples:
      swarmlite config create nginx.conf ./nginx.conf
      swarmlite config create --template-driver golang app.toml app.toml.tmpl
    """
    data = sys.stdin.buffer.read() if file in (None, "-") else Path(str(file)).read_bytes()
    spec = ConfigSpec(data=data)
    spec.annotations.name = name
    spec.annotations.labels.update(dict(values["label"]))
    if values["template_driver"]:
        spec.templating.name = values["template_driver"]
    created: Config = client.call(session.control.CreateConfig, CreateConfigRequest(spec=spec))
    click.echo(created.id)
