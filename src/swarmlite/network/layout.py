"""What a sandbox is made of, decided from what was asked. Pure."""

from __future__ import annotations

import functools
import ipaddress
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec
from swarmlite.network import ipam, netns, options
from swarmlite.network.api import (
    BRIDGE,
    CONTAINER,
    HOST,
    NONE,
    EndpointInfo,
    EndpointRequest,
    SandboxRequest,
)
from swarmlite.network.claims import port_name
from swarmlite.network.dns.forward import host_search
from swarmlite.network.netlink import mac_bytes, mac_of, mac_text
from swarmlite.network.networks import HostNetworks, predefined_id
from swarmlite.network.state import AttachmentRecord, SandboxRecord, encode
from swarmlite.network.view import (
    EGRESS_DRIVERS,
    HOST_DRIVERS,
    NULL_DRIVERS,
    View,
    driver_of,
    made_by_hosts,
    subnets_of,
)
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import DNSConfig, NetworkAttachment, PortConfig

RESOLVER = "127.0.0.11"
HOST_SEARCH_TTL_S = 5.0
"""How long the host's search list is taken as read: a burst of starts reads it once."""
_LOOPBACK6 = ipaddress.IPv6Address("::1")
RESERVED_IDS = ("host", "")
_PREDEFINED = HOST_DRIVERS | NULL_DRIVERS | EGRESS_DRIVERS


@dataclass(frozen=True)
class Known:
    """What there is: of the managers, of this host, and the sandboxes."""

    view: View
    networks: HostNetworks
    record: Callable[[str], SandboxRecord]
    """Of a sandbox that is there. Raises NotFound."""
    used: Callable[[str], Collection[str]]
    """The addresses in use on a network of this host."""


@dataclass
class _Needs:
    egress: bool = False
    host: bool = False
    external: bool = False


def lay_out(sandbox_id: str, request: SandboxRequest, known: Known) -> SandboxRecord:
    """The record of a sandbox that is not there yet.

    Raises NotFound, FailedPrecondition for a network that the node does not know, InvalidSpec
    for places that exclude each other or have no address, AlreadyExists, ResourceExhausted.
    """
    if "/" in sandbox_id or sandbox_id in RESERVED_IDS or sandbox_id.startswith((".", "net-")):
        raise InvalidSpec(f"{sandbox_id!r} cannot be the id of a sandbox")
    request = _mode_of(request, known)
    record = _stackless(sandbox_id, request, known)
    return record if record is not None else _own_stack(sandbox_id, request, known)


def _mode_of(request: SandboxRequest, known: Known) -> SandboxRequest:
    """`host` and `none`, named as the only network, are modes."""
    for endpoint in request.endpoints:
        network = known.networks.get(endpoint.network)
        name = network.spec.annotations.name
        if name in (HOST, NONE):
            if len(request.endpoints) + len(request.attachments) > 1:
                raise InvalidSpec(f"network {name} cannot be combined with another network")
            return replace(request, mode=name, endpoints=())
    return request


def _stackless(sandbox_id: str, request: SandboxRequest, known: Known) -> SandboxRecord | None:
    """A sandbox without a stack of its own, or with an empty one; None for every other."""
    if request.mode == "":
        return None
    if request.attachments or request.endpoints:
        raise InvalidSpec(f"network mode {request.mode} cannot be combined with another network")
    blank = SandboxRecord(id=sandbox_id, dns=encode(request.dns), mode=request.mode)
    if request.mode == HOST:  # its ports are the host's: there is nothing to publish
        return replace(blank, host=True)
    if request.mode == NONE:
        return replace(blank, internal=True)
    if request.mode != CONTAINER:
        raise InvalidSpec(f"unknown network mode {request.mode!r}: use host, none or container")
    other = known.record(request.join)
    return replace(blank, host=other.host, join="" if other.host else other.join or other.id)


def _own_stack(sandbox_id: str, request: SandboxRequest, known: Known) -> SandboxRecord:
    needs = _Needs()
    ingress: list[str] = []
    places: list[AttachmentRecord] = []
    for attachment in request.attachments:
        _manager_place(attachment, known, needs, places, ingress)
    for endpoint in request.endpoints:
        place = local_place(endpoint, known, places)
        places.append(place)
        needs.external |= not place.internal
    if not request.attachments and not request.endpoints:
        needs.egress = needs.external = True
    if needs.host and len(request.attachments) + len(request.endpoints) > 1:
        raise InvalidSpec("the host's network cannot be combined with another")
    # A network of this host is a way out already, and what published ports lead to.
    local = any(place.local for place in places)
    needs.egress |= bool(request.ports)
    if any(place.local and not place.internal for place in places):
        needs.egress = bool(ingress)  # connections from other nodes come by it
    ports = _bound(request.ports, places, known) if not local or _publishes(places) else []
    return SandboxRecord(
        id=sandbox_id,
        attachments=tuple(places),
        egress_port="" if needs.host or not needs.egress else port_name(),
        ingress_addresses=tuple(ingress),
        internal=not needs.external,
        host=needs.host,
        dns=encode(request.dns),
        host_ports=tuple(encode(port) for port in ports),
        names=tuple(request.names),
    )


def _publishes(places: Iterable[AttachmentRecord]) -> bool:
    return any(place.published or not place.local for place in places)


def _bound(
    ports: Iterable[PortConfig], places: Iterable[AttachmentRecord], known: Known
) -> list[PortConfig]:
    """The ports with the host address that their network publishes on. Raises InvalidSpec."""
    target = next((place for place in places if place.published), None)
    binding = ""
    if target is not None:
        network = known.networks.get(target.network_id)
        binding = network.spec.driver.options.get(options.HOST_BINDING, "")
    found = []
    for port in ports:
        if _is_loopback6(port.host_ip):
            # The kernel cannot lead a packet from ::1 out of the host, as it can one of 127.0.0.1.
            raise InvalidSpec(
                f"port {port.published_port}: cannot be published on ::1, use 127.0.0.1"
            )
        six = target.address6 if target is not None else netns.has_ipv6()
        if ":" in port.host_ip and not six:
            raise InvalidSpec(
                f"port {port.published_port}: cannot be published on {port.host_ip}, for the "
                "container has no IPv6 address: use a network that was made with --ipv6"
            )
        made = PortConfig()
        made.CopyFrom(port)
        made.host_ip = port.host_ip or ("" if binding == "0.0.0.0" else binding)
        found.append(made)
    return found


def _is_loopback6(host_ip: str) -> bool:
    try:
        return bool(host_ip) and ipaddress.ip_address(host_ip) == _LOOPBACK6
    except ValueError:
        raise InvalidSpec(f"{host_ip[:60]!r} is not an IP address") from None


# networks of the managers
def _manager_place(
    attachment: NetworkAttachment,
    known: Known,
    needs: _Needs,
    places: list[AttachmentRecord],
    ingress: list[str],
) -> None:
    view = known.view
    network = view.networks.get(attachment.network_id)
    driver = driver_of(network)
    if network is None and attachment.network_name in _PREDEFINED:
        driver = attachment.network_name
    if driver in HOST_DRIVERS:
        needs.host = True
    elif network is not None and made_by_hosts(network):
        place = local_place(_of_host(attachment), known, places)
        places.append(place)
        needs.external |= not place.internal
    elif driver in EGRESS_DRIVERS:
        needs.egress = needs.external = True
    elif driver not in NULL_DRIVERS:
        place = managed_place(attachment, view, places)
        if network is not None and network.spec.ingress:
            ingress.append(place.address)
        else:
            places.append(place)
        needs.egress |= not place.internal
        needs.external |= not place.internal


def _of_host(attachment: NetworkAttachment) -> EndpointRequest:
    """A task's place on a network that this host makes for itself."""
    addresses = [cidr.partition("/")[0] for cidr in attachment.addresses]
    return EndpointRequest(
        network=attachment.network_id,
        aliases=tuple(attachment.aliases),
        address=next((a for a in addresses if ":" not in a), ""),
        address6=next((a for a in addresses if ":" in a), ""),
    )


def managed_place(
    attachment: NetworkAttachment, view: View, places: Iterable[AttachmentRecord]
) -> AttachmentRecord:
    """A place on a network of the managers. Raises FailedPrecondition, InvalidSpec."""
    network = view.networks.get(attachment.network_id)
    name = attachment.network_name or attachment.network_id
    if network is None:
        raise FailedPrecondition(f"network {name} is not known on this node yet")
    driver = driver_of(network)
    if driver != "overlay":
        raise InvalidSpec(f"network driver {driver!r} is not supported")
    return _managed(attachment, network, _free(places))


def _managed(attachment: NetworkAttachment, network: Network, number: int) -> AttachmentRecord:
    four = next((cidr for cidr in attachment.addresses if ":" not in cidr), "")
    six = next((cidr for cidr in attachment.addresses if ":" in cidr), "")
    if not netns.has_ipv6():
        six = ""
    address, _, prefix = four.partition("/")
    address6, _, prefix6 = six.partition("/")
    if not address:
        name = attachment.network_name or attachment.network_id
        raise InvalidSpec(f"network {name}: no IPv4 address was given")
    if network.spec.ingress:
        port = interface = ""
    else:
        port, interface = port_name(), f"eth{number}"
    own = ipaddress.ip_address(address)
    return AttachmentRecord(
        network_id=attachment.network_id,
        network_name=attachment.network_name,
        address=address,
        prefix=int(prefix or 32),
        mac=attachment.mac or mac_text(mac_of(address)),
        port=port,
        interface=interface,
        internal=network.spec.internal,
        address6=address6,
        prefix6=int(prefix6 or 128) if address6 else 0,
        subnets=tuple(
            subnet
            for subnet in subnets_of(network)
            if own not in ipaddress.ip_network(subnet) and (address6 or ":" not in subnet)
        ),
    )


def _free(places: Iterable[AttachmentRecord]) -> int:
    """The first N whose ethN no place has."""
    taken = {place.interface for place in places}
    return next(n for n in range(len(taken) + 1) if f"eth{n}" not in taken)


# networks of this host
def local_place(
    endpoint: EndpointRequest, known: Known, places: Collection[AttachmentRecord]
) -> AttachmentRecord:
    """A place on a network of this host, with addresses that nobody has.

    Raises NotFound, InvalidSpec, AlreadyExists, ResourceExhausted.
    """
    network = known.networks.get(endpoint.network)
    name, kind = network.spec.annotations.name, network.driver_state.name
    if network.spec.config_only or name in (HOST, NONE):
        raise InvalidSpec(f"network {name} cannot be combined with other networks")
    if any(place.network_id == network.id for place in places):
        raise AlreadyExists(f"the container is already on network {name}")
    if name == BRIDGE and (endpoint.aliases or endpoint.address or endpoint.address6):
        raise InvalidSpec(
            "aliases and fixed addresses are for user-defined networks only: use `network create`"
        )
    if ipam.of_version(network.ipam.configs, 4) is None:
        raise FailedPrecondition(
            f"network {name} takes no containers: no subnet was free on this host"
        )
    parsed = options.parse(kind, network.spec.driver.options)
    four, six = _addresses(endpoint, network, known)
    routed, direct = not network.spec.internal, parsed.mode in ("l3", "l3s")
    return AttachmentRecord(
        network_id=network.id,
        network_name=name,
        address=four[0],
        prefix=four[1],
        mac=_mac(endpoint.mac, four[0]),
        port=port_name(),
        interface=f"eth{_free(places)}",
        local=True,
        internal=network.spec.internal,
        gateway=four[2] if routed and not direct else "",
        device_route=routed and direct,
        address6=six[0],
        prefix6=six[1],
        gateway6=six[2] if routed and not direct else "",
        aliases=tuple(endpoint.aliases),
        links=tuple(endpoint.links),
        published=kind == "bridge" and routed,
        link_local=_link_local(endpoint.link_local, with6=bool(six[0])),
    )


_Given = tuple[str, int, str]
"""Address, length of the prefix, gateway."""


def _addresses(endpoint: EndpointRequest, network: Network, known: Known) -> tuple[_Given, _Given]:
    found: list[_Given] = []
    used = known.used(network.id)
    for version, asked in ((4, endpoint.address), (6, endpoint.address6)):
        config = ipam.of_version(network.ipam.configs, version)
        if config is None:
            if asked:
                name = network.spec.annotations.name
                raise InvalidSpec(f"network {name} has no IPv{version} subnet for {asked}")
            found.append(("", 0, ""))
            continue
        address = known.networks.give(network, version, asked, used)
        found.append((address, ipaddress.ip_network(config.subnet).prefixlen, config.gateway))
    return found[0], found[1]


def _link_local(asked: Sequence[str], *, with6: bool) -> tuple[str, ...]:
    for text in asked:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise InvalidSpec(f"link-local address {text[:60]!r}: is not an IP address") from None
        if not address.is_link_local:
            raise InvalidSpec(
                f"link-local address {address}: is not of 169.254.0.0/16 or fe80::/10"
            )
        if address.version == 6 and not with6:
            raise InvalidSpec(f"link-local address {address}: the network has no IPv6")
    return tuple(asked)


def _mac(asked: str, address: str) -> str:
    if not asked:
        return mac_text(mac_of(address))
    try:
        data = mac_bytes(asked.replace("-", ":"))
    except ValueError:
        raise InvalidSpec(f"{asked[:40]!r} is not a MAC address") from None
    if data[0] & 1:
        raise InvalidSpec(
            f"MAC address {asked}: is a multicast address, its first byte must be even"
        )
    return mac_text(data)


def describe(record: SandboxRecord) -> list[EndpointInfo]:
    """Where a sandbox is."""
    found = [
        EndpointInfo(
            network_id=place.network_id,
            network_name=place.network_name,
            interface=place.interface,
            address=f"{place.address}/{place.prefix}",
            mac=place.mac,
            gateway=place.gateway,
            address6=f"{place.address6}/{place.prefix6}" if place.address6 else "",
            gateway6=place.gateway6,
            aliases=place.aliases,
        )
        for place in record.attachments
    ]
    if not found and record.egress_address:
        address = record.egress_address
        mac = mac_text(mac_of(address))
        found.append(EndpointInfo(predefined_id(BRIDGE), BRIDGE, "eth0", f"{address}/32", mac))
    return found


@functools.lru_cache(maxsize=1)
def _host_search(_period: int) -> list[str]:
    return host_search()


def resolv_conf(dns: DNSConfig) -> str:
    """The content of a sandbox's /etc/resolv.conf."""
    search = list(dns.search) or _host_search(int(time.monotonic() / HOST_SEARCH_TTL_S))
    lines = [f"search {' '.join(search)}"] if search and search != ["."] else []
    lines.append(f"nameserver {RESOLVER}")
    options = list(dns.options)
    if not any(option.startswith("ndots:") for option in options):
        # Names of services have no dots: asked as they are, before any search list.
        options.append("ndots:0")
    lines.append(f"options {' '.join(options)}")
    return "\n".join(lines) + "\n"
