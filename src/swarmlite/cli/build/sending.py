"""The requests of one build: its options, its contexts to their ends, then what ssh agents say."""

from __future__ import annotations

from collections.abc import Iterator

from swarmlite.build.context.sources import Source, Sources
from swarmlite.cli.build import layouts
from swarmlite.cli.build.agents import Agents
from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.proto.build_pb2 import BuildOptions, BuildRequest, NamedContextData
from swarmlite.proto.control_pb2 import Empty

IMAGE = "docker-image://"


def requests(
    options: BuildOptions, source: Source, named: dict[str, Iterator[bytes]], agents: Agents
) -> Iterator[BuildRequest]:
    """All of them; what cannot be read ends the build."""
    options.takes_more = True  # see building.build
    yield BuildRequest(options=options)
    for chunk in source.chunks:
        yield BuildRequest(context=chunk)
    yield BuildRequest(context_end=Empty())
    for name, chunks in named.items():
        for chunk in chunks:
            yield BuildRequest(named=NamedContextData(name=name, data=chunk))
        yield BuildRequest(named=NamedContextData(name=name, end=True))
    for data in agents:
        yield BuildRequest(ssh=data)


def described(options: BuildOptions, source: Source) -> None:
    """Write into the options where the Dockerfile is."""
    options.dockerfile_name = source.name
    if source.inline is None:
        options.dockerfile = source.dockerfile
    else:
        options.dockerfile_inline = source.inline


def named_contexts(
    options: BuildOptions, pairs: dict[str, str], sources: Sources
) -> dict[str, Iterator[bytes]]:
    """Contexts by their names: images are said in the options, the rest is to be sent."""
    sent = {}
    for name, value in pairs.items():
        if not value:
            raise InvalidSpec(
                f"the context {name[:40]}: expected NAME=PATH, URL,"
                f" {IMAGE}IMAGE or {layouts.SCHEME}FOLDER"
            )
        if value.startswith(IMAGE):
            image = str(Reference.parse(value.removeprefix(IMAGE)))
            options.named_contexts[name] = IMAGE + image
        elif value.startswith(layouts.SCHEME):
            options.named_contexts[name] = layouts.SCHEME
            sent[name] = layouts.sent(value, sources.here)
        else:
            options.named_contexts[name] = ""
            sent[name] = sources.named(value)
    return sent
