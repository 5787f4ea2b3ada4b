"""`swarmlite secret create`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, parsed, refused
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import CreateSecretRequest
from swarmlite.proto.objects_pb2 import Secret
from swarmlite.proto.specs_pb2 import SecretSpec
from swarmlite.stack.syntax import fields


@click.command("create", cls=Command)
@click.option(
    "-l", "--label", multiple=True, type=parsed(fields.pair, "list"), help="Secret labels."
)
@click.option("--template-driver", help="Template driver (golang).")
@click.argument("name")
@click.argument("file", metavar="file|-", required=False)
@refused("--driver")
@pass_session
def command(session: Session, /, name: str, file: str | None, **values: Any) -> None:
    """Create a secret from a file or STDIN as content.

    \b
    Examples:
      swarmlite secret create db_password password.txt
      openssl rand -base64 32 | swarmlite secret create session_key -
    """
    data = sys.stdin.buffer.read() if file in (None, "-") else Path(str(file)).read_bytes()
    spec = SecretSpec(data=data)
    spec.annotations.name = name
    spec.annotations.labels.update(dict(values["label"]))
    if values["template_driver"]:
        spec.templating.name = values["template_driver"]
    created: Secret = client.call(session.control.CreateSecret, CreateSecretRequest(spec=spec))
    click.echo(created.id)
