"""The `build:` section of a service: what is built, of what. Source: the compose specification.

Nothing is built and no file but the stack's own is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from swarmlite.model.references import Reference
from swarmlite.proto.build_pb2 import BuildOptions
from swarmlite.proto.types_pb2 import Platform
from swarmlite.stack import read
from swarmlite.stack.read import Handler
from swarmlite.stack.syntax import caches, small
from swarmlite.stack.tree import Node
from swarmlite.stack.world import Draft, World

IGNORED = ("isolation", "provenance", "sbom")
"""Keys that change nothing of what is built here; no attestations are made."""
OF_SERVICE = "service:"
"""Begins a context that is what another service of the file builds."""
_OFF = ("false", "mode=none", "disabled=true", "default")


@dataclass
class Build:
    """One service's; `options` have everything but its contexts, secrets and Dockerfile."""

    service: str
    world: World
    image: str = ""
    """What the service runs; the first of the options' tags."""
    context: str = "."
    """A folder or an address; relative ones begin beside the first compose file."""
    dockerfile: str = ""
    """Within the context; empty for the usual name, or where the text is in the options."""
    options: BuildOptions = field(default_factory=BuildOptions)
    secret_files: dict[str, str] = field(default_factory=dict)
    """Paths by id."""
    secret_variables: dict[str, str] = field(default_factory=dict)
    """Names of the environment by id."""
    ssh: list[str] = field(default_factory=list)
    """As of --ssh."""
    contexts: dict[str, str] = field(default_factory=dict)
    """More contexts by name."""
    cache_folders: list[caches.Folder] = field(default_factory=list)
    """Those that get the build's cache; relative ones begin as contexts do."""
    cache_sources: list[str] = field(default_factory=list)
    """Folders with a cache."""


def section(node: Node, draft: Draft) -> None:
    """Read it into the world's builds. Raises InvalidSpec."""
    build = Build(draft.key, draft.world)
    if isinstance(node.value, str):
        build.context = read.line(node)
    else:
        read.fields(node, _KEYS, build)
        keys = read.mapping(node)
        if "dockerfile" in keys and "dockerfile_inline" in keys:
            raise keys["dockerfile"].error("cannot be combined with dockerfile_inline")
    draft.world.builds[draft.key] = build


def image_of(draft: Draft) -> str:
    """The name of what is built where the service says none: as docker compose has it."""
    return f"{draft.world.namespace}-{draft.key}".lower()


def named(build: Build, image: str) -> None:
    """The service runs `image`: it is the first name of what is built. Raises InvalidSpec."""
    build.image = str(Reference.parse(image))
    tags = [build.image, *build.options.tags]
    build.options.tags[:] = dict.fromkeys(tags)


def _context(node: Node, build: Build) -> None:
    build.context = read.line(node)


def _dockerfile(node: Node, build: Build) -> None:
    build.dockerfile = read.line(node)


def _inline(node: Node, build: Build) -> None:
    build.options.dockerfile_inline = read.string(node).encode()


def _args(node: Node, build: Build) -> None:
    for name, value in read.pairs(node).items():
        found = build.world.environment.get(name) if value is None else value
        if found is not None:
            build.options.build_args[name] = found


def _labels(node: Node, build: Build) -> None:
    build.options.labels.update(read.labels(node))


def _target(node: Node, build: Build) -> None:
    build.options.target = read.line_or_nothing(node)


def _network(node: Node, build: Build) -> None:
    build.options.network = read.line_or_nothing(node)


def _shm_size(node: Node, build: Build) -> None:
    build.options.shm_size_bytes = read.size(node)


def _no_cache(node: Node, build: Build) -> None:
    build.options.no_cache = read.boolean(node)


def _pull(node: Node, build: Build) -> None:
    build.options.pull = read.boolean(node)


def _tags(node: Node, build: Build) -> None:
    with read.placed(node):
        build.options.tags.extend(str(Reference.parse(text)) for text in read.strings(node))


def _cache_from(node: Node, build: Build) -> None:
    for item in read.items(node):
        with read.placed(item):
            if folder := caches.source(build.options, read.scalar(item)):
                build.cache_sources.append(folder)


def _cache_to(node: Node, build: Build) -> None:
    for item in read.items(node):
        with read.placed(item):
            if folder := caches.to(build.options, read.scalar(item)):
                build.cache_folders.append(folder)


def _extra_hosts(node: Node, build: Build) -> None:
    if isinstance(node.value, dict):
        for name, item in node.value.items():
            for each in [item.text] if item.text else read.strings(item):
                with read.placed(item):
                    build.options.extra_hosts.append(f"{name}:{small.host_address(each)}")
        return
    for item in read.items(node):
        with read.placed(item):
            address, _, name = small.parse_host(read.scalar(item)).partition(" ")
            build.options.extra_hosts.append(f"{name}:{address}")


def _ulimits(node: Node, build: Build) -> None:
    for name, item in read.mapping(node).items():
        keys = item.value if isinstance(item.value, dict) else {"soft": item, "hard": item}
        if set(keys) != {"soft", "hard"}:
            raise item.error("expected a number, or soft and hard")
        with read.placed(item):
            soft, hard = read.integer(keys["soft"], -1), read.integer(keys["hard"], -1)
            build.options.ulimits.append(small.ulimit(name, soft, hard))


def _platforms(node: Node, build: Build) -> None:
    texts = read.strings(node)
    found = []
    for text in texts:
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise node.error(f"{text[:40]!r}: expected OS/ARCHITECTURE[/VARIANT]")
        found.append(Platform(os=parts[0], architecture=parts[1], variant="".join(parts[2:])))
    if len(found) == 1:
        build.options.platform.CopyFrom(found[0])
    else:
        build.options.platforms.extend(found)


def _entitlements(node: Node, build: Build) -> None:
    build.options.entitlements.extend(read.strings(node))


def _privileged(node: Node, build: Build) -> None:
    if read.boolean(node):
        raise node.error("use entitlements: [security.insecure] and RUN --security=insecure")


def _ssh(node: Node, build: Build) -> None:
    for name, value in read.pairs(node).items():
        build.ssh.append(name if not value else f"{name}={build.world.path(value)}")


def _contexts(node: Node, build: Build) -> None:
    for name, value in read.pairs(node).items():
        if not value or value == OF_SERVICE:
            raise node.error(
                f"{name}: expected a folder, an address, docker-image://IMAGE or {OF_SERVICE}NAME"
            )
        build.contexts[name] = value


def _secrets(node: Node, build: Build) -> None:
    for item in read.items(node):
        known = read.mapping(item) if isinstance(item.value, dict) else {"source": item}
        for key, value in known.items():
            if key not in ("source", "target", "uid", "gid", "mode"):
                raise read.unknown(value, key, ("source", "target"))
        if "source" not in known:
            raise item.error("source is missing")
        source = read.line(known["source"])
        identity = read.line(known["target"]) if "target" in known else source
        definition = build.world.secrets.get(source)
        if definition is None:
            raise item.error(f"secret {source!r} is not defined at the top of the file")
        said = read.mapping(definition.node)
        if "file" in said:
            build.secret_files[identity] = str(build.world.path(read.line(said["file"])))
        elif "environment" in said:
            build.secret_variables[identity] = read.line(said["environment"])
        else:
            raise item.error(f"secret {source!r} has no file: what it holds is not known here")


def _ignore(key: str) -> Handler[Build]:
    def handle(node: Node, build: Build) -> None:
        if str(node.value).lower() not in _OFF:
            build.world.ignore(f"build.{key}", node)

    return handle


_KEYS: dict[str, Handler[Build]] = {
    "context": _context,
    "dockerfile": _dockerfile,
    "dockerfile_inline": _inline,
    "args": _args,
    "labels": _labels,
    "target": _target,
    "network": _network,
    "shm_size": _shm_size,
    "no_cache": _no_cache,
    "pull": _pull,
    "tags": _tags,
    "cache_from": _cache_from,
    "cache_to": _cache_to,
    "extra_hosts": _extra_hosts,
    "ulimits": _ulimits,
    "platforms": _platforms,
    "entitlements": _entitlements,
    "privileged": _privileged,
    "ssh": _ssh,
    "additional_contexts": _contexts,
    "secrets": _secrets,
    **{key: _ignore(key) for key in IGNORED},
}
