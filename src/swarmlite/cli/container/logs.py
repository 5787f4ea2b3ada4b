"""`swarmlite container logs` and `swarmlite logs`."""

from __future__ import annotations

import sys
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.loglines import TAIL
from swarmlite.cli.moments import MOMENT
from swarmlite.cli.reaching import READ, on_task
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import ContainerLogsRequest
from swarmlite.proto.control_pb2 import LOG_STDERR, LogOptions


@click.command("logs", cls=Command)
@flag("-f", "--follow", help="Follow log output.")
@click.option("-n", "--tail", type=TAIL, default="all", help="Lines to show from the end (all).")
@click.option("--since", type=MOMENT, help="Show logs since a time, a UNIX time or a duration.")
@click.option("--until", type=MOMENT, help="Show logs before a time, a UNIX time or a duration.")
@flag("-t", "--timestamps", help="Show timestamps.")
@flag("--details", help="Show extra details provided to logs.")
@click.argument("container")
@pass_session
def command(session: Session, /, container: str, **values: Any) -> None:
    """Fetch the logs of a container of this host, or of a task of the swarm on any node.

    \b
    Examples:
      swarmlite logs -f --tail 100 web
      swarmlite logs --since 10m web.1
    """
    options = LogOptions(follow=values["follow"], tail=values["tail"], stdout=True, stderr=True)
    for name in ("since", "until"):
        if values[name] is not None:
            getattr(options, name).CopyFrom(values[name])

    def show(there: Session, ref: str) -> None:
        request.ref = ref
        for reply in client.stream(there.containers.Logs(request)):
            for text in reply.messages:
                out = sys.stderr if text.stream == LOG_STDERR else sys.stdout
                out.buffer.write(text.data)
                out.buffer.flush()

    request = ContainerLogsRequest(
        options=options,
        plain=True,
        timestamps=values["timestamps"],
        details=values["details"],
    )
    on_task(session, container, READ, show)
