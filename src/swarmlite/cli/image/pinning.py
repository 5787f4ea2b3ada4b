"""Pinning: a service's image gets the digest that its tag has now, so that all nodes run one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swarmlite.cli import client
from swarmlite.cli.image.credentials import registry_auth
from swarmlite.cli.image.naming import with_tag
from swarmlite.cli.session import Session
from swarmlite.errors import SwarmliteError
from swarmlite.proto.specs_pb2 import TaskSpec

if TYPE_CHECKING:
    from swarmlite.proto.images_pb2 import ResolvedImage

RESOLVE_TIMEOUT_S = 5.0
"""A registry that has not answered by then is said not to answer; nodes ask it themselves."""

_WARNING = (
    "image {image} could not be accessed on a registry to record its digest. Each node will access"
    " {image} independently, possibly leading to different nodes running different versions of the"
    " image."
)


def pin(session: Session, task: TaskSpec, *, resolve: bool, send_auth: bool) -> None:
    """Complete the image of `task` in place: tag, digest and platforms, credentials.

    Of an image that no registry answers for, it is the digest of this host's, which nodes get from
    here; where this host has none either, it keeps its tag, with Docker's warning.
    """
    container = task.container
    auth = registry_auth(container.image) if send_auth or resolve else ""
    if send_auth and auth:
        container.pull_options.registry_auth = auth
    if "@" in container.image:
        return
    container.image = with_tag(container.image)
    del task.placement.platforms[:]  # they were another image's
    if resolve:
        found = _resolved(session, container.image, auth)
        if found is not None:
            container.image = f"{container.image}@{found.digest}"
            task.placement.platforms.extend(found.platforms)


def _resolved(session: Session, image: str, auth: str) -> ResolvedImage | None:
    from swarmlite.proto.images_pb2 import PullImageRequest

    try:
        request = PullImageRequest(ref=image, registry_auth=auth)
        found: ResolvedImage = client.call(
            session.images.Resolve, request, timeout_s=RESOLVE_TIMEOUT_S
        )
    except SwarmliteError:  # that of a context that leads to no host, too
        click.echo(_WARNING.format(image=image), err=True)
        return None
    return found
