"""What `service stop` and `service start` share."""

from __future__ import annotations

from collections.abc import Sequence

import click

from swarmlite.cli.service import changing
from swarmlite.cli.service.progress import converge_all
from swarmlite.cli.session import Session
from swarmlite.errors import SwarmliteError
from swarmlite.proto.specs_pb2 import ServiceSpec


def set_stopped(session: Session, names: Sequence[str], stopped: bool, *, wait: bool) -> int:
    """Stop or start them; the exit code. The numbers of replicas stay as they are."""

    def edit(spec: ServiceSpec) -> ServiceSpec:
        edited = ServiceSpec()
        edited.CopyFrom(spec)
        edited.stopped = stopped
        return edited

    status, changed = 0, []
    for name in names:
        try:
            changed.append(changing.change(session, name, edit))
        except SwarmliteError as error:
            click.echo(f"{name}: {error}", err=True)
            status = 1
        else:
            click.echo(name)
    if wait:
        converge_all(session, [(before.id, before) for before in changed])
    return status
