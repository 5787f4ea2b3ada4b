"""`swarmlite image pull` and `swarmlite pull`."""

from __future__ import annotations

import click

from swarmlite.cli.image.credentials import registry_auth
from swarmlite.cli.image.naming import with_tag
from swarmlite.cli.image.transfer import follow
from swarmlite.cli.lazy import Command, flag, parsed
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.images_pb2 import PullImageRequest
from swarmlite.proto.types_pb2 import Platform


def _platform(text: str) -> Platform:
    os, slash, rest = text.partition("/")
    if not slash or not rest:
        raise InvalidSpec("expected OS/ARCHITECTURE, for example linux/amd64")
    return Platform(os=os, architecture=rest.partition("/")[0])


@click.command("pull", cls=Command)
@flag("-q", "--quiet", help="Suppress verbose output.")
@click.option("--platform", type=parsed(_platform, "string"), help="Platform, as linux/amd64.")
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@pass_session
def command(session: Session, name: str, quiet: bool, platform: Platform | None) -> None:
    """Download an image from a registry."""
    ref = with_tag(name)
    if ref != name and not quiet:
        click.echo("Using default tag: latest")
    request = PullImageRequest(ref=ref, registry_auth=registry_auth(ref), platform=platform)
    images = follow(session.images.Pull(request), quiet=quiet)
    for image in images if not quiet else []:
        for digest in image.repo_digests[:1]:
            click.echo(f"Digest: {digest.partition('@')[2]}")
    click.echo(ref)
