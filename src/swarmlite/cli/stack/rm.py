"""`swarmlite stack rm`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.stack import members
from swarmlite.errors import FailedPrecondition, NotFound, SwarmliteError
from swarmlite.proto.control_pb2 import (
    Filter,
    ListTasksRequest,
    ListTasksResponse,
    RemoveRequest,
)

RELEASE_S = 60.0
"""How long a network is tried again while the tasks on it stop."""
RETRY_S = 0.5


@click.command("rm", cls=Command)
@flag("-d", "--detach", default=True, help="Do not wait for stack removal (true).")
@click.argument("stacks", nargs=-1, required=True, metavar="STACK...")
@pass_session
def command(session: Session, stacks: tuple[str, ...], detach: bool) -> int:
    """Remove one or more stacks.

    \b
    Example:
      swarmlite stack rm shop
    """
    status = 0
    for stack in stacks:
        found = members.of(session, stack)
        if not found:
            click.echo(f"Nothing found in stack: {stack}", err=True)
            continue
        status |= _remove(session, found)
        if not detach:
            _wait(session, stack)
    return status


def _remove(session: Session, found: members.Members) -> int:
    control, status = session.control, 0
    kinds: list[tuple[str, list[Any], Callable[..., Any]]] = [
        ("service", found.services, control.RemoveService),
        ("secret", found.secrets, control.RemoveSecret),
        ("config", found.configs, control.RemoveConfig),
        ("network", found.networks, control.RemoveNetwork),
    ]
    for kind, objects, method in kinds:
        for item in sorted(objects, key=lambda o: o.spec.annotations.name):
            name = item.spec.annotations.name
            click.echo(f"Removing {kind} {name}")
            try:
                _remove_one(method, item.id)
            except SwarmliteError as error:
                click.echo(f"Failed to remove {kind} {name}: {error}", err=True)
                status = 1
    return status


def _remove_one(method: Callable[..., Any], object_id: str) -> None:
    """Remove it, waiting while what has just been removed still holds it."""
    deadline = time.monotonic() + RELEASE_S
    while True:
        try:
            client.call(method, RemoveRequest(ref=object_id), timeout_s=RELEASE_S)
        except NotFound:
            return
        except FailedPrecondition:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _wait(session: Session, stack: str) -> None:
    request = ListTasksRequest(filters=[Filter(key="stack", values=[stack])])
    deadline = time.monotonic() + RELEASE_S
    while time.monotonic() < deadline:
        reply: ListTasksResponse = client.call(session.control.ListTasks, request)
        if not reply.tasks:
            return
        time.sleep(RETRY_S)
