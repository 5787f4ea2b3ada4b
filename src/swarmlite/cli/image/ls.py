"""`swarmlite image ls` and `swarmlite images`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.image import tree as trees
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, filters_of, list_options, no_trunc_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.model import units
from swarmlite.proto.control_pb2 import GetRequest, ListRequest
from swarmlite.proto.images_pb2 import ImageDetails, ListImagesResponse, LocalImage

_HEADERS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
}
LISTING = Listing("{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}", _HEADERS)
WITH_DIGESTS = Listing(
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}", _HEADERS
)


@click.command("ls", cls=Command)
@flag("-a", "--all", help="Show all images; there are no intermediate ones here.")
@flag("--digests", help="Show digests.")
@flag("--tree", help="List multi-platform images as a tree.")
@list_options
@no_trunc_option
@click.argument("name", default="", metavar="[REPOSITORY[:TAG]]")
@pass_session
def command(
    session: Session,
    name: str,
    filters: Any,
    form: str,
    all: bool,
    digests: bool,
    tree: bool,
    quiet: bool,
    no_trunc: bool,
) -> None:
    """List images."""
    if tree and (quiet or form or digests or no_trunc):
        raise InvalidSpec(
            "--tree cannot be combined with --quiet, --format, --digests or --no-trunc"
        )
    if name:
        filters = [*filters, ("reference", name)]
    request = ListRequest(filters=filters_of(filters))
    reply: ListImagesResponse = client.call(session.images.List, request)
    if tree:
        click.echo(trees.render([_details(session, image) for image in reply.images]), nl=False)
        return
    rows = [row for image in reply.images for row in rows_of(image, no_trunc)]
    if quiet:
        rows = list({row["ID"]: row for row in rows}.values())
    (WITH_DIGESTS if digests else LISTING).print(rows, form, quiet=quiet)


def _details(session: Session, image: LocalImage) -> ImageDetails:
    found: ImageDetails = client.call(session.images.Inspect, GetRequest(ref=image.id))
    return found


def rows_of(image: LocalImage, no_trunc: bool = False, now: float | None = None) -> list[Any]:
    """A row for each tag of the image; one with <none> when it has no tag."""
    digests = dict(digest.split("@", 1) for digest in image.repo_digests)
    named = [(name, tag) for name, _, tag in (tag.rpartition(":") for tag in image.repo_tags)]
    # what was pulled by its digest only, and names that only digests have
    named += [(name, "<none>") for name in digests if name not in {found for found, _ in named}]
    return [
        {
            "Repository": name,
            "Tag": tag,
            "Digest": digests.get(name, "<none>"),
            "ID": image.id if no_trunc else human.short_id(image.id),
            "CreatedSince": human.ago(image.created, now),
            "CreatedAt": human.local_time(image.created),
            "Size": units.format_size(image.size_bytes),
            "Containers": str(image.containers),
        }
        for name, tag in named or [("<none>", "<none>")]
    ]
