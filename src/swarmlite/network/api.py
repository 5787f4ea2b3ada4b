"""What callers ask of this room and what they get: plain data, no kernel.

A container is known here by its sandbox id only. `SandboxRequest.attachments` are places on
networks of the managers, with the addresses that these gave; `endpoints` are places on networks
of this host, whose addresses are given here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite.proto.types_pb2 import DNSConfig, NetworkAttachment, PortConfig

BRIDGE, HOST, NONE, CONTAINER = "bridge", "host", "none", "container"
"""The names of the networks that every host has, and the mode that joins another sandbox."""


@dataclass(frozen=True)
class EndpointRequest:
    """A place that is asked for on one network of this host."""

    network: str
    """Name, id or a unique id prefix: `bridge`, a user-defined bridge, macvlan, ipvlan."""
    aliases: Sequence[str] = ()
    """More names for it on that network. Refused on `bridge`, which has no names."""
    address: str = ""
    """IPv4 without a length; empty: the next free one."""
    address6: str = ""
    mac: str = ""
    link_local: Sequence[str] = ()
    """More addresses on the interface, of the ranges that no router forwards."""
    driver_options: Mapping[str, str] = field(default_factory=dict)
    links: Sequence[tuple[str, str]] = ()
    """(name on that network, what only this sandbox calls it)."""


@dataclass(frozen=True)
class SandboxRequest:
    """What a container's network stack is to be."""

    attachments: Sequence[NetworkAttachment] = ()
    endpoints: Sequence[EndpointRequest] = ()
    mode: str = ""
    """Empty: as the two lists say, with no list a way out only. `host`: the host's own stack.
    `none`: nothing but `lo`. `container`: that of `join`."""
    join: str = ""
    """With mode `container`: the id of the sandbox whose stack is shared."""
    dns: DNSConfig = field(default_factory=DNSConfig)
    ports: Sequence[PortConfig] = ()
    """Published on this host; published_port 0: any free one."""
    names: Sequence[str] = ()
    """Found by these on every user-defined network of this host: the container's name, its short
    id, its host name. The first is what an address is turned back into."""


@dataclass(frozen=True)
class EndpointInfo:
    """One place on one network, as it is."""

    network_id: str
    network_name: str
    interface: str
    """In the sandbox: eth0, eth1 and so on; empty for a place without one."""
    address: str
    """CIDR."""
    mac: str
    gateway: str = ""
    address6: str = ""
    """CIDR; empty without IPv6."""
    gateway6: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sandbox:
    """A container's network stack, ready to be entered."""

    netns: Path
    """For the OCI spec's network namespace; of a sandbox on the host's stack the host's own."""
    resolv_conf: str
    """The content of /etc/resolv.conf."""
    hosts: list[tuple[str, str]] = field(default_factory=list)
    """(address, network's name) in the order of the attachments, then of the endpoints."""
    host_ports: list[PortConfig] = field(default_factory=list)
    """As asked, every published_port set."""
    endpoints: list[EndpointInfo] = field(default_factory=list)
    """All places, those on networks of the managers first."""
    host_stack: bool = False
    """Whether it is the host's own stack: sysctls of the network are then the host's."""
