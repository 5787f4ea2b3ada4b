"""`depends_on`: what a service of a stack waits for. Source: the compose specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarmlite.model import schedule
from swarmlite.proto.specs_pb2 import Dependency, ServiceSpec
from swarmlite.stack import read
from swarmlite.stack.read import Handler
from swarmlite.stack.tree import Node
from swarmlite.stack.world import Draft, World

CONDITIONS = {
    "service_started": Dependency.STARTED,
    "service_healthy": Dependency.HEALTHY,
    "service_completed_successfully": Dependency.COMPLETED,
}


def section(node: Node, draft: Draft) -> None:
    """A list of services, which have to be started, or a mapping with conditions."""
    if not isinstance(node.value, dict):
        for item in read.items(node):
            _add(draft, read.line(item), Dependency(), item)
        return
    for name, item in node.value.items():
        dependency = Dependency()
        read.fields(item, _KEYS, dependency)
        if "restart" in read.mapping(item):
            draft.world.ignore("depends_on.restart", item)
        _add(draft, name, dependency, item)


def _add(draft: Draft, key: str, dependency: Dependency, node: Node) -> None:
    world = draft.world
    if key == draft.key:
        raise node.error("a service cannot wait for itself")
    if key not in world.service_keys:
        if not dependency.optional:
            world.warnings.append(
                f"{node.place}: {node.path}: ignored: there is no service {key!r} here"
            )
        return
    dependency.service = world.scoped(key)
    if dependency.service not in [known.service for known in draft.spec.depends_on]:
        draft.spec.depends_on.append(dependency)


def _condition(node: Node, dependency: Dependency) -> None:
    dependency.condition = read.word(node, CONDITIONS)


def _required(node: Node, dependency: Dependency) -> None:
    dependency.optional = not read.boolean(node)


def _restart(node: Node, dependency: Dependency) -> None:
    """Said by a line: who depends on a service is not restarted with it."""
    read.boolean(node)


_KEYS: dict[str, Handler[Dependency]] = {
    "condition": _condition,
    "required": _required,
    "restart": _restart,
}


def scheduled(draft: Draft, text: str) -> None:
    """`x-schedule` of a service: a job, which runs when it says. Raises InvalidSpec."""
    schedule.check(text)
    draft.spec.schedule = text
    _make_job(draft.spec)


def _make_job(spec: ServiceSpec) -> None:
    if spec.HasField("replicated"):
        replicas = spec.replicated.replicas
        spec.replicated_job.total_completions = replicas
        spec.replicated_job.max_concurrent = replicas
    elif spec.HasField("global"):
        spec.global_job.SetInParent()
    spec.ClearField("update")
    spec.ClearField("rollback")


def jobs(specs: Sequence[ServiceSpec], modes: Mapping[str, Node | None]) -> None:
    """Make a job of each service that others wait to complete and that names no mode.

    As compose runs it: once, and its end is no failure. `modes` are the files' words for it, by the
    services' names.
    """
    awaited = {
        dependency.service
        for spec in specs
        for dependency in spec.depends_on
        if dependency.condition == Dependency.COMPLETED
    }
    for spec in specs:
        name = spec.annotations.name
        if name in awaited and modes.get(name) is None and spec.HasField("replicated"):
            _make_job(spec)


def ordered(specs: Sequence[ServiceSpec], nodes: Mapping[str, Node]) -> list[ServiceSpec]:
    """Services behind those that they wait for, else as they are. Raises InvalidSpec for a ring."""
    by_name = {spec.annotations.name: spec for spec in specs}
    done: dict[str, ServiceSpec] = {}
    for spec in specs:
        # A walk without recursion: a chain may be as long as a file has services.
        path: list[tuple[ServiceSpec, list[str]]] = [(spec, _names(spec))]
        while path:
            current, left = path[-1]
            name = current.annotations.name
            if name in done or not left:
                done[name] = current
                path.pop()
                continue
            following = left.pop()
            if following in [each.annotations.name for each, _ in path]:
                raise nodes[name].error(f"depends_on: {following} and {name} wait for each other")
            if following in by_name and following not in done:
                path.append((by_name[following], _names(by_name[following])))
    return list(done.values())


def _names(spec: ServiceSpec) -> list[str]:
    return [dependency.service for dependency in spec.depends_on][::-1]


def keys_of(nodes: Mapping[str, Node], world: World) -> dict[str, Node | None]:
    """The mode that each service names, by the service's name in the swarm."""
    found = {}
    for key, node in nodes.items():
        deploy = read.mapping(node).get("deploy")
        mode = read.mapping(deploy).get("mode") if deploy is not None else None
        found[world.scoped(key)] = mode
    return found
