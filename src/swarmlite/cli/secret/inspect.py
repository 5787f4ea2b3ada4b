"""`swarmlite secret inspect`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output import human
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options, is_pretty, pretty_each
from swarmlite.docker import cluster as shapes
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.objects_pb2 import Secret


@click.command("inspect", cls=Command)
@inspect_options
@flag("--pretty", help="Print the information in a human friendly format.")
@click.argument("names", nargs=-1, required=True, metavar="SECRET...")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str, pretty: bool) -> int:
    """Display detailed information on one or more secrets."""
    for_people, control = is_pretty(pretty, form), session.control

    def get(ref: str) -> Secret:
        found: Secret = client.call(control.GetSecret, GetRequest(ref=ref))
        return found

    if for_people:
        return pretty_each(names, lambda ref: "\n".join(_pretty(get(ref))))
    return inspect_each(names, lambda ref: shapes.secret(get(ref)), form)


def _pretty(secret: Secret) -> Iterator[str]:
    spec = secret.spec
    yield f"ID:              {secret.id}"
    yield f"Name:              {spec.annotations.name}"
    if spec.annotations.labels:
        yield "Labels:"
        yield from (f" - {key}={value}" for key, value in sorted(spec.annotations.labels.items()))
    yield f"Driver:            {spec.driver.name}"
    yield f"Created at:        {human.go_time(secret.meta.created_at)}"
    yield f"Updated at:        {human.go_time(secret.meta.updated_at)}"
