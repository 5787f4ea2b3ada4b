"""`swarmlite service scale`."""

from __future__ import annotations

from functools import partial

import click

from swarmlite.cli.lazy import Command, count, flag, parsed
from swarmlite.cli.service import changing
from swarmlite.cli.service.progress import converge_all
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.proto.specs_pb2 import ServiceSpec


def _scale(text: str) -> tuple[str, int]:
    name, equals, replicas = text.partition("=")
    if not equals or not name:
        raise InvalidSpec("expected SERVICE=REPLICAS, for example web=3")
    return name, count(replicas)


@click.command("scale", cls=Command)
@flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge.")
@click.argument("scales", nargs=-1, required=True, type=parsed(_scale), metavar="SERVICE=REPLICAS")
@pass_session
def command(session: Session, scales: tuple[tuple[str, int], ...], detach: bool) -> int:
    """Scale one or multiple replicated services.

    \b
    Example:
      swarmlite service scale web=5 worker=0
    """
    status, scaled = 0, []
    for name, replicas in scales:
        try:
            scaled.append(changing.change(session, name, partial(_edited, replicas)))
        except SwarmliteError as error:
            click.echo(f"{name}: {error}", err=True)
            status = 1
        else:
            click.echo(f"{name} scaled to {replicas}")
    if not detach:
        converge_all(session, [(before.id, before) for before in scaled])
    return status


def _edited(replicas: int, spec: ServiceSpec) -> ServiceSpec:
    result = ServiceSpec()
    result.CopyFrom(spec)
    changing.set_replicas(result, replicas)
    return result
