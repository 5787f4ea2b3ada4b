"""Compose files to a Stack: every spec of it, named and labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec
from swarmlite.stack import profiles, read, top
from swarmlite.stack.canonical.objects import document
from swarmlite.stack.canonical.service import NOT_IN_A_SWARM
from swarmlite.stack.canonical.values import Where
from swarmlite.stack.files import Opener, resolved
from swarmlite.stack.interpolate import interpolate
from swarmlite.stack.merge import merge
from swarmlite.stack.problems import Problems
from swarmlite.stack.read import Handler
from swarmlite.stack.service import attached, beyond, build, depends, deploy, process
from swarmlite.stack.tree import Node, parse
from swarmlite.stack.world import (
    DEFAULT_NETWORK,
    IMAGE_LABEL,
    NAMESPACE_LABEL,
    Draft,
    World,
)

IGNORED = (
    "annotations",
    "attach",
    "cgroup_parent",
    "container_name",
    "develop",
    "expose",
    "external_links",
    "mac_address",
    "platform",
    "runtime",
    "cgroup",
    *NOT_IN_A_SWARM,
)
"""Keys of a service that change nothing here; a line names each, with its place."""

REFUSED = {"credential_spec": "it is for Windows"}
"""Keys of a service that are errors, each with the reason."""


@dataclass
class Stack:
    """All that a stack asks for."""

    namespace: str
    networks: list[NetworkSpec] = field(default_factory=list)
    external_networks: list[str] = field(default_factory=list)
    secrets: list[SecretSpec] = field(default_factory=list)
    configs: list[ConfigSpec] = field(default_factory=list)
    services: list[ServiceSpec] = field(default_factory=list)
    builds: list[build.Build] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def combine(
    files: Sequence[tuple[str, str | bytes]],
    environment: Mapping[str, str],
    folder: Path,
    *,
    interpolated: bool = True,
) -> tuple[Node, list[str]]:
    """(name, text) of each file as one tree in its long form; `interpolated`: variables filled in.

    Answers the tree and warnings. Raises InvalidSpec with file and line.
    """
    where = Where(folder, environment, interpolated)
    tree, warnings = _combined(files, where)
    where.problems.settle()
    return tree, warnings


def _combined(files: Sequence[tuple[str, str | bytes]], where: Where) -> tuple[Node, list[str]]:
    unset: set[str] = set()

    def read_one(name: str, text: str | bytes, beside: Where) -> Node:
        tree = parse(text, name)
        if where.filled_in:
            tree = interpolate(tree, beside.environment, unset)
        return document(tree, beside)

    opener = Opener(read_one)
    trees = []
    for name, text in files:
        tree = read_one(name, text, where)
        with where.problems.gather():
            tree = resolved(tree, where, opener)
        trees.append(tree)
    warnings = [f"the variable {name} is not set; it is empty" for name in sorted(unset)]
    active = profiles.active(where.environment)
    merged, left_out = profiles.chosen(merge(trees), active)
    return merged, [*warnings, *left_out]


def load(
    files: Sequence[tuple[str, str | bytes]],
    namespace: str,
    *,
    folder: Path,
    environment: Mapping[str, str],
) -> Stack:
    """The stack that the files describe; relative paths begin at `folder`.

    Raises InvalidSpec with file, line, key and what was expected.
    """
    check_namespace(namespace)
    where = Where(folder, environment)
    tree, warnings = _combined(files, where)
    problems = where.problems
    keys = read.mapping(tree)
    if not problems and not read.mapping(keys["services"]):
        raise tree.error("services are missing: a stack has at least one")
    world = World(namespace, folder, environment)
    for kind in ("networks", "volumes", "secrets", "configs"):
        with problems.gather():
            setattr(world, kind, top.definitions(keys.get(kind), world))
    stack = Stack(namespace, warnings=warnings)
    services = read.mapping(keys["services"])
    world.service_keys = frozenset(services)
    for key, node in services.items():
        with problems.gather():
            stack.services.append(_service(key, node, world))
    with problems.gather():
        depends.jobs(stack.services, depends.keys_of(services, world))
        nodes = {world.scoped(key): node for key, node in services.items()}
        stack.services = depends.ordered(stack.services, nodes)
    with problems.gather():
        attached.link(stack.services, world)
    with problems.gather():
        stack.networks, stack.external_networks = top.networks(world)
    with problems.gather():
        stack.secrets = top.secrets(world)
    with problems.gather():
        stack.configs = top.configs(world)
    problems.settle()
    stack.builds = list(world.builds.values())
    stack.warnings += world.warnings
    if world.ignored:
        named = (f"{key} ({node.place})" for key, node in sorted(world.ignored.items()))
        stack.warnings.append(f"Ignoring unsupported options: {', '.join(named)}")
    return stack


def check_namespace(namespace: str) -> None:
    """Refuse a stack name that could not begin the names of its objects. Raises InvalidSpec."""
    allowed = namespace.replace("-", "").replace("_", "").replace(".", "")
    if not (allowed.isascii() and allowed.isalnum() and namespace[0].isalnum()):
        raise InvalidSpec(
            f"invalid stack name {namespace!r}: letters, digits, - _ and ., the first a letter or"
            " digit"
        )


def _service(key: str, node: Node, world: World) -> ServiceSpec:
    keys = read.mapping(node)
    draft = Draft(key, ServiceSpec(), world, node)
    if not key.replace("-", "").replace("_", "").replace(".", "").isalnum() or not key.isascii():
        raise node.error(f"invalid service name {key!r}: letters, digits, - _ and .")
    problems = Problems()
    for name, item in keys.items():
        if name in REFUSED:
            with problems.gather():
                raise item.error(f"not supported in a stack: {REFUSED[name]}")
    deploy.set_mode(draft, "replicated", 1)
    with problems.gather():
        read.fields(node, _KEYS, draft)
    with problems.gather():
        _built(draft, keys)
        process.check(draft)
    if "restart" in keys:
        with problems.gather():
            deploy.restart(keys["restart"], draft)
    if "x-schedule" in keys:
        with problems.gather(), read.placed(keys["x-schedule"]):
            depends.scheduled(draft, read.line(keys["x-schedule"]))
    if beyond.KEY in keys:
        with problems.gather():
            beyond.section(keys[beyond.KEY], draft)
    problems.settle()
    if not draft.spec.task.networks:
        attached.attach(draft, DEFAULT_NETWORK, node)
    attached.single(draft)
    spec = draft.spec
    spec.annotations.name = world.scoped(key)
    spec.annotations.labels[NAMESPACE_LABEL] = world.namespace
    spec.annotations.labels[IMAGE_LABEL] = spec.task.container.image
    spec.task.container.labels[NAMESPACE_LABEL] = world.namespace
    return spec


def _built(draft: Draft, keys: Mapping[str, Node]) -> None:
    """A service that is built runs what it is called, or what its build is called for it."""
    made, container = draft.world.builds.get(draft.key), draft.spec.task.container
    if made is not None:
        container.image = container.image or build.image_of(draft)
        with read.placed(keys.get("image", draft.node)):
            build.named(made, container.image)


def _ignore(key: str) -> Handler[Draft]:
    def handle(node: Node, draft: Draft) -> None:
        draft.world.ignore(key, node)

    return handle


def _silently(node: Node, draft: Draft) -> None:
    """What is read or refused elsewhere."""


_KEYS: dict[str, Handler[Draft]] = {
    **process.KEYS,
    **attached.KEYS,
    "build": build.section,
    "deploy": deploy.deploy,
    "depends_on": depends.section,
    "restart": _silently,
    "profiles": _silently,
    "extends": _silently,
    **{key: _ignore(key) for key in IGNORED},
    **dict.fromkeys(REFUSED, _silently),
}
