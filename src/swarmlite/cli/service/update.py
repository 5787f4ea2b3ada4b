"""`swarmlite service update`."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from swarmlite.cli import client
from swarmlite.cli.image.pinning import pin
from swarmlite.cli.lazy import COUNT, Command, flag, refused
from swarmlite.cli.service import changing
from swarmlite.cli.service import spec as specs
from swarmlite.cli.service.flags.lists import LISTS, plain_options
from swarmlite.cli.service.flags.policies import POLICIES
from swarmlite.cli.service.flags.scalars import SCALARS, WORDS
from swarmlite.cli.service.flags.table import update_options
from swarmlite.cli.service.progress import converge
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.model.validate import validate_service
from swarmlite.proto.control_pb2 import ListNetworksResponse, ListRequest
from swarmlite.proto.specs_pb2 import ServiceSpec


@click.command("update", cls=Command)
@click.option("--image", help="Service image tag.")
@click.option("--args", type=WORDS, help="Service command args.")
@click.option("--replicas", type=COUNT, help="Number of tasks.")
@click.option("--max-concurrent", type=COUNT, help="Number of job tasks to run concurrently.")
@flag("--force", help="Force update even if no changes require it.")
@flag("--rollback", help="Rollback to previous specification.")
@update_options([*SCALARS, *POLICIES], LISTS)
@plain_options
@flag("--with-registry-auth", help="Send registry authentication details to swarm agents.")
@flag("--no-resolve-image", help="Do not query the registry to resolve image digest.")
@flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge.")
@flag("-q", "--quiet", help="Suppress progress output.")
@click.argument("service")
@refused("--credential-spec")
@pass_session
def command(session: Session, /, service: str, **values: Any) -> None:
    """Update a service.

    \b
    Examples:
      swarmlite service update --image web:2 --update-order start-first web
      swarmlite service update --env-add LEVEL=debug --publish-add 9090:90 web
      swarmlite service update --secret-rm old_key --secret-add source=new_key,target=key web
      swarmlite service update --image web:3 --update-canary 1 --update-canary-promote manual web
      swarmlite service update --force web
    """
    if values["rollback"]:
        _refuse_others()
        before = changing.roll_back(session, service)
    else:
        before = changing.change(session, service, lambda spec: _edit(session, spec, values))
    click.echo(service)
    if not values["detach"]:
        converge(
            session,
            before.id,
            quiet=values["quiet"],
            before=before,
            rollback=values["rollback"],
        )


def _refuse_others() -> None:
    """What else was asked for would be passed over. Raises InvalidSpec."""
    ctx = click.get_current_context()
    alone = {"service", "rollback", "detach", "quiet"}
    for param in ctx.command.params:
        name = param.name or ""
        source = ctx.get_parameter_source(name)
        if name not in alone and source is ParameterSource.COMMANDLINE:
            raise InvalidSpec(f"other flags may not be combined with --rollback: {param.opts[0]}")


def _edit(session: Session, spec: ServiceSpec, values: dict[str, Any]) -> ServiceSpec:
    named = ServiceSpec()
    named.CopyFrom(spec)
    if values["network_add"] or values["network_rm"]:
        _name_networks(session, named)
    changed = specs.updated(named, values)
    validate_service(changed)
    if values["image"] is not None or values["with_registry_auth"]:
        pin(
            session,
            changed.task,
            resolve=not values["no_resolve_image"],
            send_auth=values["with_registry_auth"],
        )
    return changed


def _name_networks(session: Session, spec: ServiceSpec) -> None:
    """Names in place of ids, since names are what the flags say."""
    reply: ListNetworksResponse = client.call(session.control.ListNetworks, ListRequest())
    names = {network.id: network.spec.annotations.name for network in reply.networks}
    for attachment in spec.task.networks:
        attachment.target = names.get(attachment.target, attachment.target)
