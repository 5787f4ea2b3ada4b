"""What has to be known about a sandbox after this process restarted."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from swarmlite.network import ipv6
from swarmlite.network.drivers.api import Plug
from swarmlite.network.netlink import mac_bytes
from swarmlite.proto.types_pb2 import DNSConfig, PortConfig


@dataclass(frozen=True)
class AttachmentRecord:
    """A sandbox's place on one network; `port` names the bridge's end of its veth, if any."""

    network_id: str
    network_name: str
    address: str
    prefix: int
    mac: str
    port: str
    interface: str
    local: bool = False
    """On one of this host's own networks."""
    internal: bool = False
    gateway: str = ""
    """Its way out; empty without one."""
    device_route: bool = False
    """Its way out is the interface itself."""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """(name on the network, what only this sandbox calls it)."""
    published: bool = False
    """Published ports may lead to it."""
    link_local: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    """Of a network of the managers: what is reached on it, beside its own IPv4 subnet."""

    def plug(self) -> Plug:
        """As its driver sees it."""
        return Plug(
            self.port,
            self.interface,
            self.address,
            self.prefix,
            mac_bytes(self.mac),
            self.address6,
            self.prefix6,
        )


@dataclass(frozen=True)
class SandboxRecord:
    """All that it takes to adopt a sandbox."""

    id: str
    attachments: tuple[AttachmentRecord, ...] = ()
    egress_port: str = ""
    egress_address: str = ""
    ingress_addresses: tuple[str, ...] = ()
    internal: bool = False
    host: bool = False
    """On driver `host`: no namespace of its own."""
    join: str = ""
    """The sandbox whose namespace it shares."""
    mode: str = ""
    """As it was asked for; empty with a stack of its own."""
    dns: str = ""
    host_ports: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """What it is found by on user-defined networks of this host."""

    @property
    def outer_address(self) -> str:
        """What it sends from to the world by its way out."""
        return self.ingress_addresses[0] if self.ingress_addresses else self.egress_address

    @property
    def outer_address6(self) -> str:
        """As `outer_address`, of IPv6; on a host without it nothing leads there."""
        if self.ingress_addresses:
            return ipv6.ingress_address(self.ingress_addresses[0])
        return ipv6.egress_address(self.egress_address) if self.egress_address else ""

    @property
    def outer_addresses(self) -> list[str]:
        """Where published ports lead: its place on a network of this host, else its way out."""
        for place in self.attachments:
            if place.published:
                return [place.address, *([place.address6] if place.address6 else [])]
        return [self.outer_address, self.outer_address6] if self.outer_address else []

    def networks(self) -> tuple[str, ...]:
        """Ids of the networks that it is on."""
        return tuple(place.network_id for place in self.attachments)

    def dns_config(self) -> DNSConfig:
        """What was asked for its resolver."""
        return DNSConfig.FromString(base64.b64decode(self.dns))

    def ports(self) -> list[PortConfig]:
        """Its published host ports."""
        return [PortConfig.FromString(base64.b64decode(port)) for port in self.host_ports]


def encode(message: DNSConfig | PortConfig) -> str:
    """A message as a record holds it."""
    return base64.b64encode(message.SerializeToString()).decode()


def to_json(record: SandboxRecord) -> dict[str, object]:
    """As it is written down."""
    return {**vars(record), "attachments": [vars(place) for place in record.attachments]}


def from_json(data: dict[str, object]) -> SandboxRecord:
    """What `to_json` made. Raises TypeError, KeyError for what it did not."""
    attachments = data.pop("attachments")
    if not isinstance(attachments, list):
        raise TypeError("attachments")
    for name in ("ingress_addresses", "host_ports", "names"):
        value = data.get(name)
        data[name] = tuple(value) if isinstance(value, list) else ()
    for item in attachments:
        for name in ("aliases", "link_local", "subnets"):
            item[name] = tuple(item.get(name, ()))
        item["links"] = tuple((name, alias) for name, alias in item.get("links", ()))
    return SandboxRecord(
        attachments=tuple(AttachmentRecord(**item) for item in attachments),
        **data,  # type: ignore[arg-type]
    )
