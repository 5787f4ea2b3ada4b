"""Builds what the `build:` sections of a stack say, one service after the other."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

import click

from swarmlite.build.context.remote import is_git, is_http
from swarmlite.build.context.sources import Sources
from swarmlite.cli.build import building
from swarmlite.cli.build.agents import Agents
from swarmlite.cli.build.caches import Caches
from swarmlite.cli.build.options import logins, proxies, secrets
from swarmlite.cli.build.outputs import Output
from swarmlite.cli.build.progress import shown_as
from swarmlite.cli.build.sending import IMAGE, described, named_contexts, requests
from swarmlite.cli.session import Session
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.proto.build_pb2 import BuildOptions, BuildResult
from swarmlite.stack.service.build import OF_SERVICE, Build


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
    for one in in_order(builds):
        click.echo(f"Building {one.image} for service {one.service}", err=True)
        try:
            contexts = _contexts(one, builds)
            result = _build(session, one, contexts, progress, no_cache=no_cache, pull=pull)
        except SwarmliteError as error:
            raise type(error)(f"service {one.service}: {error}") from error
        made[one.service] = f"{one.image}@{result.manifest_digest}"
    return made


def in_order(builds: Sequence[Build]) -> list[Build]:
    """Those first that others take files of. Raises InvalidSpec."""
    known = {one.service: one for one in builds}
    needs = {one.service: _services(one) for one in builds}
    for name, needed in needs.items():
        for service in needed:
            if service not in known:
                raise InvalidSpec(
                    f"service {name}: its context is of service {service}, which is not built here"
                )
    try:
        return [known[name] for name in TopologicalSorter(needs).static_order()]
    except CycleError as error:
        around = " -> ".join(error.args[1])
        raise InvalidSpec(f"services build from each other in a circle: {around}") from error


def _services(one: Build) -> list[str]:
    values = one.contexts.values()
    return [value.removeprefix(OF_SERVICE) for value in values if value.startswith(OF_SERVICE)]


def _contexts(one: Build, builds: Sequence[Build]) -> dict[str, str]:
    """Those of other services by their images."""
    of = {f"{OF_SERVICE}{other.service}": f"{IMAGE}{other.image}" for other in builds}
    return {name: of.get(value, value) for name, value in one.contexts.items()}


def _build(
    session: Session,
    one: Build,
    contexts: dict[str, str],
    progress: str,
    *,
    no_cache: bool,
    pull: bool,
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
        kept = _caches(one, options)
        named = {**named_contexts(options, contexts, sources), **kept.sent}
        found = [Output("image"), *kept.outputs] if kept.outputs else []
        options.outputs.extend(output.message for output in found)
        options.ssh.extend(agents.ids)
        shown = shown_as(progress)
        sent = requests(options, source, named, agents)
        return building.of(building.build(session, sent, shown, found, agents, source.name))


def _caches(one: Build, options: BuildOptions) -> Caches:
    """Folders that the file names, beside it."""
    found = Caches()
    for folder in one.cache_folders:
        found.to_folder(replace(folder, path=str(one.world.path(folder.path))))
    for path in one.cache_sources:
        found.of_folder(options, one.world.path(path), f"cache_from {path[:60]}")
    return found


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
