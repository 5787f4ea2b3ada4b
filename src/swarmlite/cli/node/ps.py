"""`swarmlite node ps`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.node import changing
from swarmlite.cli.output.listing import filters_of, list_options, no_trunc_option
from swarmlite.cli.output.tasks import print_tasks
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import NotFound
from swarmlite.proto.control_pb2 import ListTasksRequest, ListTasksResponse


@click.command("ps", cls=Command)
@list_options
@no_trunc_option
@flag("--no-resolve", help="Do not map IDs to Names.")
@click.argument("nodes", nargs=-1, metavar="[NODE...]")
@pass_session
def command(
    session: Session,
    nodes: tuple[str, ...],
    filters: Any,
    form: str,
    quiet: bool,
    no_trunc: bool,
    no_resolve: bool,
) -> int:
    """List tasks running on one or more nodes, defaults to current node.

    \b
    Examples:
      swarmlite node ps
      swarmlite node ps --filter desired-state=running node2
    """
    ids, status = [], 0
    for ref in nodes or ("self",):
        try:
            ids.append(changing.get(session, ref).id)
        except NotFound as error:
            click.echo(str(error), err=True)
            status = 1
    if ids:
        wanted = [*filters, *(("node", i) for i in ids)]
        request = ListTasksRequest(filters=filters_of(wanted))
        reply: ListTasksResponse = client.call(session.control.ListTasks, request)
        print_tasks(
            session, reply.tasks, form, quiet=quiet, no_trunc=no_trunc, no_resolve=no_resolve
        )
    return status
