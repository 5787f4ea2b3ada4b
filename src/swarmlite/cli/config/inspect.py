"""`swarmlite config inspect`."""

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
from swarmlite.proto.objects_pb2 import Config


@click.command("inspect", cls=Command)
@inspect_options
@flag("--pretty", help="Print the information in a human friendly format.")
@click.argument("names", nargs=-1, required=True, metavar="CONFIG...")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str, pretty: bool) -> int:
    """Display detailed information on one or more configs."""
    for_people, control = is_pretty(pretty, form), session.control

    def get(ref: str) -> Config:
        found: Config = client.call(control.GetConfig, GetRequest(ref=ref))
        return found

    if for_people:
        return pretty_each(names, lambda ref: "\n".join(_pretty(get(ref))))
    return inspect_each(names, lambda ref: shapes.config(get(ref)), form)


def _pretty(config: Config) -> Iterator[str]:
    spec = config.spec
    yield f"ID:\t\t\t{config.id}"
    yield f"Name:\t\t\t{spec.annotations.name}"
    if spec.annotations.labels:
        yield "Labels:"
        yield from (f" - {key}={value}" for key, value in sorted(spec.annotations.labels.items()))
    yield f"Created at:            \t{human.go_time(config.meta.created_at)}"
    yield f"Updated at:            \t{human.go_time(config.meta.updated_at)}"
    yield "Data:"
    yield spec.data.decode("utf-8", "replace")
