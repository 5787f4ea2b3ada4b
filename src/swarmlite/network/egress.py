"""The way out of a host's containers: a bridge in the host's namespace.

Its ports are isolated from each other and locked to their container's MAC; the host forwards and
masquerades (see `host_table`). The containers' addresses on it matter to this host only.
"""

from __future__ import annotations

import errno
import ipaddress
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from swarmlite.errors import ResourceExhausted
from swarmlite.network import ipam, ipv6, netlink, netns
from swarmlite.network.claims import Claims, Unclaimed
from swarmlite.network.netlink import PortFlags, mac_of

BRIDGE = "swarmlite0"
PORT = PortFlags(isolated=True, locked=True)
_POOLS = [pool for pool in ipam.POOLS if not pool.startswith("172.17.")]
"""172.17.0.0/16 is for the network `bridge`."""


@dataclass(frozen=True)
class EgressPort:
    """One sandbox's way out; `extra` its addresses that are reached over it too."""

    name: str
    address: str
    extra: tuple[str, ...] = ()

    @cached_property
    def sources(self) -> frozenset[str]:
        """(MAC, address) pairs that its container may send from, in nft's words."""
        mac = netlink.mac_text(mac_of(self.address))
        return frozenset(f"{mac} . {address}" for address in (self.address, *self.extra))

    @cached_property
    def sources6(self) -> frozenset[str]:
        """As `sources`, of IPv6."""
        mac = netlink.mac_text(mac_of(self.address))
        own = (ipv6.egress_address(self.address), *map(ipv6.ingress_address, self.extra))
        return frozenset(f"{mac} . {address}" for address in own)


class Egress:
    """The bridge and its ports. Synchronous; on threads in the host's namespace only."""

    def __init__(self, mtu: int, reserved: Sequence[ipaddress.IPv4Network] = ()) -> None:
        """Take up the bridge, or choose what it will be; the first `attach` makes it.

        `reserved`: subnets that it must not have. Raises OSError.
        """
        self.mtu = mtu
        self.six = mtu >= ipv6.SMALLEST_MTU and ipv6.enabled()
        """Whether containers have IPv6 by it."""
        self._lock = threading.RLock()
        self._netlink = netlink.Socket()
        self._ports: dict[str, EgressPort] = {}
        self._unclaimed = Unclaimed()
        self._lack: ResourceExhausted | None = None
        found = self._find_subnet()
        self.subnet = found or self._choose(reserved)
        self.subnet6 = ipv6.egress_subnet(self.subnet)
        self.gateway = str(self.subnet[1])
        self._next = int(self.subnet[1])
        # Far from those that the kernel gives to others' links.
        self._next_index = random.randrange(1 << 24, 1 << 28)
        self._built = False
        if found:
            self._build()

    def _choose(self, reserved: Sequence[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
        try:
            return ipam.choose([*self._taken(), *reserved], _POOLS)
        except ResourceExhausted as error:  # only who needs the way out has to know
            self._lack = error
            return ipaddress.IPv4Network(_POOLS[-1])

    def _find_subnet(self) -> ipaddress.IPv4Network | None:
        link = self._netlink.links().get(BRIDGE)
        for index, address, prefix in self._netlink.addresses():
            if link is not None and index == link.index:
                return ipaddress.IPv4Network((address, prefix), strict=False)
        return None

    def _taken(self) -> list[ipaddress.IPv4Network]:
        return [network for network, _ in self._netlink.routes()]

    def _build(self) -> None:
        links = self._netlink.links()
        self._built = True
        if BRIDGE not in links:
            make = netlink.make_bridge(BRIDGE, self.mtu, mac_of(self.gateway))
            self._netlink.send([make])
            for name, value in (
                ("ipv6/conf/{}/disable_ipv6", "1"),  # until it has no link-local address
                # Connections of the host's own loopback to a published port leave by it.
                ("ipv4/conf/{}/route_localnet", "1"),
                ("ipv4/conf/{}/send_redirects", "0"),
            ):
                netns.write_sysctl(name.format(BRIDGE), value)
        self.index = self._netlink.index(BRIDGE)
        self._netlink.send(
            [
                netlink.set_link(self.index),
                netlink.add_address(self.index, self.gateway, self.subnet.prefixlen),
            ],
            ignore=[errno.EEXIST],
        )
        if self.six:
            self._build6(links)

    def _build6(self, links: Iterable[str]) -> None:
        """Nothing is solicited on it: containers know the next hop, and it knows them."""
        self._netlink.send([netlink.no_ipv6(self.index)])
        for name, value in (("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_dad", "0")):
            netns.write_sysctl(f"ipv6/conf/{BRIDGE}/{name}", value)
        ipv6.forward(links)
        own, subnet = ipv6.egress_address(self.gateway), self.subnet6
        self._netlink.send(
            [
                netlink.add_address(self.index, own, 128),
                netlink.add_route(str(subnet[0]), subnet.prefixlen, oif=self.index),
            ]
        )

    def reserve(self) -> str:
        """The next free address. Raises ResourceExhausted."""
        with self._lock:
            used = {port.address for port in self._ports.values()}
            first, last = int(self.subnet[2]), int(self.subnet[-2])
            for _ in range(last - first + 1):
                self._next = self._next + 1 if first <= self._next + 1 <= last else first
                address = str(ipaddress.IPv4Address(self._next))
                if address not in used:
                    return address
        raise ResourceExhausted(f"no free address in {self.subnet} for a container's way out")

    def attach(
        self, name: str, extra: tuple[str, ...], *, peer: str, peer_index: int, namespace: int
    ) -> EgressPort:
        """Make a veth between the bridge and `peer` in a sandbox. Raises OSError."""
        with self._lock:
            if not self._built:
                if self._lack is not None:
                    raise self._lack
                self._build()
            port = EgressPort(name, self.reserve(), extra)
            self._ports[name] = port
            try:
                self._attach(port, peer, peer_index, namespace)
            except OSError as error:
                del self._ports[name]
                if error.errno == errno.EXFULL:
                    raise ResourceExhausted("a host's bridge holds 1023 containers") from error
                raise
            return port

    def _attach(self, port: EgressPort, peer: str, peer_index: int, namespace: int) -> None:
        index, self._next_index = self._next_index, self._next_index + 1
        messages = [
            netlink.make_veth(
                port.name,
                peer=peer,
                peer_namespace=namespace,
                mtu=self.mtu,
                peer_mac=mac_of(port.address),
                bridge=self.index,
                index=index,
                peer_index=peer_index,
            ),
            netlink.set_port(index, PORT),
            netlink.no_ipv6(index),
            netlink.set_link(index),
            *self._entries(port, index),
        ]
        self._netlink.send(messages, ignore=[errno.EAFNOSUPPORT])

    def _entries(self, port: EgressPort, index: int) -> list[netlink.Message]:
        mac = mac_of(port.address)
        routes = [
            netlink.add_route(extra, 32, oif=self.index, gateway=port.address, on_link=True)
            for extra in port.extra
        ]
        forward = netlink.forward(index, mac)
        known = [forward, netlink.neighbour(self.index, port.address, mac), *routes]
        if self.six:
            six = ipv6.egress_address(port.address)
            known.append(netlink.neighbour(self.index, six, mac))
            known += [
                netlink.add_route(extra, 128, oif=self.index, gateway=six, on_link=True)
                for extra in map(ipv6.ingress_address, port.extra)
            ]
        return known

    def expect(self, port: EgressPort) -> None:
        """Count a port that is there already: adoption."""
        self._ports[port.name] = port

    def detach(self, name: str) -> None:
        """Forget a port; the veth goes with its sandbox's namespace."""
        with self._lock:
            port = self._ports.pop(name, None)
            if port is None or not self._built:
                return
            gone = [netlink.neighbour(self.index, port.address, mac_of(port.address), delete=True)]
            gone += [
                netlink.delete_route(extra, 32, oif=self.index, gateway=port.address)
                for extra in port.extra
            ]
            if self.six:
                six = ipv6.egress_address(port.address)
                mac = mac_of(port.address)
                gone.append(netlink.neighbour(self.index, six, mac, delete=True))
                gone += [
                    netlink.delete_route(extra, 128, oif=self.index, gateway=six)
                    for extra in map(ipv6.ingress_address, port.extra)
                ]
            self._netlink.send(gone, ignore=[errno.ENOENT, errno.ENODEV, errno.ESRCH])

    def sources(self) -> frozenset[str]:
        """(MAC, address) pairs that containers may send from, in nft's words."""
        return frozenset[str]().union(*(port.sources for port in list(self._ports.values())))

    def sources6(self) -> frozenset[str]:
        """As `sources`, of IPv6."""
        return frozenset[str]().union(*(port.sources6 for port in list(self._ports.values())))

    def extras(self) -> frozenset[str]:
        """The addresses, beside their own, that containers here are reached at."""
        return frozenset(extra for port in list(self._ports.values()) for extra in port.extra)

    def reconcile(self, claims: Claims) -> list[str]:
        """Repair what differs; one line for each repair; ports that nobody claims go.

        Raises OSError.
        """
        with self._lock:
            if not self._built:
                return []
            links = self._netlink.links()
            bridge = links.get(BRIDGE)
            repairs = []
            if bridge is None or not bridge.up:
                repairs.append(f"{BRIDGE} made again")
            self._build()
            messages = []
            for port in self._ports.values():
                link = links.get(port.name)
                if link is None:
                    continue
                if link.mtu != self.mtu:
                    messages.append(netlink.set_link(link.index, mtu=self.mtu))
                if link.master != self.index or not link.up:
                    messages.append(netlink.set_link(link.index, master=self.index))
                    messages.append(netlink.set_port(link.index, PORT))
                    repairs.append(f"port {port.name} joined again")
                messages += self._entries(port, link.index)
            self._netlink.send(messages)
            self._unclaimed.let_go(self._netlink, links, self.index, claims)
            return repairs

    def close(self) -> None:
        """Let go of the socket; the kernel's objects stay."""
        self._netlink.close()

    def destroy(self) -> None:
        """Take the bridge away, and what is still plugged into it."""
        if self._built:
            gone = [
                netlink.delete_link(link.index)
                for link in self._netlink.links().values()
                if link.master == self.index or link.name == BRIDGE
            ]
            self._netlink.send(gone, ignore=[errno.ENODEV])
            self._built = False
