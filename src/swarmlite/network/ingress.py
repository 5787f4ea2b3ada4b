"""This node's own place on the ingress network: the interface that published ports' traffic takes.

Synchronous; on threads in the host's namespace only. A task's ingress address is not on the
ingress network itself: its host answers for it, so that tasks need neither an interface nor
routing rules for it, and those of different services cannot reach each other over it.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from swarmlite.network import ipv6, netlink, netns, nft
from swarmlite.network.drivers.overlay import HOST_PORT, Overlay, Peers, Port
from swarmlite.network.host_table import INGRESS, MARK, MARK_MASK
from swarmlite.network.netlink import mac_bytes, mac_text
from swarmlite.network.ruleset import Members, Table
from swarmlite.network.view import View, host_of, subnet_of

PORT = "host"
TABLE_ID = 0x534C
PRIORITY = 5347
_NEXT_HOP, _NEXT_HOP_MAC = "169.254.83.76", mac_bytes("02:53:4c:00:00:02")
_NEXT_HOP6 = "fe80::534c"

# On the way out of the interface the mark becomes the MAC address of the node to go back to.
RETURN = Table(
    "netdev swarmlite",
    f"""
  map nodes {{ type mark : ether_addr; }}
  chain leaving {{
    type filter hook egress device "{INGRESS}" priority 0; policy accept;
    ether daddr set meta mark map @nodes
  }}
""",
)


@dataclass(frozen=True)
class IngressPlan:
    """What the node knows of the ingress network, worked out."""

    subnet: ipaddress.IPv4Network
    address: str
    mac: bytes
    peers: Peers
    """For the network's bridge: the other nodes only."""
    neighbours: Mapping[str, bytes] = field(default_factory=dict)
    """For the interface: nodes and tasks elsewhere, each at its node's MAC."""
    marks: Mapping[bytes, int] = field(default_factory=dict)
    """A node's MAC to the mark of connections that came in through it."""


def plan(view: View) -> IngressPlan | None:
    """The plan, None while this node has no place on the network yet."""
    network = view.ingress()
    own = view.own_endpoint(network.id) if network else None
    subnet = subnet_of(network) if network else None
    if network is None or own is None or subnet is None:
        return None
    nodes = {}
    for endpoint in view.endpoints(network.id):
        if not endpoint.task_id and endpoint.node_id != view.node_id:
            nodes[endpoint.node_id] = endpoint
    macs = {node_id: mac_bytes(node.mac) for node_id, node in nodes.items()}
    neighbours = {
        host_of(endpoint.addr): macs[endpoint.node_id]
        for endpoint in view.endpoints(network.id)
        if endpoint.node_id in macs
    }
    base = int(subnet.network_address)
    return IngressPlan(
        subnet,
        host_of(own.addr),
        mac_bytes(own.mac),
        Peers(
            {host_of(node.addr): macs[node_id] for node_id, node in nodes.items()},
            {macs[node_id]: node.node_addr for node_id, node in nodes.items()},
        ),
        neighbours,
        {
            macs[i]: MARK | int(ipaddress.IPv4Address(host_of(node.addr))) - base
            for i, node in nodes.items()
        },
    )


class Ingress:
    """The interface `swarmlite-in`, its neighbours, and the way back to the other nodes."""

    def __init__(self, host: int) -> None:
        self._host = host
        self._lock = threading.RLock()
        self._netlink = netlink.Socket()
        self._plan: IngressPlan | None = None
        self._applied: tuple[IngressPlan, Overlay, int, bool] | None = None
        """What the kernel was brought to, unless that failed half-way."""
        self._loaded = False
        self.six = True
        """Whether to have IPv6 where the host has it."""
        self._has_six = False

    def apply(self, wanted: IngressPlan, overlay: Overlay) -> None:
        """Bring the kernel there, unless that was done: see `reconcile`. Raises OSError."""
        with self._lock:
            if self._applied != (wanted, overlay, overlay.mtu, self.six):
                self._apply(wanted, overlay)

    def _apply(self, wanted: IngressPlan, overlay: Overlay) -> None:
        self._applied = None
        overlay.set_peers(wanted.peers)
        old = self._plan
        links = self._netlink.links()
        if INGRESS in links and links[INGRESS].mac != wanted.mac:
            self._netlink.send([netlink.delete_link(INGRESS)])
            del links[INGRESS]
        if INGRESS not in links:
            self._make(wanted, overlay)
            old, self._loaded = None, False
        elif old is None:
            overlay.expect_port(Port(PORT, wanted.address, wanted.mac, HOST_PORT))
        index = self._netlink.index(INGRESS)
        self._netlink.send(self._addressing(index, wanted, overlay.mtu), ignore=[errno.EEXIST])
        known, neighbours = self._netlink.neighbours(index), dict(wanted.neighbours)
        self._has_six = self.six and overlay.mtu >= ipv6.SMALLEST_MTU and ipv6.enabled()
        if self._has_six:
            ipv6.forward(links)
            self._address6(index, wanted)
            known |= self._netlink.neighbours(index, socket.AF_INET6)
            neighbours |= {ipv6.ingress_address(a): mac for a, mac in wanted.neighbours.items()}
        self._netlink.send(_neighbours(index, known, neighbours), ignore=[errno.ENOENT])
        if not self._loaded or old is None or old.marks != wanted.marks:
            nodes = {f"{mark:#x}": mac_text(mac) for mac, mark in wanted.marks.items()}
            nft.run(RETURN.load(Members(maps={"nodes": nodes})))
            self._loaded = True
        self._plan, self._applied = wanted, (wanted, overlay, overlay.mtu, self.six)

    def _make(self, wanted: IngressPlan, overlay: Overlay) -> None:
        overlay.detach(PORT)
        overlay.plug(
            Port(PORT, wanted.address, wanted.mac, HOST_PORT),
            peer=INGRESS,
            peer_namespace=self._host,
        )
        for name, value in (
            ("ipv6/conf/{}/disable_ipv6", "1"),
            ("ipv4/conf/{}/route_localnet", "1"),
            ("ipv4/conf/{}/send_redirects", "0"),
            ("ipv4/conf/{}/rp_filter", "2"),
            # Clients' addresses arrive here; where the host checks reverse paths strictly, the
            # connection's mark makes this the right one.
            ("ipv4/conf/{}/src_valid_mark", "1"),
        ):
            netns.write_sysctl(name.format(INGRESS), value)

    def _addressing(self, index: int, wanted: IngressPlan, mtu: int) -> list[netlink.Message]:
        subnet = (str(wanted.subnet.network_address), wanted.subnet.prefixlen)
        return [
            netlink.set_link(index, mtu=mtu),
            netlink.add_address(index, wanted.address, wanted.subnet.prefixlen),
            netlink.neighbour(index, _NEXT_HOP, _NEXT_HOP_MAC),
            netlink.add_route(None, 0, oif=index, gateway=_NEXT_HOP, table=TABLE_ID, on_link=True),
            # Marked packets towards tasks take the table that knows them; all other go back.
            netlink.rule(table=254, priority=PRIORITY, to=subnet),
            netlink.rule(table=TABLE_ID, priority=PRIORITY + 1, mark=MARK, mask=MARK_MASK),
        ]

    def _address6(self, index: int, wanted: IngressPlan) -> None:
        """As `_addressing`, of IPv6; nothing is solicited, announced or believed on it."""
        self._netlink.send([netlink.no_ipv6(index)])
        for name, value in (("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", "0")):
            netns.write_sysctl(f"ipv6/conf/{INGRESS}/{name}", value)
        subnet = ipv6.ingress_subnet(wanted.subnet)
        to = (str(subnet.network_address), subnet.prefixlen)
        own = ipv6.ingress_address(wanted.address)
        self._netlink.send(
            [
                netlink.add_address(index, own, 128),
                netlink.add_route(*to, oif=index),
                netlink.neighbour(index, _NEXT_HOP6, _NEXT_HOP_MAC),
                netlink.add_route(
                    None, 0, oif=index, gateway=_NEXT_HOP6, table=TABLE_ID, on_link=True
                ),
                *_rules6(to),
            ],
            ignore=[errno.EEXIST],
        )

    def reconcile(self, overlay: Overlay, *, rules_changed: bool) -> None:
        """Set everything again; the rules only if someone changed any. Raises OSError."""
        with self._lock:
            if self._plan is not None:
                self._loaded = self._loaded and not rules_changed
                self._apply(self._plan, overlay)

    @property
    def plan(self) -> IngressPlan | None:
        """What was applied last."""
        return self._plan

    def close(self) -> None:
        """Let go of the socket; the kernel's objects stay."""
        self._netlink.close()

    def destroy(self) -> None:
        """Take the interface, the rules and the return table away; safe when nothing is there."""
        with self._lock:
            self._destroy()

    def _destroy(self) -> None:
        subnet = self._plan.subnet if self._plan else None
        gone = [netlink.rule(table=TABLE_ID, priority=PRIORITY + 1, delete=True)]
        if subnet is not None:
            to = (str(subnet.network_address), subnet.prefixlen)
            gone.append(netlink.rule(table=254, priority=PRIORITY, to=to, delete=True))
            if self._has_six:
                six = ipv6.ingress_subnet(subnet)
                gone += _rules6((str(six.network_address), six.prefixlen), delete=True)
        gone.append(netlink.delete_link(INGRESS))
        self._netlink.send(gone, ignore=[errno.ENOENT, errno.ENODEV])
        nft.run(RETURN.remove())
        self._plan, self._applied, self._loaded = None, None, False


def _rules6(to: tuple[str, int], *, delete: bool = False) -> list[netlink.Message]:
    six = socket.AF_INET6
    return [
        netlink.rule(table=254, priority=PRIORITY, to=to, delete=delete, family=six),
        netlink.rule(
            table=TABLE_ID,
            priority=PRIORITY + 1,
            mark=MARK,
            mask=MARK_MASK,
            delete=delete,
            family=six,
        ),
    ]


def _neighbours(
    index: int, known: Mapping[str, bytes], wanted: Mapping[str, bytes]
) -> list[netlink.Message]:
    messages = [
        netlink.neighbour(index, address, mac)
        for address, mac in wanted.items()
        if known.get(address) != mac
    ]
    return messages + [
        netlink.neighbour(index, address, mac, delete=True)
        for address, mac in known.items()
        if address not in wanted and address not in (_NEXT_HOP, _NEXT_HOP6)
    ]
