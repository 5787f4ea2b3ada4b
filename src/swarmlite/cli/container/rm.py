"""`swarmlite container rm` and `swarmlite rm`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.removing import remove_each
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import RemoveContainerRequest

TIMEOUT_S = 300.0


@click.command("rm", cls=Command)
@flag("-f", "--force", help="Force the removal of a running container (uses SIGKILL).")
@flag("-v", "--volumes", help="Remove anonymous volumes associated with the container.")
@flag("-l", "--link", help="Remove the specified link (CONTAINER/ALIAS).")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_session
def command(
    session: Session, containers: tuple[str, ...], force: bool, volumes: bool, link: bool
) -> int:
    """Remove one or more containers."""

    def remove(ref: str) -> None:
        request = RemoveContainerRequest(ref=ref.removeprefix("/"), force=force, volumes=volumes)
        if link:
            request.ref, _, request.link = request.ref.partition("/")
            if not request.link:
                raise InvalidSpec(f"--link: {ref} names no link; expected CONTAINER/ALIAS")
        client.call(session.containers.Remove, request, timeout_s=TIMEOUT_S)

    return remove_each(containers, remove, force=force)
