"""What a container's configuration asks of the network room. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence

from swarmlite.engine.records import SHORT, Record
from swarmlite.errors import FailedPrecondition, InvalidSpec, Unavailable
from swarmlite.model.names import endpoint_id
from swarmlite.network.api import (
    BRIDGE,
    CONTAINER,
    HOST,
    NONE,
    EndpointInfo,
    EndpointRequest,
    SandboxRequest,
)
from swarmlite.proto.containers_pb2 import (
    ContainerConfig,
    ContainerState,
    EndpointConfig,
    EndpointState,
)
from swarmlite.proto.types_pb2 import NetworkAttachment, PortConfig

JOINED = f"{CONTAINER}:"
STACKLESS = (HOST, NONE)
PROTOCOLS = {"tcp": PortConfig.TCP, "udp": PortConfig.UDP, "sctp": PortConfig.SCTP}
MAX_EXPOSED = 20_000
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}")
_ALIAS = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


def mode_of(config: ContainerConfig) -> str:
    """The network mode without its aliases: `bridge` for "" and default."""
    return BRIDGE if config.network_mode in ("", "default") else config.network_mode


def wanted(config: ContainerConfig) -> list[EndpointConfig]:
    """The networks that a plain container is to be on from its creation, its mode's first.

    Raises InvalidSpec for a link that is none.
    """
    mode = mode_of(config)
    for endpoint in config.networks:
        for text in endpoint.links:
            link_of(text)
    if mode in STACKLESS or mode.startswith(JOINED):
        return []
    first = EndpointConfig(network=mode)
    others = []
    for endpoint in config.networks:
        if endpoint.network in (mode, config.network_mode) or (
            mode == BRIDGE and endpoint.network in ("", "default")
        ):
            first.MergeFrom(endpoint)
            first.network = mode
        else:
            others.append(endpoint)
    return [first, *others]


def check_place(wanted: EndpointConfig) -> None:
    """Raise InvalidSpec for what no network could give, before a container is made."""
    addresses = (wanted.ipv4_address, 4), (wanted.ipv6_address, 6)
    for text, version in addresses:
        if text and not _is_address(text, version):
            raise InvalidSpec(f"invalid IPv{version} address: {text[:60]!r}")
    if wanted.mac_address and not _MAC.fullmatch(wanted.mac_address):
        raise InvalidSpec(f"invalid MAC address: {wanted.mac_address[:60]!r}")
    if wanted.network not in ("", "default", BRIDGE):
        return
    if wanted.ipv4_address or wanted.ipv6_address:
        raise InvalidSpec(
            "user specified IP address is supported on user-defined networks only:"
            " use `network create`"
        )
    if wanted.aliases:
        raise InvalidSpec("network-scoped aliases are only supported for user-defined networks")


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def request(
    record: Record,
    hostname: str,
    ports: Sequence[PortConfig],
    attachments: Sequence[NetworkAttachment],
    endpoints: Sequence[EndpointRequest],
    find: Callable[[str], Record],
) -> SandboxRequest:
    """The sandbox of a container that is about to start.

    Raises NotFound, FailedPrecondition for a container to join that does not run.
    """
    config = record.config
    mode = mode_of(config)
    dns = config.spec.dns_config
    if record.of_task:
        return SandboxRequest(
            attachments=list(config.task.attachments),
            dns=dns,
            ports=ports,
            names=[*names_of(record, hostname), *_service_of(record)],
        )
    if mode in STACKLESS or not (attachments or endpoints or mode.startswith(JOINED)):
        return SandboxRequest(mode=HOST if mode == HOST else NONE, dns=dns)
    if mode.startswith(JOINED):
        return SandboxRequest(mode=CONTAINER, join=joined(mode, find).id, dns=dns)
    return SandboxRequest(
        attachments=attachments,
        endpoints=endpoints,
        dns=dns,
        ports=ports,
        names=names_of(record, hostname),
    )


def names_of(record: Record, hostname: str) -> list[str]:
    """What a container is found by on the networks of its host."""
    return list(dict.fromkeys([record.name, record.id[:SHORT], hostname]))


def _service_of(record: Record) -> list[str]:
    """The name of a task's service, where it has one."""
    name = record.config.spec.labels.get("com.docker.swarm.service.name", "")
    return [name] if name else []


def joined(mode: str, find: Callable[[str], Record]) -> Record:
    """The running container that `container:REF` names.

    Raises NotFound, FailedPrecondition; Unavailable while its restart policy brings it back.
    """
    other = find(mode.removeprefix(JOINED))
    if other.state.status == ContainerState.RESTARTING:
        raise Unavailable(f"cannot join network of a restarting container: {other.id}")
    if other.state.status not in (ContainerState.RUNNING, ContainerState.PAUSED):
        raise FailedPrecondition(f"cannot join network of a non running container: {other.id}")
    return other


def endpoint_request(wanted: EndpointConfig) -> EndpointRequest:
    """What is wanted of a network of this host."""
    return EndpointRequest(
        network=wanted.network,
        aliases=tuple(wanted.aliases),
        address=wanted.ipv4_address,
        address6=wanted.ipv6_address,
        mac=wanted.mac_address,
        link_local=tuple(wanted.link_local_ips),
        driver_options=dict(wanted.driver_options),
        links=tuple(link_of(text) for text in wanted.links) if wanted.network != BRIDGE else (),
    )


def link_of(text: str) -> tuple[str, str]:
    """The name and its alias of CONTAINER[:ALIAS]; also of "/db:/web/db". Raises InvalidSpec."""
    name, _, alias = text.removeprefix("/").partition(":")
    alias = alias.rpartition("/")[2] or name
    if not name or not _ALIAS.fullmatch(alias):
        raise InvalidSpec(f"bad format for links: {text[:80]!r}: expected CONTAINER[:ALIAS]")
    return name, alias


def endpoint_state(
    container_id: str, info: EndpointInfo, wanted: EndpointConfig | None, names: Sequence[str]
) -> EndpointState:
    """What `inspect` shows of a container's place on a network."""
    return EndpointState(
        endpoint_id=endpoint_id(container_id, info.network_id),
        network_id=info.network_id,
        network_name=info.network_name,
        ipv4_address=info.address,
        ipv4_gateway=info.gateway,
        ipv6_address=info.address6,
        ipv6_gateway=info.gateway6,
        mac_address=info.mac,
        aliases=wanted.aliases if wanted is not None else info.aliases,
        dns_names=list(dict.fromkeys([*names, *info.aliases])),
        config=wanted,
    )


def published(config: ContainerConfig, exposed: Iterable[str]) -> list[PortConfig]:
    """The ports to publish: those asked for, and with `publish_all` each exposed one."""
    ports = list(config.ports)
    if config.publish_all:
        taken = {(port.protocol, port.target_port) for port in ports}
        for protocol, number in exposed_ports(exposed):
            if (protocol, number) not in taken:
                ports.append(PortConfig(protocol=protocol, target_port=number))
    for port in ports:
        port.publish_mode = PortConfig.HOST
    return ports


def exposed_ports(entries: Iterable[str]) -> list[tuple[PortConfig.Protocol.ValueType, int]]:
    """`80`, `80/tcp` and `7000-7002/udp` one by one. Raises InvalidSpec."""
    found: list[tuple[PortConfig.Protocol.ValueType, int]] = []
    for entry in entries:
        numbers, _, word = entry.partition("/")
        first, dash, last = numbers.partition("-")
        ends = (first, last if dash else first)
        good = all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends)
        if (
            not good
            or (word or "tcp") not in PROTOCOLS
            or not 0 < int(ends[0]) <= int(ends[1]) < 65536
        ):
            raise InvalidSpec(f"invalid exposed port {entry[:40]!r}: expected 80/tcp or 70-72/udp")
        protocol = PROTOCOLS[word or "tcp"]
        found += [(protocol, number) for number in range(int(ends[0]), int(ends[1]) + 1)]
        if len(found) > MAX_EXPOSED:
            raise InvalidSpec(f"more than {MAX_EXPOSED} exposed ports")
    return list(dict.fromkeys(found))
