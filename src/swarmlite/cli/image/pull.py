"""`swarmlite image pull` and `swarmlite pull`."""

from __future__ import annotations

import click

from swarmlite.cli.image.credentials import registry_auth
from swarmlite.cli.image.naming import with_tag
from swarmlite.cli.image.platform import all_platforms_option, platform_option
from swarmlite.cli.image.transfer import follow
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.images_pb2 import PullImageRequest
from swarmlite.proto.types_pb2 import Platform


@click.command("pull", cls=Command)
@flag("-a", "--all-tags", help="Download all tagged images in the repository.")
@flag("-q", "--quiet", help="Suppress verbose output.")
@platform_option
@all_platforms_option
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@pass_session
def command(
    session: Session,
    name: str,
    all_tags: bool,
    quiet: bool,
    platform: Platform | None,
    all_platforms: bool,
) -> None:
    """Download an image from a registry.

    \b
    Examples:
      swarmlite pull nginx:1.27
      swarmlite pull --all-platforms registry.example/web:2
    """
    ref = name if all_tags else with_tag(name)
    if all_tags and with_tag(name) == name:
        raise InvalidSpec("tag can't be used with --all-tags/-a")
    if ref != name and not quiet:
        click.echo("Using default tag: latest")
    request = PullImageRequest(
        ref=ref,
        registry_auth=registry_auth(ref),
        platform=platform,
        all_platforms=all_platforms,
        all_tags=all_tags,
    )
    images = follow(session.images.Pull(request), quiet=quiet).images
    for image in images if not quiet else []:
        for digest in image.repo_digests[:1]:
            click.echo(f"Digest: {digest.partition('@')[2]}")
    click.echo(ref)
