"""`swarmlite container ls` and `swarmlite ps`: the containers of this host."""

from __future__ import annotations

import time
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.container.columns import LISTING, WITH_SIZE, row
from swarmlite.cli.lazy import INTEGER, Command, flag
from swarmlite.cli.output.listing import filters_of, list_options, no_trunc_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ListContainersRequest, ListContainersResponse


@click.command("ls", cls=Command)
@list_options
@no_trunc_option
@flag("-a", "--all", help="Show all containers (default shows just running).")
@click.option("-n", "--last", type=INTEGER, default=-1, help="Show n last created containers.")
@flag("-l", "--latest", help="Show the latest created container (includes all states).")
@flag("-s", "--size", help="Display total file sizes.")
@pass_session
def command(session: Session, /, filters: Any, form: str, quiet: bool, **values: Any) -> None:
    """List containers.

    \b
    Examples:
      swarmlite ps -a --filter status=exited
      swarmlite ps --format '{{.Names}} {{.Status}}'
    """
    last = 1 if values["latest"] and values["last"] < 0 else values["last"]
    if last > 2**31:
        raise InvalidSpec("--last: expected a number of containers")
    size = values["size"] or ".Size" in form
    request = ListContainersRequest(
        all=values["all"],
        limit=max(last, 0),
        size=size,
        filters=filters_of(filters),
    )
    reply: ListContainersResponse = client.call(session.containers.List, request)
    now = time.time()
    rows = [row(c, no_trunc=values["no_trunc"], now=now, size=size) for c in reply.containers]
    (WITH_SIZE if values["size"] else LISTING).print(rows, form, quiet=quiet)
