"""`swarmlite image push` and `swarmlite push`."""

from __future__ import annotations

import click

from swarmlite.cli.image.carrying import carry
from swarmlite.cli.image.credentials import registry_auth
from swarmlite.cli.image.naming import with_tag
from swarmlite.cli.image.platform import all_platforms_option, platform_option
from swarmlite.cli.image.transfer import follow
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.proto.images_pb2 import PushImageRequest
from swarmlite.proto.types_pb2 import Platform


@click.command("push", cls=Command)
@flag("-a", "--all-tags", help="Push all tags of an image to the repository.")
@flag("-q", "--quiet", help="Suppress verbose output.")
@platform_option
@all_platforms_option
@flag("--nodes", help="Put it on nodes of the swarm (all of them, or NODE...), without a registry.")
@click.argument("names", nargs=-1, required=True, metavar="[NODE...] NAME[:TAG]")
@pass_session
def command(
    session: Session,
    names: tuple[str, ...],
    nodes: bool,
    all_tags: bool,
    quiet: bool,
    platform: Platform | None,
    all_platforms: bool,
) -> None:
    """Upload an image to a registry, or with --nodes to nodes of the swarm.

    \b
    Examples:
      swarmlite push registry.example/web:2
      swarmlite image push --nodes web:2
      swarmlite image push --nodes node2 node3 web:2
    """
    name = names[-1]
    if nodes:
        if all_tags or all_platforms or platform is not None:
            raise InvalidSpec("--nodes gives one image to each node, for the node's own platform")
        carry(session, with_tag(name), names[:-1], quiet=quiet)
        return
    if len(names) > 1:
        raise InvalidSpec("push takes one NAME[:TAG]; nodes are named with --nodes")
    tagged = with_tag(name) == name
    if all_tags and tagged:
        raise InvalidSpec("tag can't be used with --all-tags/-a")
    ref = name if all_tags else with_tag(name)
    reference = Reference.parse(ref)
    if not quiet:
        if not tagged and not all_tags:
            click.echo("Using default tag: latest")
        click.echo(f"The push refers to repository [{reference.domain}/{reference.path}]")
    request = PushImageRequest(
        ref=ref,
        registry_auth=registry_auth(ref),
        platform=platform,
        all_platforms=all_platforms,
        all_tags=all_tags,
    )
    done = follow(session.images.Push(request), quiet=quiet)
    for one in done.pushed if not quiet else []:
        click.echo(f"{one.tag}: digest: {one.digest} size: {one.size_bytes}")
    if quiet:
        click.echo(f"{reference.domain}/{reference.path}{'' if all_tags else ':' + reference.tag}")
