"""Images onto other nodes of the swarm, each of which says how far it is."""

from __future__ import annotations

from collections.abc import Sequence

from swarmlite.cli import client
from swarmlite.cli.image.transfer import MOVING, text_of
from swarmlite.cli.output.display import Display
from swarmlite.cli.session import Session
from swarmlite.errors import InvalidSpec, Unavailable
from swarmlite.model.references import Reference
from swarmlite.proto.control_pb2 import CarryImageRequest, CarryImageResponse, GetRequest
from swarmlite.proto.images_pb2 import ImageDetails, ImageProgress


def carry(session: Session, ref: str, nodes: Sequence[str], *, quiet: bool) -> str:
    """Put an image of this host on nodes, all of them by default; its digest.

    Raises Unavailable that names the nodes that do not have it now, with why.
    """
    if Reference.parse(ref).digest:
        raise InvalidSpec(f"nodes keep an image by its name: {ref} needs a tag and no digest")
    found: ImageDetails = client.call(session.images.Inspect, GetRequest(ref=ref))
    digest = digest_of(found, ref)
    request = CarryImageRequest(ref=ref, digest=digest, nodes=nodes)
    carry_digest(session, request, quiet=quiet)
    return digest


def digest_of(found: ImageDetails, ref: str) -> str:
    """By which the nodes know it: a registry's under this name, or its manifest's."""
    prefix = f"{Reference.parse(ref).name}@"
    pinned = [name.removeprefix(prefix) for name in found.image.repo_digests]
    pinned = [digest for digest in pinned if "@" not in digest]
    digest = pinned[-1] if pinned else found.manifest_digest
    if not digest:
        raise InvalidSpec(f"image {ref} was kept without what it came as: pull or load it again")
    return digest


def carry_digest(session: Session, request: CarryImageRequest, *, quiet: bool) -> None:
    """Ask the managers, and show what nodes say. Raises Unavailable that names who failed."""
    display, failed = Display(quiet=quiet), list[str]()
    for answer in client.stream(session.control.CarryImage(request)):
        node = answer.hostname or answer.node_id
        if answer.error:
            failed.append(f"{node}: {answer.error}")
        line = f"{node}: {answer.layer}" if answer.layer else node
        if display.terminal or answer.status not in MOVING:
            display.show([(line, _text(answer))])
    if failed:
        raise Unavailable(_said(failed))


def _text(answer: CarryImageResponse) -> str:
    if answer.error:
        return f"failed: {answer.error}"
    return text_of(
        ImageProgress(
            status=answer.status,
            current_bytes=answer.current_bytes,
            total_bytes=answer.total_bytes,
        )
    )


def _said(failed: Sequence[str]) -> str:
    if len(failed) == 1:
        return f"the image is not on node {failed[0]}"
    return f"the image is not on {len(failed)} nodes: {'; '.join(failed)}"
