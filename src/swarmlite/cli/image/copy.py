"""`swarmlite image copy`: between registries, archives, this node and others of the swarm."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from swarmlite.cli import client
from swarmlite.cli.image.carrying import carry_digest, digest_of
from swarmlite.cli.image.credentials import registry_auth
from swarmlite.cli.image.platform import platform_option
from swarmlite.cli.image.transfer import follow, text_of
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.archive import written
from swarmlite.cli.output.display import Display
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import NotFound, Unavailable
from swarmlite.proto.control_pb2 import CarryImageRequest, GetRequest
from swarmlite.proto.images_pb2 import (
    ImageDetails,
    ImageProgress,
    LoadImageRequest,
    SaveImagesRequest,
)
from swarmlite.proto.types_pb2 import Platform
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.copies import places
from swarmlite.storage.images.copies.copying import copy
from swarmlite.storage.images.copies.places import Place
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.types import Limits, Progress
from swarmlite.storage.images.types import Platform as Wanted

_CHUNK_BYTES = 1 << 20


@click.command("copy", cls=Command)
@flag("-q", "--quiet", help="Suppress verbose output.")
@platform_option
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@pass_session
def command(
    session: Session, source: str, target: str, quiet: bool, platform: Platform | None
) -> None:
    """Copy an image between registries, archives and this node.

    SRC and DST are [docker://]REFERENCE, node:IMAGE, node=NODE:IMAGE of the swarm, by way of this
    node, which keeps it too, oci:FOLDER[:TAG], oci-archive:FILE[:NAME] or
    docker-archive:FILE[:NAME:TAG]. All platforms of an index are copied unless one is asked for;
    a node and a docker-archive take one, this machine's by default.

    \b
    Examples:
      swarmlite image copy nginx:1.27 registry.example/nginx:1.27
      swarmlite image copy node:web:2 oci-archive:web.tar
    """
    origin, goal = places.parse(source), places.parse(target)
    if origin.node:
        origin = _from_node(session, origin, quiet=quiet)
    if goal.node and origin.kind == places.NODE:
        click.echo(_to_node(session, origin.name, goal, quiet=quiet))
        return
    wanted = None
    if platform is not None:
        wanted = Wanted(platform.os, platform.architecture, platform.variant)
    elif goal.kind in (places.NODE, places.DOCKER_ARCHIVE):
        wanted = Wanted.of_host()
    with tempfile.TemporaryDirectory(prefix="swarmlite-copy-") as folder:
        if origin.kind == places.NODE:
            origin = _saved(session, origin, Path(folder) / "from.tar")
        through = goal
        if goal.kind == places.NODE:
            through = Place(places.OCI_ARCHIVE, goal.name, Path(folder) / "to.tar")
        digest = _copied(origin, through, wanted, quiet=quiet)
        if goal.kind == places.NODE:
            _loaded(session, through.path, platform)
    if goal.node:
        digest = _to_node(session, goal.name, goal, quiet=quiet)
    click.echo(digest)


def _from_node(session: Session, origin: Place, *, quiet: bool) -> Place:
    """An image of another node, brought here: this node has it under the same name then."""
    request = CarryImageRequest(ref=origin.name, nodes=[origin.node], tell=True)
    digest = ""
    for answer in client.stream(session.control.CarryImage(request)):
        if answer.error:
            raise NotFound(f"node {answer.hostname or origin.node}: {answer.error}")
        digest = answer.digest or digest
    if not digest:
        raise Unavailable(f"node {origin.node} does not say which image {origin.name} is")
    here = CarryImageRequest(ref=origin.name, digest=digest, nodes=["self"])
    carry_digest(session, here, quiet=quiet)
    return Place(places.NODE, origin.name)


def _to_node(session: Session, name: str, goal: Place, *, quiet: bool) -> str:
    """An image of this node onto another, under the name that it is to have there."""
    found: ImageDetails = client.call(session.images.Inspect, GetRequest(ref=name))
    digest = digest_of(found, goal.name)
    request = CarryImageRequest(ref=goal.name, digest=digest, nodes=[goal.node])
    carry_digest(session, request, quiet=quiet)
    return digest


def _copied(origin: Place, goal: Place, wanted: Wanted | None, *, quiet: bool) -> str:
    display = Display(quiet=quiet)

    def report(step: Progress) -> None:
        line = ImageProgress(
            layer=step.layer,
            status=step.status,
            current_bytes=step.current_bytes,
            total_bytes=step.total_bytes,
        )
        if display.terminal or step.status not in ("Downloading", "Pushing"):
            display.show([(step.layer, text_of(line))])

    return asyncio.run(
        copy(
            origin,
            goal,
            report,
            settings=RegistrySettings.from_environment(),
            limits=Limits.from_environment(),
            auths=(_auth(origin), _auth(goal)),
            platform=wanted,
        )
    )


def _auth(place: Place) -> RegistryAuth | None:
    if place.kind != places.REGISTRY:
        return None
    return RegistryAuth.from_base64(registry_auth(place.name))


def _saved(session: Session, place: Place, path: Path) -> Place:
    """An image of this node as an archive."""
    replies = client.stream(session.images.Save(SaveImagesRequest(refs=[place.name])))
    written(str(path), (reply.data for reply in replies))
    return Place(places.OCI_ARCHIVE, "", path)


def _loaded(session: Session, path: Path, platform: Platform | None) -> None:
    def requests() -> Iterator[LoadImageRequest]:
        yield LoadImageRequest(platform=platform)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield LoadImageRequest(chunk=chunk)

    follow(session.images.Load(requests()), quiet=True)
