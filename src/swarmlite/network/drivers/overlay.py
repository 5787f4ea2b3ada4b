"""One overlay network on one host: a bridge and a VXLAN device in a namespace of their own.

Nothing floods and nothing learns. The bridge forwards to the MACs that it knows, answers
ARP itself from its neighbour table, and takes from a container only frames with that container's
own MAC and address: what a container forges goes nowhere. IPv6 is forwarded by the bridge's own
address, the next hop of every container: no neighbour is solicited or advertised.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.network import netlink, netns, nft
from swarmlite.network.claims import Claims, Unclaimed
from swarmlite.network.drivers.api import NEXT_HOP_MAC, Plug
from swarmlite.network.netlink import PortFlags

BRIDGE, VXLAN = "br0", "vx0"
CONTAINER_PORT = PortFlags(proxy_arp=True, locked=True)
HOST_PORT = PortFlags(proxy_arp=True)
VXLAN_PORT = PortFlags(neigh_suppress=True)

_GUARD = """table bridge swarmlite
delete table bridge swarmlite
table bridge swarmlite {
  set local { type ether_addr . ipv4_addr; size 2048; %(elements)s }
  set local6 { type ether_addr . ipv6_addr; size 2048; %(elements6)s }
  chain containers {
    type filter hook prerouting priority -300; policy drop;
    iif %(vxlan)d accept
    ether type ip ether saddr . ip saddr @local accept
    ether type ip6 meta l4proto icmpv6 icmpv6 type 133-137 drop
    ether type ip6 ether saddr . ip6 saddr @local6 accept
    ether type arp arp operation request arp saddr ether . arp saddr ip @local accept
  }
}
"""


@dataclass(frozen=True)
class Port:
    """A container's (or the host's) place on the bridge."""

    name: str
    address: str
    mac: bytes
    flags: PortFlags = CONTAINER_PORT
    address6: str = ""

    @property
    def addresses(self) -> list[str]:
        """IPv4, and IPv6 where it has one."""
        return [self.address, *([self.address6] if self.address6 else [])]


@dataclass(frozen=True)
class Peers:
    """Where everything else is."""

    neighbours: Mapping[str, bytes] = field(default_factory=dict)
    """Address to MAC, of every endpoint elsewhere."""
    forwards: Mapping[bytes, str] = field(default_factory=dict)
    """MAC to the data path address of its host."""


class Overlay:
    """The kernel objects of one network. Synchronous; on threads of `netns.Threads` only."""

    inside = False

    def __init__(
        self,
        pin: Path,
        host: int,
        *,
        vni: int,
        local: str,
        port: int,
        mtu: int,
        subnets6: Sequence[str] = (),
    ) -> None:
        """Make or take up the namespace at `pin`. Raises OSError, FailedPrecondition."""
        self.pin, self.mtu, self._subnets6 = pin, mtu, tuple(subnets6)
        self._host, self._vni, self._local, self._port = host, vni, local, port
        self._ports: dict[str, Port] = {}
        self._peers = Peers()
        self._generation = -1
        self._unclaimed = Unclaimed()
        self._lock = threading.RLock()
        self._adopted = netns.is_pinned(pin)
        if self._adopted:
            self.namespace = os.open(pin, os.O_RDONLY | os.O_CLOEXEC)
        else:
            netns.unpin(pin)
            self.namespace = netns.create(host)
        try:
            with netns.inside(self.namespace, host):
                self._netlink = netlink.Socket()
                self._filter = netlink.Socket(netlink.NETLINK_NETFILTER)
                if not self._adopted:
                    netns.write_sysctl("ipv6/conf/all/disable_ipv6", "1")
                    netns.write_sysctl("ipv6/conf/default/disable_ipv6", "1")
                    netns.write_sysctl("bridge/bridge-nf-call-iptables", "0")
                    netns.write_sysctl("bridge/bridge-nf-call-arptables", "0")
            self._build()
            if not self._adopted:
                netns.pin(self.namespace, pin)
        except BaseException:
            os.close(self.namespace)
            raise

    def _build(self) -> None:
        """Bring bridge and VXLAN device to be as they should, whatever is there."""
        links = self._netlink.links()
        if BRIDGE not in links:
            self._netlink.send([netlink.make_bridge(BRIDGE, self.mtu, NEXT_HOP_MAC)])
        if VXLAN not in links:
            self._make_vxlan()
            self._generation = -1  # the guard is to know it by its number
        links = self._netlink.links()
        self.bridge, self.vxlan = links[BRIDGE].index, links[VXLAN].index
        # The namespace is ours only, so are the indexes in it.
        self._next_index = 1 + max(link.index for link in links.values())
        wanted = [netlink.set_link("lo")]
        if not links[BRIDGE].up:
            wanted.append(netlink.set_link(self.bridge))
        if links[VXLAN].master != self.bridge or not links[VXLAN].up:
            wanted.append(netlink.set_link(self.vxlan, master=self.bridge))
        wanted.append(netlink.set_port(self.vxlan, VXLAN_PORT))
        self._netlink.send(wanted)
        if self._subnets6:
            self._build6()

    def _build6(self) -> None:
        """Have the bridge lead IPv6 from container to container, wherever they are."""
        self._netlink.send([netlink.no_ipv6(self.bridge)])
        with netns.inside(self.namespace, self._host):
            netns.write_sysctl(f"ipv6/conf/{BRIDGE}/disable_ipv6", "0")
            netns.write_sysctl("ipv6/conf/all/forwarding", "1")
            netns.write_sysctl(f"ipv6/neigh/{BRIDGE}/mcast_solicit", "0")
        routes = []
        for subnet in self._subnets6:
            network, _, prefix = subnet.partition("/")
            routes.append(netlink.add_route(network, int(prefix), oif=self.bridge))
        self._netlink.send(routes)

    def _make_vxlan(self) -> None:
        """Send from the host's namespace, where the tunnel's UDP socket has to be."""
        channel = netlink.Socket()
        try:
            channel.send(
                [
                    netlink.make_vxlan(
                        VXLAN,
                        vni=self._vni,
                        local=self._local,
                        port=self._port,
                        mtu=self.mtu,
                        namespace=self.namespace,
                    )
                ]
            )
        except OSError as error:
            if error.errno == errno.EEXIST:
                raise FailedPrecondition(
                    f"VXLAN id {self._vni} on UDP port {self._port} is in use on this host by a "
                    "device that is not swarmlite's: `ip -d link show type vxlan` names it"
                ) from error
            raise
        finally:
            channel.close()

    def attach(self, plug: Plug, *, namespace: int, index: int) -> None:
        """See Driver."""
        port = Port(plug.port, plug.address, plug.mac, address6=plug.address6)
        self.plug(port, peer=plug.interface, peer_namespace=namespace, peer_index=index)

    def plug(self, port: Port, *, peer: str, peer_namespace: int, peer_index: int = 0) -> None:
        """Make a veth between the bridge and `peer` in another namespace. Raises OSError."""
        with self._lock:
            index, self._next_index = self._next_index, self._next_index + 1
            self._netlink.send(
                [
                    netlink.make_veth(
                        port.name,
                        peer=peer,
                        peer_namespace=peer_namespace,
                        mtu=self.mtu,
                        peer_mac=port.mac,
                        bridge=self.bridge,
                        index=index,
                        peer_index=peer_index,
                    ),
                    netlink.set_port(index, port.flags),
                    netlink.set_link(index),
                    *self._entries(port, index),
                ]
            )
            self._ports[port.name] = port
            self._guard_add(port)

    def _entries(self, port: Port, index: int) -> list[netlink.Message]:
        return [
            netlink.forward(index, port.mac),
            *(netlink.neighbour(self.bridge, a, port.mac) for a in port.addresses),
        ]

    def expect(self, plug: Plug) -> None:
        """See Driver."""
        self.expect_port(Port(plug.port, plug.address, plug.mac, address6=plug.address6))

    def expect_port(self, port: Port) -> None:
        """Count a port that is there already as ours: adoption."""
        self._ports[port.name] = port

    def detach(self, name: str) -> None:
        """Forget a port; the veth goes with its container's namespace."""
        with self._lock:
            port = self._ports.pop(name, None)
            if port is None:
                return
            if all(other.address != port.address for other in self._ports.values()):
                # What followed it at the same address elsewhere was said by `set_peers` since.
                messages = []
                for address in port.addresses:
                    mac = self._peers.neighbours.get(address)
                    messages.append(
                        netlink.neighbour(self.bridge, address, mac or port.mac, delete=not mac)
                    )
                self._netlink.send(messages, ignore=[errno.ENOENT, errno.ENODEV])
            if port.flags.locked:
                with contextlib.suppress(OSError):
                    self._element(port, delete=True)

    def _guard_add(self, port: Port) -> None:
        if not port.flags.locked:
            self._guard()
            return
        if self._generation < 0:
            self._guard()
            return
        try:
            self._element(port)
        except FileNotFoundError:  # someone took the table away
            self._guard()

    def _element(self, port: Port, *, delete: bool = False) -> None:
        for address in port.addresses:
            name = "local6" if ":" in address else "local"
            nft.bridge_element(self._filter, "swarmlite", name, port.mac, address, delete=delete)
        now = nft.generation_of(self._filter)
        self._generation = nft.left_at(self._generation, now, len(port.addresses))

    def _guard(self) -> None:
        """Load the whole guard again. The host's own port is trusted."""
        locked = [port for port in self._ports.values() if port.flags.locked]
        text = _GUARD % {
            "vxlan": self.vxlan,
            "elements": _elements((port.mac, port.address) for port in locked),
            "elements6": _elements((p.mac, p.address6) for p in locked if p.address6),
        }
        for port in self._ports.values():
            if not port.flags.locked:
                text += f'add rule bridge swarmlite containers iifname "{port.name}" accept\n'
        self._nft(text)

    def _nft(self, text: str) -> None:
        with netns.inside(self.namespace, self._host):
            nft.run(text)
        self._generation = nft.generation_of(self._filter)

    def set_peers(self, peers: Peers) -> None:
        """Tell the kernel what changed among the endpoints elsewhere.

        Raises OSError; the next `reconcile` tries what failed again.
        """
        with self._lock:
            known, self._peers = self._peers, peers
            self._netlink.send(
                self._difference(known.neighbours, known.forwards, peers), ignore=[errno.ENOENT]
            )

    def adopt_peers(self, peers: Peers, *, keep: bool = False) -> None:
        """As `set_peers`, when what the kernel has is not known. Raises OSError.

        `keep`: what it has beside them stays until the next `reconcile`.
        """
        with self._lock:
            self._peers = peers
            self._reconcile_peers(keep=keep)

    def _difference(
        self, neighbours: Mapping[str, bytes], forwards: Mapping[bytes, str], wanted: Peers
    ) -> list[netlink.Message]:
        local = {address for port in self._ports.values() for address in port.addresses}
        local_macs = {port.mac for port in self._ports.values()}
        # The kernel of a host with thousands of them: what differs is found without a look at each.
        gone_macs = forwards.keys() - wanted.forwards.keys() - local_macs
        gone = neighbours.keys() - wanted.neighbours.keys() - local
        return [
            *(netlink.forward(self.vxlan, m, to=forwards[m], delete=True) for m in gone_macs),
            *(netlink.neighbour(self.bridge, a, neighbours[a], delete=True) for a in gone),
            *(
                netlink.forward(self.vxlan, mac, to=to)
                for mac, to in wanted.forwards.items() - forwards.items()
                if mac not in local_macs
            ),
            *(
                netlink.neighbour(self.bridge, address, mac)
                for address, mac in wanted.neighbours.items() - neighbours.items()
                if address not in local
            ),
        ]

    def reconcile(self, claims: Claims) -> list[str]:
        """See Driver."""
        with self._lock:
            repairs = self._reconcile_links()
            self._unclaimed.let_go(self._netlink, self._netlink.links(), self.bridge, claims)
            changes = self._reconcile_peers()
            if changes:
                repairs.append(f"{changes} forwarding or neighbour entries set again")
            changed = self._generation != nft.generation_of(self._filter)
            if changed and self._ports:
                if self._generation >= 0:
                    repairs.append("nftables guard loaded again")
                self._guard()
            return repairs

    def _reconcile_peers(self, *, keep: bool = False) -> int:
        neighbours = self._netlink.neighbours(self.bridge)
        if self._subnets6:
            neighbours |= self._netlink.neighbours(self.bridge, socket.AF_INET6)
        bridge, own = self._netlink.forwards(self.vxlan)
        # An entry that only one of the two tables holds counts as missing.
        forwards = {mac: to for mac, to in own.items() if mac in bridge}
        if keep:
            neighbours = {a: m for a, m in neighbours.items() if a in self._peers.neighbours}
            forwards = {m: to for m, to in forwards.items() if m in self._peers.forwards}
        messages = self._difference(neighbours, forwards, self._peers)
        self._netlink.send(messages, ignore=[errno.ENOENT])
        return len(messages)

    def _reconcile_links(self) -> list[str]:
        links = self._netlink.links()
        before = (links.get(BRIDGE), links.get(VXLAN))
        repairs = []
        if (
            before[0] is None
            or before[1] is None
            or not before[0].up
            or not before[1].up
            or before[1].master != before[0].index
        ):
            self._build()
            repairs.append("bridge or VXLAN device made again")
        messages = []
        if resized := self._resized():
            repairs.append(f"its interfaces have {self.mtu} bytes a packet now")
            messages += resized
        for name, port in self._ports.items():
            link = links.get(name)
            if link is None:
                continue
            if link.master != self.bridge or not link.up:
                messages += [
                    netlink.set_link(link.index, master=self.bridge),
                    netlink.set_port(link.index, port.flags),
                ]
                repairs.append(f"port {name} joined again")
            messages += self._entries(port, link.index)
        self._netlink.send(messages)
        return repairs

    def _resized(self) -> list[netlink.Message]:
        """Give what has another size the network's, as after a change of the data path's."""
        links = self._netlink.links()
        ordered = [*self._ports, VXLAN, BRIDGE]  # a bridge is no larger than its ports
        return [
            netlink.set_link(links[name].index, mtu=self.mtu)
            for name in ordered
            if name in links and links[name].mtu != self.mtu
        ]

    @property
    def vni(self) -> int:
        """The network's number in its tunnels."""
        return self._vni

    @property
    def ports(self) -> Iterable[Port]:
        """What is attached."""
        return self._ports.values()

    def close(self) -> None:
        """Let go of the descriptors; the kernel's objects stay."""
        self._netlink.close()
        nft.later.put(self._filter.close)
        os.close(self.namespace)

    def destroy(self) -> None:
        """Take all of it away. The device goes first: a namespace ends late, its VNI is wanted."""
        with contextlib.suppress(OSError):
            self._netlink.send([netlink.delete_link(VXLAN)])
        self.close()
        netns.unpin(self.pin)


def _elements(pairs: Iterable[tuple[bytes, str]]) -> str:
    """The elements of a set of MAC addresses with an address each, in nft's words."""
    words = [f"{netlink.mac_text(mac)} . {address}" for mac, address in pairs]
    return f"elements = {{ {', '.join(words)} }}" if words else ""
