"""Who is reached through the device, and what has to change for that. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from swarmlite.model.encryption import is_encrypted
from swarmlite.network.view import View
from swarmlite.proto.dispatcher_pb2 import Endpoint

DEVICE = "swarmlite-wg"
PREFIX_LENGTH = 96
SUBNET = ipaddress.IPv6Network("fd53:4c03::/96")
PORT = 2383
OVERHEAD = 60
"""Of a packet over IPv4: 20, UDP 8, WireGuard 32."""
VXLAN_OVERHEAD = 70
"""Over IPv6, as inside of the device."""


def inner_address(data_path_addr: str) -> str:
    """That of a node inside of the device: its data path address in a prefix of our own."""
    base = int(SUBNET.network_address)
    return str(ipaddress.IPv6Address(base | int(ipaddress.IPv4Address(data_path_addr))))


@dataclass(frozen=True)
class Peer:
    """Another node, as the device is told of it."""

    key: bytes
    address: str
    port: int

    @property
    def inner(self) -> str:
        """The one address that it may send from."""
        return f"{inner_address(self.address)}/128" if self.address else ""


def is_reached(endpoint: Endpoint) -> bool:
    """Whether the node of an endpoint has a place inside: a key, and an IPv4 address."""
    with contextlib.suppress(ValueError):
        return bool(endpoint.node_key and ipaddress.IPv4Address(endpoint.node_addr))
    return False


def peers(view: View) -> dict[bytes, Peer]:
    """All nodes that share an encrypted network with this one, by public key."""
    found = {}
    for network in view.networks.values():
        if not is_encrypted(network):
            continue
        for endpoint in view.endpoints(network.id):
            if endpoint.node_id != view.node_id and is_reached(endpoint):
                key = endpoint.node_key
                found[key] = Peer(key, endpoint.node_addr, endpoint.node_key_port)
    return found


def text_of(key: bytes) -> str:
    """A key as WireGuard's tools write it."""
    return b64encode(key).decode()


def added(peer: Peer, preshared: bytes) -> dict[str, object]:
    """pyroute2's words for a peer that is new or changed; an empty `preshared` leaves it alone."""
    words: dict[str, object] = {
        "public_key": text_of(peer.key),
        "endpoint_addr": peer.address,
        "endpoint_port": peer.port,
        "replace_allowed_ips": True,
        "allowed_ips": [peer.inner],
    }
    if preshared:
        words["preshared_key"] = text_of(preshared)
    return words


def removed(key: bytes) -> dict[str, object]:
    """pyroute2's words for a peer that is gone."""
    return {"public_key": text_of(key), "remove": True}


def changes(
    known: Mapping[bytes, Peer], wanted: Mapping[bytes, Peer], preshared: bytes, *, again: bool
) -> Iterable[dict[str, object]]:
    """From what the device has to what it should; `again`: all are to hear of a new key.

    A node that comes back with another key has its place given up first: an address is one
    peer's only.
    """
    for key in known:
        if key not in wanted:
            yield removed(key)
    for key, peer in wanted.items():
        if again or known.get(key) != peer:
            yield added(peer, preshared)


def guard(vxlan_port: int, own: str) -> str:
    """nft's words for what keeps the inner addresses to the device. `own`: this node's.

    Nothing for them leaves by another interface, as where the device is gone; nothing comes to
    them by another; no container is forwarded there.
    """
    return f"""table ip6 swarmlite-encrypted
delete table ip6 swarmlite-encrypted
table ip6 swarmlite-encrypted {{
  chain arriving {{
    type filter hook prerouting priority -300; policy accept;
    iifname "{DEVICE}" ip6 daddr {own} udp dport {vxlan_port} accept
    iifname "{DEVICE}" drop
    udp dport {vxlan_port} fib daddr type local drop
    ip6 daddr {SUBNET} iifname != "lo" drop
  }}
  chain sending {{
    type filter hook output priority -300; policy accept;
    ip6 daddr {SUBNET} oifname != {{ "{DEVICE}", "lo" }} drop
  }}
  chain through {{
    type filter hook forward priority -300; policy accept;
    ip6 daddr {SUBNET} drop
    oifname "{DEVICE}" drop
  }}
}}
"""


NO_GUARD = "table ip6 swarmlite-encrypted\ndelete table ip6 swarmlite-encrypted\n"
LIST_GUARD = "list table ip6 swarmlite-encrypted"
