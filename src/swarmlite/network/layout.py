"""What a sandbox is made of, decided from what was asked. Pure."""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound
from swarmlite.network.api import (
    BRIDGE,
    CONTAINER,
    HOST,
    NONE,
    EndpointInfo,
    SandboxRequest,
)
from swarmlite.network.dns.forward import host_search
from swarmlite.network.egress import mac_of
from swarmlite.network.netlink import mac_text
from swarmlite.network.state import AttachmentRecord, SandboxRecord, encode
from swarmlite.network.view import (
    EGRESS_DRIVERS,
    HOST_DRIVERS,
    NULL_DRIVERS,
    View,
    driver_of,
)
from swarmlite.proto.types_pb2 import DNSConfig, NetworkAttachment

RESOLVER = "127.0.0.11"
HOST_SEARCH_TTL_S = 5.0
"""How long the host's search list is taken as read: a burst of starts reads it once."""


@dataclass
class _Needs:
    egress: bool = False
    host: bool = False
    external: bool = False


def lay_out(
    sandbox_id: str,
    request: SandboxRequest,
    view: View,
    others: Callable[[str], SandboxRecord],
) -> SandboxRecord:
    """The record of a sandbox that is not there yet. `others`: the record of one that is.

    Raises FailedPrecondition for a network that the node does not know, InvalidSpec for
    attachments that exclude each other or have no address.
    """
    wrong = not sandbox_id or "/" in sandbox_id or sandbox_id == "host"
    if wrong or sandbox_id.startswith((".", "net-")):
        raise InvalidSpec(f"{sandbox_id!r} is not an id of a sandbox")
    record = _stackless(sandbox_id, request, others)
    return record if record is not None else _own_stack(sandbox_id, request, view)


def _stackless(
    sandbox_id: str, request: SandboxRequest, others: Callable[[str], SandboxRecord]
) -> SandboxRecord | None:
    """A sandbox without a stack of its own, or with an empty one; None for every other."""
    if request.mode == "":
        return None
    if request.attachments or request.endpoints:
        raise InvalidSpec(f"network mode {request.mode} excludes every other network")
    blank = SandboxRecord(id=sandbox_id, dns=encode(request.dns))
    ports = tuple(encode(port) for port in request.ports)
    if request.mode == HOST:
        return replace(blank, host=True, host_ports=ports)
    if request.mode == NONE:
        return replace(blank, internal=True)
    if request.mode != CONTAINER:
        raise InvalidSpec(f"unknown network mode {request.mode!r}: use host, none or container")
    other = others(request.join)
    return replace(blank, host=other.host, join="" if other.host else other.join or other.id)


def _own_stack(sandbox_id: str, request: SandboxRequest, view: View) -> SandboxRecord:
    needs = _Needs()
    places: list[AttachmentRecord] = []
    ingress: list[str] = []
    for attachment in request.attachments:
        network = view.networks.get(attachment.network_id)
        driver = driver_of(network)
        if network is None and attachment.network_name in HOST_DRIVERS | NULL_DRIVERS | {"bridge"}:
            driver = attachment.network_name
        if driver in HOST_DRIVERS:
            needs.host = True
        elif driver in EGRESS_DRIVERS:
            needs.egress = needs.external = True
        elif driver not in NULL_DRIVERS:
            if network is None:
                raise FailedPrecondition(
                    f"network {attachment.network_name or attachment.network_id} is not known on "
                    "this node yet"
                )
            if driver != "overlay":
                raise InvalidSpec(f"network driver {driver!r} is not supported")
            place = _place(attachment, network.spec.ingress, len(places))
            if network.spec.ingress:
                ingress.append(place.address)
            else:
                places.append(place)
            needs.egress |= not network.spec.internal
            needs.external |= not network.spec.internal
    for endpoint in request.endpoints:
        if endpoint.network != BRIDGE:
            raise NotFound(f"network {endpoint.network} not found")
        needs.egress = needs.external = True
    unattached = not request.attachments and not request.endpoints
    needs.egress |= unattached or bool(request.ports)
    needs.external |= unattached
    if needs.host and len(request.attachments) + len(request.endpoints) > 1:
        raise InvalidSpec("the host's network excludes every other")
    return SandboxRecord(
        id=sandbox_id,
        attachments=tuple(places),
        egress_port="" if needs.host or not needs.egress else f"sl{secrets.token_hex(5)}",
        ingress_addresses=tuple(ingress),
        internal=not needs.external,
        host=needs.host,
        dns=encode(request.dns),
        host_ports=tuple(encode(port) for port in request.ports),
    )


def describe(record: SandboxRecord) -> list[EndpointInfo]:
    """Where a sandbox is."""
    found = [
        EndpointInfo(
            network_id=place.network_id,
            network_name=place.network_name,
            interface=place.interface,
            address=f"{place.address}/{place.prefix}",
            mac=place.mac,
        )
        for place in record.attachments
    ]
    if not found and record.egress_address:
        address = record.egress_address
        mac = mac_text(mac_of(address))
        found.append(EndpointInfo(BRIDGE, BRIDGE, "eth0", f"{address}/32", mac))
    return found


def _place(attachment: NetworkAttachment, ingress: bool, number: int) -> AttachmentRecord:
    for cidr in attachment.addresses:
        address, _, prefix = cidr.partition("/")
        if ":" in address:
            continue
        if ingress:
            port = interface = ""
        else:
            port, interface = f"p{secrets.token_hex(6)}", f"eth{number}"
        return AttachmentRecord(
            network_id=attachment.network_id,
            network_name=attachment.network_name,
            address=address,
            prefix=int(prefix or 32),
            mac=attachment.mac or mac_text(mac_of(address)),
            port=port,
            interface=interface,
        )
    raise InvalidSpec(
        f"network {attachment.network_name or attachment.network_id}: no IPv4 address was given"
    )


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
