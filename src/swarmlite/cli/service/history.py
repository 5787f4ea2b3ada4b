"""`swarmlite service history`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, format_option, no_trunc_option
from swarmlite.cli.service import changing
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack.difference import differences

LISTING = Listing(
    "{{.Revision}}\t{{.Created}}\t{{.Image}}\t{{.Changes}}",
    {
        "Revision": "REVISION",
        "Created": "CREATED",
        "CreatedAt": "CREATED AT",
        "Image": "IMAGE",
        "Changes": "CHANGES",
    },
    quiet="{{.Revision}}",
)
WIDTH = 60


@click.command("history", cls=Command)
@format_option
@no_trunc_option
@flag("-q", "--quiet", help="Only display revisions.")
@click.argument("service")
@pass_session
def command(session: Session, service: str, form: str, no_trunc: bool, quiet: bool) -> None:
    """Show the revisions of a service, the newest first.

    `swarmlite service rollback --to REVISION SERVICE` goes back to one of them.

    \b
    Examples:
      swarmlite service history web
      swarmlite service rollback --to 3 web
    """
    found = changing.get(session, service)
    LISTING.print(list(_rows(found, no_trunc))[::-1], form, quiet=quiet)


def _rows(service: Service, no_trunc: bool) -> Iterator[dict[str, Any]]:
    before: ServiceSpec | None = None
    # A revision came when the one before it went; of the oldest that is kept it may be unknown.
    created: Any = None
    revisions = [(r.spec_version.index, r.spec, r.replaced_at) for r in service.history]
    for number, spec, ended in [*revisions, (service.spec_version.index, service.spec, None)]:
        first = created is None and number == 1
        at = service.meta.created_at if first else created
        changes = "" if before is None else _changes(before, spec)
        yield {
            "Revision": number,
            "Created": human.ago(at) if at is not None else "",
            "CreatedAt": human.go_time(at) if at is not None else "",
            "Image": human.familiar_image(spec.task.container.image),
            "Changes": changes if no_trunc else human.ellipsis(changes, WIDTH),
        }
        before, created = spec, ended


def _changes(before: ServiceSpec, after: ServiceSpec) -> str:
    found = differences(before, after)
    return "; ".join(str(each) for each in found if "registry_auth" not in each.path)
