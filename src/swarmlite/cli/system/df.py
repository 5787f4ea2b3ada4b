"""`swarmlite system df`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.container import columns
from swarmlite.cli.image.ls import rows_of
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.listing import Listing, format_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.system.usage import SUMMARY, summary
from swarmlite.model import units
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.host_pb2 import DiskUsageRequest, DiskUsageResponse

TIMEOUT_S = 600.0
_IMAGES = Listing(
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.Containers}}",
    {
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "Size": "SIZE",
        "Containers": "CONTAINERS",
    },
)
_CONTAINERS = Listing(
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}"
    "\t{{.Names}}",
    columns.LISTING.headers,
)
_VOLUMES = Listing(
    "{{.Name}}\t{{.Links}}\t{{.Size}}",
    {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"},
)


@click.command("df", cls=Command)
@format_option
@flag("-v", "--verbose", help="Show detailed information on space usage.")
@pass_session
def command(session: Session, form: str, verbose: bool) -> None:
    """Show this host's disk usage."""
    usage: DiskUsageResponse = client.call(
        session.host.DiskUsage, DiskUsageRequest(), timeout_s=TIMEOUT_S
    )
    if verbose and not form:
        _details(usage)
    else:
        cache = client.call(session.builds.ListCache, ListRequest(), timeout_s=TIMEOUT_S)
        SUMMARY.print(summary(usage, cache.entries), form)


def _details(usage: DiskUsageResponse) -> None:
    now = time.time()
    images = [
        {**row, "Containers": str(image.containers)}
        for image in usage.images
        for row in rows_of(image)
    ]
    _section("Images space usage:", _IMAGES, images)
    rows = [columns.row(c, no_trunc=False, now=now, size=True) for c in usage.containers]
    _section("Containers space usage:", _CONTAINERS, rows)
    volumes = [
        {
            "Name": volume.name,
            "Links": str(len(volume.used_by)),
            "Size": units.format_size(volume.size_bytes),
        }
        for volume in usage.volumes
    ]
    _section("Local Volumes space usage:", _VOLUMES, volumes)


def _section(heading: str, listing: Listing, rows: Iterable[Any]) -> None:
    click.echo(f"{heading}\n")
    listing.print(rows)
    click.echo()
