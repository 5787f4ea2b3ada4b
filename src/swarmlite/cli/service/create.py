"""`swarmlite service create`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.image.pinning import pin
from swarmlite.cli.lazy import COUNT, Command, flag, refused
from swarmlite.cli.service import spec as specs
from swarmlite.cli.service.flags.lists import LISTS, plain_options
from swarmlite.cli.service.flags.policies import POLICIES
from swarmlite.cli.service.flags.scalars import SCALARS
from swarmlite.cli.service.flags.table import create_options
from swarmlite.cli.session import Session, pass_session
from swarmlite.model.names import free_service_name
from swarmlite.proto.control_pb2 import CreateServiceRequest
from swarmlite.proto.objects_pb2 import Service


@click.command("create", cls=Command, swallow=True)
@click.option("--name", help="Service name.")
@click.option("--mode", default="replicated", help=f"Service mode: {', '.join(specs.MODES)}.")
@click.option("--replicas", type=COUNT, help="Number of tasks.")
@click.option("--max-concurrent", type=COUNT, help="Number of job tasks to run concurrently.")
@click.option("--env-file", multiple=True, help="Read in a file of environment variables.")
@create_options([*SCALARS, *POLICIES], LISTS)
@plain_options
@flag("--with-registry-auth", help="Send registry authentication details to swarm agents.")
@flag("--no-resolve-image", help="Do not query the registry to resolve image digest.")
@flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge.")
@flag("-q", "--quiet", help="Suppress progress output.")
@click.argument("image")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@refused("--credential-spec")
@pass_session
def command(session: Session, /, image: str, args: tuple[str, ...], **values: Any) -> None:
    """Create a new service.

    \b
    Examples:
      swarmlite service create --name web --replicas 3 --publish 8080:80 nginx:1.27
      swarmlite service create --name agent --mode global -e LEVEL=info agent:4
      swarmlite service create --name api --network back --secret db_password api:2
      swarmlite service create --name nightly --mode cron --schedule '30 4 * * *' backup:1
      swarmlite service create --replicas-min 2 --replicas-max 20 --scale-cpu 70 worker:1
    """
    wanted = specs.created(image, args, values)
    if not wanted.annotations.name:
        wanted.annotations.name = free_service_name()
    control = session.control
    resolve = not values["no_resolve_image"]
    if resolve:
        # What is wrong with the spec is said before a registry is asked, which takes its time.
        client.call(control.CreateService, CreateServiceRequest(spec=wanted, check_only=True))
    pin(session, wanted.task, resolve=resolve, send_auth=values["with_registry_auth"])
    service: Service = client.call(control.CreateService, CreateServiceRequest(spec=wanted))
    click.echo(service.id)
    if not values["detach"]:
        from swarmlite.cli.service.progress import converge

        converge(session, service.id, quiet=values["quiet"])
