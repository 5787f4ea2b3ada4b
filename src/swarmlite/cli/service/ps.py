"""`swarmlite service ps`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.listing import filters_of, list_options, no_trunc_option
from swarmlite.cli.output.tasks import print_tasks
from swarmlite.cli.service import changing
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import NotFound
from swarmlite.proto.control_pb2 import ListTasksRequest, ListTasksResponse


@click.command("ps", cls=Command)
@list_options
@no_trunc_option
@flag("--no-resolve", help="Do not map IDs to Names.")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_session
def command(
    session: Session,
    services: tuple[str, ...],
    filters: Any,
    form: str,
    quiet: bool,
    no_trunc: bool,
    no_resolve: bool,
) -> int:
    """List the tasks of one or more services.

    \b
    Examples:
      swarmlite service ps web
      swarmlite service ps --no-trunc --filter desired-state=running web api
      swarmlite service ps --format '{{.Name}} {{.Node}} {{.Error}}' web
    """
    ids, status = [], 0
    for ref in services:
        try:
            ids.append(changing.get(session, ref).id)
        except NotFound:
            click.echo(f"no such service: {ref}", err=True)
            status = 1
    if ids:
        wanted = [*filters, *(("service", i) for i in ids)]
        request = ListTasksRequest(filters=filters_of(wanted))
        reply: ListTasksResponse = client.call(session.control.ListTasks, request)
        print_tasks(
            session, reply.tasks, form, quiet=quiet, no_trunc=no_trunc, no_resolve=no_resolve
        )
    return status
