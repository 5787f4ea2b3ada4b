"""Builds what the `build:` sections of a stack say, one service after the other."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import click

from swarmlite.build.context.remote import is_git, is_http
from swarmlite.build.context.sources import Sources
from swarmlite.cli.build import building
from swarmlite.cli.build.agents import Agents
from swarmlite.cli.build.options import logins, proxies, secrets
from swarmlite.cli.build.progress import shown_as
from swarmlite.cli.build.sending import described, named_contexts, requests
from swarmlite.cli.session import Session
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.proto.build_pb2 import BuildOptions, BuildResult
from swarmlite.stack.service.build import Build


def build_all(
    session: Session,
    builds: Sequence[Build],
    *,
    progress: str = "auto",
    no_cache: bool = False,
    pull: bool = False,
) -> dict[str, str]:
    """Every one; what each service runs then, NAME@DIGEST, by the file's name of it.

    The first that fails ends it, and says of which service it is.
    """
    made = {}
    for one in builds:
        click.echo(f"Building {one.image} for service {one.service}", err=True)
        try:
            result = _build(session, one, progress, no_cache=no_cache, pull=pull)
        except SwarmliteError as error:
            raise type(error)(f"service {one.service}: {error}") from error
        made[one.service] = f"{one.image}@{result.manifest_digest}"
    return made


def _build(
    session: Session, one: Build, progress: str, *, no_cache: bool, pull: bool
) -> BuildResult:
    options = _options(one)
    options.no_cache = options.no_cache or no_cache
    options.pull = options.pull or pull
    folder = one.world.folder
    with (
        Agents(one.ssh) as agents,
        Sources(io.BytesIO(), lambda line: click.echo(line, err=True), folder) as sources,
    ):
        inline = options.dockerfile_inline if options.HasField("dockerfile_inline") else None
        source = sources.main(one.context, _dockerfile(one), inline)
        described(options, source)
        named = named_contexts(options, one.contexts, sources)
        options.ssh.extend(agents.ids)
        shown = shown_as(progress)
        sent = requests(options, source, named, agents)
        return building.of(building.build(session, sent, shown, (), agents, source.name))


def _options(one: Build) -> BuildOptions:
    options = BuildOptions()
    options.CopyFrom(one.options)
    for name, value in proxies().items():
        options.build_args.setdefault(name, value)
    options.secrets.update(secrets(f'id={i},"src={p}"' for i, p in one.secret_files.items()))
    for identity, variable in one.secret_variables.items():
        if variable not in os.environ:
            raise InvalidSpec(f"secret {identity}: the variable {variable} is not set")
        options.secrets[identity] = os.environb[os.fsencode(variable)]
    options.registry_auths.update(logins())
    return options


def _dockerfile(one: Build) -> str:
    """Within the context, as the specification has it; the command's --file begins elsewhere."""
    if not one.dockerfile or is_git(one.context) or is_http(one.context):
        return one.dockerfile
    return os.path.join(one.context, one.dockerfile)  # noqa: PTH118 - absolute ones stay
