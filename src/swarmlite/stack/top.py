"""The definitions at the top of a compose file: networks, volumes, secrets, configs."""

from __future__ import annotations

from typing import TypeVar

from swarmlite.proto.specs_pb2 import ConfigSpec, NetworkSpec, SecretSpec
from swarmlite.stack import outside, read
from swarmlite.stack.read import Handler
from swarmlite.stack.syntax import small
from swarmlite.stack.tree import Node
from swarmlite.stack.world import DEFAULT_NETWORK, NAMESPACE_LABEL, Definition, World

MAX_CONTENT_BYTES = 1024 * 1024
Payload = TypeVar("Payload", SecretSpec, ConfigSpec)


def definitions(node: Node | None, world: World) -> dict[str, Definition]:
    """What the file calls each, and its name in the swarm."""
    result = {}
    for key, item in read.mapping(node).items() if node is not None else ():
        if not key.startswith("x-"):
            keys = read.mapping(item)
            name = keys["name"].text if "name" in keys else world.scoped(key)
            result[key] = Definition(item, name, "external" in keys)
            more = [k for k in keys if k not in ("name", "external") and not k.startswith("x-")]
            if more and "external" in keys:
                said = f"is external: its other keys are ignored: {', '.join(more)}"
                world.warnings.append(f"{item.path} ({item.place}) {said}")
    return result


# Networks
def networks(world: World) -> tuple[list[NetworkSpec], list[str]]:
    """Specs of the networks that services use, and names of the external ones."""
    specs, external = [], []
    for key in sorted(world.used_networks):
        definition = world.networks.get(key)
        if definition is not None and definition.external:
            external.append(definition.name)
            continue
        spec = NetworkSpec()
        spec.driver.name = "overlay"
        if definition is not None:
            read.fields(definition.node, _NETWORK, spec)
        spec.annotations.name = definition.name if definition else world.scoped(DEFAULT_NETWORK)
        spec.annotations.labels[NAMESPACE_LABEL] = world.namespace
        specs.append(spec)
    return specs, external


def _driver(node: Node, spec: NetworkSpec) -> None:
    spec.driver.name = read.line(node)


def _driver_opts(node: Node, spec: NetworkSpec) -> None:
    spec.driver.options.update(read.labels(node))


def _attachable(node: Node, spec: NetworkSpec) -> None:
    spec.attachable = read.boolean(node)


def _internal(node: Node, spec: NetworkSpec) -> None:
    spec.internal = read.boolean(node)


def _ipv6(node: Node, spec: NetworkSpec) -> None:
    spec.ipv6_enabled = read.boolean(node)


def _network_labels(node: Node, spec: NetworkSpec) -> None:
    spec.annotations.labels.update(read.labels(node))


def _ipam(node: Node, spec: NetworkSpec) -> None:
    read.fields(node, _IPAM, spec)


def _ipam_driver(node: Node, spec: NetworkSpec) -> None:
    if read.line(node) != "default":
        spec.ipam.driver.name = read.line(node)


def _ipam_options(node: Node, spec: NetworkSpec) -> None:
    spec.ipam.driver.options.update(read.labels(node))


def _ipam_config(node: Node, spec: NetworkSpec) -> None:
    for item in read.items(node):
        pool = spec.ipam.configs.add()
        for key, part in read.mapping(item).items():
            if key == "subnet":
                pool.subnet = read.line(part)
                pool.ipv6 = ":" in pool.subnet
            elif key == "ip_range":
                pool.range = read.line(part)
            elif key == "gateway":
                with read.placed(part):
                    pool.gateway = small.address(read.line(part))
            elif key == "aux_addresses":
                pool.reserved.update(read.labels(part))
            else:
                known = ("subnet", "ip_range", "gateway", "aux_addresses")
                raise read.unknown(part, key, known)


def _read_already(node: Node, spec: object) -> None:
    """name and external: read with the definition."""


_IPAM: dict[str, Handler[NetworkSpec]] = {
    "driver": _ipam_driver,
    "options": _ipam_options,
    "config": _ipam_config,
}
_NETWORK: dict[str, Handler[NetworkSpec]] = {
    "driver": _driver,
    "driver_opts": _driver_opts,
    "ipam": _ipam,
    "attachable": _attachable,
    "internal": _internal,
    "enable_ipv6": _ipv6,
    "labels": _network_labels,
    "name": _read_already,
    "external": _read_already,
}


# Secrets and configs
def secrets(world: World) -> list[SecretSpec]:
    """Specs of the secrets that the file makes, with their data."""
    made = []
    for definition in world.secrets.values():
        if not definition.external:
            spec = SecretSpec()
            read.fields(definition.node, _SECRET, spec)
            if not spec.HasField("driver"):
                spec.data = _data(definition.node, world)
            made.append(_named(spec, definition, world))
    return made


def configs(world: World) -> list[ConfigSpec]:
    """Specs of the configs that the file makes, with their data."""
    made = []
    for definition in world.configs.values():
        if not definition.external:
            spec = ConfigSpec()
            read.fields(definition.node, _CONFIG, spec)
            spec.data = _data(definition.node, world)
            made.append(_named(spec, definition, world))
    return made


def _named(spec: Payload, definition: Definition, world: World) -> Payload:
    spec.annotations.name = definition.name
    spec.annotations.labels[NAMESPACE_LABEL] = world.namespace
    return spec


def _data(node: Node, world: World) -> bytes:
    keys = read.mapping(node)
    sources = [key for key in ("file", "content", "environment") if key in keys]
    if len(sources) != 1:
        raise node.error("expected exactly one of file, environment, content, or external: true")
    source = keys[sources[0]]
    if sources[0] == "content":
        return read.string(source).encode()
    name = read.line(source)
    if sources[0] == "environment":
        if name not in world.environment:
            raise source.error(f"the variable {name} is not set")
        return world.environment[name].encode()
    path = world.path(name)
    try:
        data = outside.read(path, MAX_CONTENT_BYTES + 1)
    except OSError as error:
        raise source.error(f"{name!r} cannot be read: {error.strerror}") from error
    if len(data) > MAX_CONTENT_BYTES:
        raise source.error(f"{name!r} is larger than {MAX_CONTENT_BYTES // 1024} KiB")
    return data


def _payload_labels(node: Node, spec: SecretSpec | ConfigSpec) -> None:
    spec.annotations.labels.update(read.labels(node))


def _template_driver(node: Node, spec: SecretSpec | ConfigSpec) -> None:
    spec.templating.name = read.line(node)


def _secret_driver(node: Node, spec: SecretSpec) -> None:
    spec.driver.name = read.line(node)


def _secret_driver_opts(node: Node, spec: SecretSpec) -> None:
    spec.driver.options.update(read.labels(node))


_SECRET: dict[str, Handler[SecretSpec]] = {
    "file": _read_already,
    "environment": _read_already,
    "content": _read_already,
    "external": _read_already,
    "name": _read_already,
    "labels": _payload_labels,
    "template_driver": _template_driver,
    "driver": _secret_driver,
    "driver_opts": _secret_driver_opts,
}
_CONFIG: dict[str, Handler[ConfigSpec]] = {
    "file": _read_already,
    "environment": _read_already,
    "content": _read_already,
    "external": _read_already,
    "name": _read_already,
    "labels": _payload_labels,
    "template_driver": _template_driver,
}
