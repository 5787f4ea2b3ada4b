"""`swarmlite secret rotate`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.rotating import rotate
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import CreateSecretRequest
from swarmlite.proto.objects_pb2 import Secret
from swarmlite.proto.specs_pb2 import SecretSpec


@click.command("rotate", cls=Command)
@flag("-d", "--detach", help="Exit immediately instead of waiting for the services to converge.")
@click.argument("name", metavar="SECRET")
@click.argument("file", metavar="file|-", required=False)
@pass_session
def command(session: Session, /, name: str, file: str | None, detach: bool) -> None:
    """Make a new version of a secret and roll the services that use it.

    It is called NAME.v2, NAME.v3 and so on; services find it under the same target as before. The
    older ones stay, for rollbacks, until they are removed.

    \b
    Example:
      swarmlite secret rotate db_password new-password.txt
    """

    def create(called: str, data: bytes, labels: dict[str, str], before: Secret) -> Secret:
        spec = SecretSpec(data=data)
        if before.spec.HasField("templating"):
            spec.templating.CopyFrom(before.spec.templating)
        spec.annotations.name = called
        spec.annotations.labels.update(labels)
        made: Secret = client.call(session.control.CreateSecret, CreateSecretRequest(spec=spec))
        return made

    rotate(session, "secret", name, file, create, wait=not detach)
