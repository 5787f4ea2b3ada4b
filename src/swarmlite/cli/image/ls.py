"""`swarmlite image ls` and `swarmlite images`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, filters_of, list_options, no_trunc_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.model import units
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.images_pb2 import ListImagesResponse, LocalImage

LISTING = Listing(
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    {
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "Size": "SIZE",
    },
)


@click.command("ls", cls=Command)
@list_options
@no_trunc_option
@pass_session
def command(session: Session, filters: Any, form: str, quiet: bool, no_trunc: bool) -> None:
    """List images."""
    request = ListRequest(filters=filters_of(filters))
    reply: ListImagesResponse = client.call(session.images.List, request)
    rows = [row for image in reply.images for row in rows_of(image, no_trunc)]
    if quiet:
        rows = list({row["ID"]: row for row in rows}.values())
    LISTING.print(rows, form, quiet=quiet)


def rows_of(image: LocalImage, no_trunc: bool = False, now: float | None = None) -> list[Any]:
    """A row for each tag of the image; one with <none> when it has no tag."""
    digest = next((d.partition("@")[2] for d in image.repo_digests), "<none>")
    tags = [tag.rpartition(":") for tag in image.repo_tags]
    named = [(name, tag) for name, _, tag in tags]
    if not named:
        name = next((d.partition("@")[0] for d in image.repo_digests), "<none>")
        named = [(name, "<none>")]
    return [
        {
            "Repository": name,
            "Tag": tag,
            "Digest": digest,
            "ID": image.id if no_trunc else human.short_id(image.id),
            "CreatedSince": human.ago(image.created, now),
            "Size": units.format_size(image.size_bytes),
        }
        for name, tag in named
    ]
