"""What a sandbox is made of, decided from what was asked. Pure."""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from swarmlite.errors import FailedPrecondition, InvalidSpec
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
from swarmlite.proto.types_pb2 import DNSConfig, NetworkAttachment, PortConfig

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
    attachments: Sequence[NetworkAttachment],
    dns: DNSConfig,
    host_ports: Sequence[PortConfig],
    view: View,
) -> SandboxRecord:
    """The record of a sandbox that is not there yet.

    Raises FailedPrecondition for a network that the node was not told of, InvalidSpec for
    attachments that exclude each other or have no address.
    """
    wrong = not sandbox_id or "/" in sandbox_id or sandbox_id == "host"
    if wrong or sandbox_id.startswith((".", "net-")):
        raise InvalidSpec(f"{sandbox_id!r} is no id of a sandbox")
    needs = _Needs(egress=not attachments or bool(host_ports), external=not attachments)
    places: list[AttachmentRecord] = []
    ingress: list[str] = []
    for attachment in attachments:
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
    if needs.host and len(attachments) > 1:
        raise InvalidSpec("the host's network excludes every other")
    return SandboxRecord(
        id=sandbox_id,
        attachments=tuple(places),
        egress_port="" if needs.host or not needs.egress else f"sl{secrets.token_hex(5)}",
        ingress_addresses=tuple(ingress),
        internal=not needs.external,
        host=needs.host,
        dns=encode(dns),
        host_ports=tuple(encode(port) for port in host_ports),
    )


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
