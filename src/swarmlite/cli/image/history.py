"""`swarmlite image history` and `swarmlite history`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, format_option, no_trunc_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.model import units
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.images_pb2 import ImageHistory

_CREATED_BY_LENGTH, _COMMENT_LENGTH = 45, 45
_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
LISTING = Listing("{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", _HEADERS)
_EXACT = Listing("{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", _HEADERS)


@click.command("history", cls=Command)
@format_option
@flag("-H", "--human", default=True, help="Print sizes and dates in human readable format.")
@no_trunc_option
@flag("-q", "--quiet", help="Only show image IDs.")
@click.argument("image")
@pass_session
def command(
    session: Session, image: str, form: str, human: bool, no_trunc: bool, quiet: bool
) -> None:
    """Show the history of an image."""
    reply: ImageHistory = client.call(session.images.History, GetRequest(ref=image))
    rows = [row_of(step, exact=not human, no_trunc=no_trunc) for step in reply.steps]
    (LISTING if human else _EXACT).print(rows, form, quiet=quiet)


def row_of(step: Any, *, exact: bool, no_trunc: bool, now: float | None = None) -> dict[str, str]:
    """One step of how an image was made; `exact`: bytes and moments in full."""
    created_by = step.created_by.replace("\t", " ")
    comment = step.comment
    if not no_trunc:
        created_by = human.ellipsis(created_by, _CREATED_BY_LENGTH)
        comment = human.ellipsis(comment, _COMMENT_LENGTH)
    created = step.HasField("created")
    moment = datetime.fromtimestamp(step.created.seconds, UTC) if created else None
    return {
        "ID": (step.id if no_trunc else human.short_id(step.id)) or "<missing>",
        "CreatedSince": human.ago(step.created, now) if created else "N/A",
        "CreatedAt": moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else "",
        "CreatedBy": created_by,
        "Size": str(step.size_bytes) if exact else units.format_size(step.size_bytes),
        "Comment": comment,
    }
