"""Keys of what a service is attached to: ports, networks, names, volumes, secrets, configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarmlite.model.references import BRIDGE_NETWORK, HOST_NETWORK, NO_NETWORK
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import FileTarget, Mount
from swarmlite.stack import read
from swarmlite.stack.read import Handler
from swarmlite.stack.syntax import files, mounts, ports, small
from swarmlite.stack.tree import Node
from swarmlite.stack.world import (
    DEFAULT_NETWORK,
    NAMESPACE_LABEL,
    Definition,
    Draft,
    Link,
    World,
)


# Ports
def _ports(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        values = read.mapping(item)
        flags = (f"{key}={values[key].text}" for key in ports.LONG if key in values)
        with read.placed(item):
            draft.spec.endpoint.ports.extend(ports.parse_long(",".join(flags)))
        for key in values.keys() - set(ports.LONG):
            draft.world.ignore(f"ports.{key}", values[key])


# Networks
def _networks(node: Node, draft: Draft) -> None:
    for key, item in read.mapping(node).items():
        attach(draft, key, item)
        read.fields(item, _NETWORK, draft)


def attach(draft: Draft, key: str, node: Node) -> None:
    """Attach the service to the network that the file calls `key`, under its own name too."""
    world = draft.world
    if key not in world.networks and key != DEFAULT_NETWORK:
        known = ", ".join(world.networks) or "none"
        raise node.error(f"undefined network {key!r}; at the top of the file: {known}")
    world.used_networks.add(key)
    definition = world.networks.get(key)
    name = definition.name if definition else world.scoped(key)
    draft.spec.task.networks.add(target=name, aliases=[draft.key])


def _aliases(node: Node, draft: Draft) -> None:
    attached = draft.spec.task.networks[-1]
    attached.aliases[:] = dict.fromkeys([*attached.aliases, *read.strings(node)])


def _address(node: Node, draft: Draft) -> None:
    """Left out by `single` where there are several tasks: they cannot have one address."""
    with read.placed(node):
        draft.spec.task.networks[-1].addresses.append(small.address(read.line(node)))


def single(draft: Draft) -> None:
    """Once the mode is known: fixed addresses are of services of one replica."""
    for network in draft.spec.task.networks:
        if draft.spec.replicated.replicas > 1 or not draft.spec.HasField("replicated"):
            for address in network.addresses:
                six = ":" in address
                draft.world.ignore(f"networks.ipv{6 if six else 4}_address", draft.node)
            del network.addresses[:]


def _driver_opts(node: Node, draft: Draft) -> None:
    draft.spec.task.networks[-1].driver_attachment_opts.update(read.labels(node))


def _priority(node: Node, draft: Draft) -> None:
    read.integer(node, -(2**31))
    draft.world.ignore("networks.priority", node)


_NETWORK: dict[str, Handler[Draft]] = {
    "aliases": _aliases,
    "ipv4_address": _address,
    "ipv6_address": _address,
    "driver_opts": _driver_opts,
    "priority": _priority,
}


MODES = {"host": HOST_NETWORK, "none": NO_NETWORK, "bridge": BRIDGE_NETWORK}


def _network_mode(node: Node, draft: Draft) -> None:
    """The host's network, none, or each host's own bridge; the rest is of one host only."""
    text = read.line(node)
    if text not in MODES:
        draft.world.ignore("network_mode", node)
        return
    if "networks" in read.mapping(draft.node):
        raise node.error("cannot be combined with networks")
    draft.spec.task.networks.add(target=MODES[text])


# Links
def _links(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        target, _, alias = read.line(item).partition(":")
        if target not in draft.world.service_keys:
            raise item.error(f"there is no service {target!r} here")
        draft.world.links.append(Link(draft.key, target, alias or target, item))


def link(services: Sequence[ServiceSpec], world: World) -> None:
    """Let linked services answer to the names that others know them by, on networks of both.

    Others on these networks find them by those names too. Raises InvalidSpec where there is none.
    """
    known = {spec.annotations.name: spec for spec in services}
    for each in world.links:
        own, other = (known.get(world.scoped(key)) for key in (each.service, each.target))
        if own is None or other is None:
            continue  # it has errors of its own
        mine = {network.target for network in own.task.networks}
        shared = [network for network in other.task.networks if network.target in mine]
        if not shared:
            raise each.node.error(f"{each.service} and {each.target} are on no network together")
        for network in shared:
            if each.alias not in network.aliases:
                network.aliases.append(each.alias)


# Names
def _extra_hosts(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        with read.placed(item):
            draft.spec.task.container.hosts.append(small.parse_host(read.line(item)))


def _dns(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        with read.placed(item):
            address = small.address(read.line(item))
        draft.spec.task.container.dns_config.nameservers.append(address)


def _dns_search(node: Node, draft: Draft) -> None:
    draft.spec.task.container.dns_config.search[:] = read.strings(node)


def _dns_options(node: Node, draft: Draft) -> None:
    draft.spec.task.container.dns_config.options[:] = read.strings(node)


# Volumes
def _volumes(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        mount = _mount(item, draft)
        with read.placed(item):
            mounts.check(mount)
        draft.spec.task.container.mounts.append(mount)


def _name_volume(node: Node, mount: Mount, key: str, draft: Draft) -> None:
    """The volume that the file calls `key`: its name in the swarm, its driver and labels."""
    definition = draft.world.volumes.get(key)
    if definition is None:
        known = ", ".join(draft.world.volumes) or "none"
        raise node.error(
            f"undefined volume {key!r}; at the top of the file: {known}"
            " (a path of the host begins with / or ./)"
        )
    mount.source = definition.name
    if definition.external:
        return
    options = mount.volume_options
    read.fields(definition.node, VOLUME_DEFINITION, options)
    options.labels[NAMESPACE_LABEL] = draft.world.namespace


def _volume_driver(node: Node, options: Mount.VolumeOptions) -> None:
    options.driver_config.name = read.line(node)


def _volume_opts(node: Node, options: Mount.VolumeOptions) -> None:
    options.driver_config.options.update(read.labels(node))


def _volume_labels(node: Node, options: Mount.VolumeOptions) -> None:
    options.labels.update(read.labels(node))


def _said_elsewhere(node: Node, options: Mount.VolumeOptions) -> None:
    """name and external: read with the definition."""


VOLUME_DEFINITION: dict[str, Handler[Mount.VolumeOptions]] = {
    "driver": _volume_driver,
    "driver_opts": _volume_opts,
    "labels": _volume_labels,
    "name": _said_elsewhere,
    "external": _said_elsewhere,
}


def _mount(node: Node, draft: Draft) -> Mount:
    values = read.mapping(node)
    kind = Mount.Type.ValueType(read.word(values["type"], mounts.TYPES))
    mount = Mount(type=kind)
    read.fields(node, _MOUNT, mount)
    if kind == Mount.VOLUME and mount.source:
        key, mount.source = mount.source, ""
        _name_volume(values["source"], mount, key, draft)
    return mount


def _type(node: Node, mount: Mount) -> None:
    """Read before the rest."""


def _source(node: Node, mount: Mount) -> None:
    mount.source = read.line(node)


def _target(node: Node, mount: Mount) -> None:
    mount.target = read.line(node)


def _mount_read_only(node: Node, mount: Mount) -> None:
    mount.readonly = read.boolean(node)


def _consistency(node: Node, mount: Mount) -> None:
    mount.consistency = Mount.Consistency.ValueType(read.word(node, mounts.CONSISTENCIES))


def _bind(node: Node, mount: Mount) -> None:
    read.fields(node, _BIND, mount)


def _propagation(node: Node, mount: Mount) -> None:
    number = read.word(node, mounts.PROPAGATIONS)
    mount.bind_options.propagation = Mount.BindOptions.Propagation.ValueType(number)


def _recursive(node: Node, mount: Mount) -> None:
    with read.placed(node):
        mounts.set_recursive(mount, read.line(node))


def _create_host_path(node: Node, mount: Mount) -> None:
    mount.bind_options.create_mountpoint = read.boolean(node)


def _volume(node: Node, mount: Mount) -> None:
    read.fields(node, _VOLUME, mount)


def _nocopy(node: Node, mount: Mount) -> None:
    mount.volume_options.nocopy = read.boolean(node)


def _subpath(node: Node, mount: Mount) -> None:
    options = mount.image_options if mount.type == Mount.IMAGE else mount.volume_options
    options.subpath = read.line(node)


def _tmpfs_options(node: Node, mount: Mount) -> None:
    read.fields(node, _TMPFS, mount)


def _tmpfs_size(node: Node, mount: Mount) -> None:
    mount.tmpfs_options.size_bytes = read.size(node)


def _tmpfs_mode(node: Node, mount: Mount) -> None:
    mount.tmpfs_options.mode = read.integer(node, 0, 0o7777)


_BIND: dict[str, Handler[Mount]] = {
    "propagation": _propagation,
    "recursive": _recursive,
    "create_host_path": _create_host_path,
}
_VOLUME: dict[str, Handler[Mount]] = {"nocopy": _nocopy, "subpath": _subpath}
_TMPFS: dict[str, Handler[Mount]] = {"size": _tmpfs_size, "mode": _tmpfs_mode}
_MOUNT: dict[str, Handler[Mount]] = {
    "type": _type,
    "source": _source,
    "target": _target,
    "read_only": _mount_read_only,
    "consistency": _consistency,
    "bind": _bind,
    "volume": _volume,
    "image": _volume,
    "tmpfs": _tmpfs_options,
}


# Secrets and configs
def _secrets(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        definition, file = _file(item, draft.world.secrets, "secret", "")
        draft.spec.task.container.secrets.add(secret_name=definition.name, file=file)


def _configs(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        definition, file = _file(item, draft.world.configs, "config", "/")
        draft.spec.task.container.configs.add(config_name=definition.name, file=file)


def _file(
    node: Node, known: Mapping[str, Definition], kind: str, prefix: str
) -> tuple[Definition, FileTarget]:
    values = read.mapping(node)
    key = read.line(values["source"])
    if key not in known:
        names = ", ".join(known) or "none"
        raise values["source"].error(f"undefined {kind} {key!r}; at the top of the file: {names}")
    target = read.line(values["target"]) if "target" in values else prefix + key
    with read.placed(values.get("target", node)):
        files.check_target(target)
    return known[key], FileTarget(
        name=target,
        uid=values["uid"].text if "uid" in values else "0",
        gid=values["gid"].text if "gid" in values else "0",
        mode=values["mode"].value if "mode" in values else files.DEFAULT_MODE,
    )


KEYS: dict[str, Handler[Draft]] = {
    "ports": _ports,
    "networks": _networks,
    "network_mode": _network_mode,
    "links": _links,
    "extra_hosts": _extra_hosts,
    "dns": _dns,
    "dns_search": _dns_search,
    "dns_opt": _dns_options,
    "volumes": _volumes,
    "secrets": _secrets,
    "configs": _configs,
}
