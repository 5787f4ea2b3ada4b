"""`swarmlite stack ps`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.listing import filters_of, list_options, no_trunc_option
from swarmlite.cli.output.tasks import print_tasks
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import ListTasksRequest, ListTasksResponse


@click.command("ps", cls=Command)
@list_options
@no_trunc_option
@flag("--no-resolve", help="Do not map IDs to Names.")
@click.argument("stack")
@pass_session
def command(
    session: Session,
    stack: str,
    filters: Any,
    form: str,
    quiet: bool,
    no_trunc: bool,
    no_resolve: bool,
) -> int:
    """List the tasks in the stack.

    \b
    Examples:
      swarmlite stack ps shop
      swarmlite stack ps --filter desired-state=running shop
    """
    request = ListTasksRequest(filters=filters_of([*filters, ("stack", stack)]))
    reply: ListTasksResponse = client.call(session.control.ListTasks, request)
    if not reply.tasks and not filters:
        click.echo(f"nothing found in stack: {stack}", err=True)
        return 1
    print_tasks(session, reply.tasks, form, quiet=quiet, no_trunc=no_trunc, no_resolve=no_resolve)
    return 0
