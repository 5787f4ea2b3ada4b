"""`swarmlite stack deploy`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.lazy import Command, flag, one_of
from swarmlite.cli.service.progress import converge
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.stack import files
from swarmlite.cli.stack.deployment import Deployment


@click.command("deploy", cls=Command)
@files.compose_option
@flag("-d", "--detach", default=True, help="Exit immediately instead of waiting (true).")
@flag("--prune", help="Prune services that are no longer referenced.")
@flag("-q", "--quiet", help="Suppress progress output.")
@click.option(
    "--resolve-image",
    type=one_of(always="always", changed="changed", never="never"),
    default="always",
    help='Query the registry to resolve image digests ("always", "changed", "never").',
)
@flag("--with-registry-auth", help="Send registry authentication details to Swarm agents.")
@click.argument("stack")
@pass_session
def command(session: Session, /, stack: str, paths: tuple[str, ...], **values: Any) -> None:
    """Deploy a new stack or update an existing stack."""
    loaded = files.stack(paths, stack)
    deployment = Deployment(
        session,
        loaded,
        resolve=values["resolve_image"],
        send_auth=values["with_registry_auth"],
    )
    deployment.check()
    if values["prune"]:
        deployment.prune()
    changed = deployment.run()
    for service_id, before in changed if not values["detach"] else ():
        converge(session, service_id, quiet=values["quiet"], before=before)
