"""Makes a container of a configuration, its image pulled when it is missing: `run` and `create`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.container.flags.configuration import check_cidfile, write_cidfile
from swarmlite.cli.image.credentials import registry_auth
from swarmlite.cli.image.naming import with_tag
from swarmlite.cli.image.transfer import follow
from swarmlite.cli.lazy import flag, one_of
from swarmlite.cli.session import Session
from swarmlite.errors import NotFound
from swarmlite.proto.containers_pb2 import (
    ContainerConfig,
    CreateContainerRequest,
    CreateContainerResponse,
    RunOutput,
)
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.images_pb2 import PullImageRequest

Created = CreateContainerResponse | RunOutput

CREATE_TIMEOUT_S = 600.0
"""Volumes are filled from the image meanwhile."""


def creating_options(command: Any) -> Any:
    """--cidfile, --pull and -q."""
    pull = click.option(
        "--pull",
        type=one_of(always="always", missing="missing", never="never"),
        default="missing",
        help='Pull image before running ("always", "missing", "never").',
    )
    cidfile = click.option("--cidfile", default="", help="Write the container ID to the file.")
    return flag("-q", "--quiet", help="Suppress the pull output.")(pull(cidfile(command)))


def create(
    session: Session,
    config: ContainerConfig,
    values: Mapping[str, Any],
    how: Callable[[Session, ContainerConfig], Created] | None = None,
) -> str:
    """The new container's id; warnings and a pull's progress go to standard error.

    `how` makes it, where that is not a call of its own.
    """
    how = how or _create
    if values["cidfile"]:
        check_cidfile(values["cidfile"])
    if values["pull"] == "always":
        pull(session, config, quiet=values["quiet"])
    try:
        made = how(session, config)
    except NotFound as error:
        other = "does not match the specified platform" in str(error)
        if values["pull"] != "missing" or not (other or _lacks(session, config.spec.image)):
            raise
        click.echo(f"Unable to find image '{with_tag(config.spec.image)}' locally", err=True)
        pull(session, config, quiet=values["quiet"])
        made = how(session, config)
    for warning in made.warnings:
        click.echo(f"WARNING: {warning}", err=True)
    if values["cidfile"]:
        write_cidfile(values["cidfile"], made.id)
    return made.id


def pull(session: Session, config: ContainerConfig, *, quiet: bool) -> None:
    """Fetch the image, its progress on standard error."""
    ref = with_tag(config.spec.image)
    request = PullImageRequest(ref=ref, registry_auth=registry_auth(ref))
    if config.HasField("platform"):
        request.platform.CopyFrom(config.platform)
    for image in follow(session.images.Pull(request), quiet=quiet, out=sys.stderr).images:
        for digest in image.repo_digests[:1]:
            if not quiet:
                click.echo(f"Digest: {digest.partition('@')[2]}", err=True)
    if not quiet:
        click.echo(f"Status: Downloaded newer image for {ref}", err=True)


def _create(session: Session, config: ContainerConfig) -> CreateContainerResponse:
    request = CreateContainerRequest(config=config)
    reply: CreateContainerResponse = client.call(
        session.containers.Create, request, timeout_s=CREATE_TIMEOUT_S
    )
    return reply


def _lacks(session: Session, image: str) -> bool:
    """Whether it is the image that was not found, and not a network or a container."""
    try:
        client.call(session.images.Inspect, GetRequest(ref=image))
    except NotFound:
        return True
    return False
