"""`swarmlite build`, `swarmlite image build` and `swarmlite builder build`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from swarmlite.build.context.sources import Sources
from swarmlite.cli.build import building, caches, outputs
from swarmlite.cli.build.agents import Agents
from swarmlite.cli.build.flags import build_options
from swarmlite.cli.build.options import options_of, pairs
from swarmlite.cli.build.progress import Counted, shown_as
from swarmlite.cli.build.sending import described, named_contexts, requests
from swarmlite.cli.image.credentials import registry_auth
from swarmlite.cli.image.transfer import follow
from swarmlite.cli.lazy import Command, Failed
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.build_pb2 import BuildOptions, BuildResult
from swarmlite.proto.images_pb2 import PushImageRequest


@click.command("build", cls=Command)
@build_options
@click.argument("context", metavar="PATH|URL|-")
@pass_session
def command(session: Session, /, context: str, **values: Any) -> None:
    """Build an image from a Dockerfile.

    \b
    Examples:
      swarmlite build -t shop/web:2 .
      swarmlite build -f Dockerfile.prod --build-arg VERSION=2 --target release -t web:2 --push .
      swarmlite build --platform linux/amd64,linux/arm64 -t registry.example/web:2 --push .
    """
    options = options_of(values)
    found = [outputs.parse(text) for text in values["output"]]
    outputs.check(found)
    kept = caches.parse(options, values["cache_to"], values["cache_from"])
    if kept.outputs:
        found = [*(found or [outputs.Output("image")]), *kept.outputs]
    _name(options, found, push=values["push"])
    if context == "-" and sys.stdin.isatty():
        raise InvalidSpec("standard input is a terminal: give a folder, or - < TAR")
    shown = Counted(shown_as("quiet" if values["quiet"] else values["progress"]))
    with (
        Agents(values["ssh"]) as agents,
        Sources(sys.stdin.buffer, lambda line: click.echo(line, err=True)) as sources,
    ):
        source = sources.main(context, values["file"])
        described(options, source)
        contexts = pairs(values["build_context"], "--build-context")
        named = {**named_contexts(options, contexts, sources), **kept.sent}
        options.ssh.extend(agents.ids)
        result = building.build(
            session,
            requests(options, source, named, agents),
            shown,
            found,
            agents,
            source.name,
        )
    if options.check:
        _checked(shown.warnings)
        return
    several = len(options.platforms) > 1
    _finish(session, building.of(result), found, values, several=several)


def _checked(warnings: int) -> None:
    """The end of --check. Raises Failed where it had warnings, as BuildKit does."""
    if warnings:
        found = "1 warning has" if warnings == 1 else f"{warnings} warnings have"
        raise Failed(f"Check complete, {found} been found!", 1)
    click.echo("Check complete, no warnings found.", err=True)


def _name(options: BuildOptions, found: list[outputs.Output], *, push: bool) -> None:
    """Outputs and the names that they bring, into the options."""
    options.outputs.extend(one.message for one in found)
    for one in found:
        options.tags.extend(name for name in one.names if name not in options.tags)
    if (push or any(one.push for one in found)) and not options.tags:
        raise InvalidSpec("to push it the image needs a name: --tag NAME")
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and "SOURCE_DATE_EPOCH" not in options.build_args:
        if not epoch.isdecimal():
            raise InvalidSpec(f"SOURCE_DATE_EPOCH={epoch[:40]}: expected whole seconds")
        options.source_date_epoch = int(epoch)


def _finish(
    session: Session,
    result: BuildResult,
    found: list[outputs.Output],
    values: dict[str, Any],
    *,
    several: bool,
) -> None:
    building.left_behind(result, iidfile=values["iidfile"], metadata_file=values["metadata_file"])
    to_stdout = any(one.dest == outputs.STREAM for one in found)
    if result.image_id and not to_stdout:
        building.report(result, quiet=values["quiet"])
    if values["push"] or any(one.push for one in found):
        for name in result.tags:
            request = PushImageRequest(
                ref=name, registry_auth=registry_auth(name), all_platforms=several
            )
            done = follow(session.images.Push(request), quiet=values["quiet"], out=sys.stderr)
            if not done.pushed:
                raise Failed(f"{name} was not pushed", 1)
