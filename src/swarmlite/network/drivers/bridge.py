"""A bridge of this host's own: the network `bridge`, and those that users make.

An ordinary learning bridge in the host's namespace with the gateway's addresses on it; containers
speak to each other as on a switch. What may be forwarded and what is masqueraded stands in
`host_table`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import threading
from dataclasses import dataclass

from swarmlite.errors import FailedPrecondition, ResourceExhausted
from swarmlite.network import ipv6, netlink, netns
from swarmlite.network.claims import Claims, Unclaimed
from swarmlite.network.drivers.api import Plug
from swarmlite.network.netlink import PortFlags

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BridgeShape:
    """What a bridge is to be."""

    interface: str
    gateway: str
    prefix: int
    mtu: int
    gateway6: str = ""
    prefix6: int = 0
    icc: bool = True
    """Whether its containers reach each other."""

    @property
    def mac(self) -> bytes:
        """Of the bridge itself, the gateway's; that a bridge has it shows that it is ours."""
        return netlink.mac_of(self.gateway)


class Bridge:
    """See Driver."""

    inside = False

    def __init__(self, shape: BridgeShape) -> None:
        """Make or take up the bridge. Raises OSError, FailedPrecondition."""
        self.shape = shape
        self._lock = threading.RLock()
        self._plugs: dict[str, Plug] = {}
        self._unclaimed = Unclaimed()
        # Where bridges call netfilter (br_netfilter), the way to one's own published port by
        # IPv6 is one frame that is turned round in the bridge; by IPv4 the host routes it.
        six = bool(shape.gateway6)
        self._flags = PortFlags(isolated=not shape.icc, flood=True, learning=True, hairpin=six)
        # Far from those that the kernel gives to others' links.
        self._next_index = random.randrange(1 << 24, 1 << 28)
        self._netlink = netlink.Socket()
        try:
            self._build()
        except BaseException:
            self.destroy()
            raise

    def _build(self) -> None:
        shape = self.shape
        link = self._netlink.links().get(shape.interface)
        if link is not None and not link.bridge:
            raise FailedPrecondition(
                f"interface {shape.interface} of this host is not a bridge: choose another name"
            )
        if link is None:
            self._netlink.send([netlink.make_bridge(shape.interface, shape.mtu, shape.mac)])
            self._settings()
        self.index = self._netlink.index(shape.interface)
        messages = [
            netlink.set_link(self.index),
            netlink.add_address(self.index, shape.gateway, shape.prefix),
        ]
        if shape.gateway6:
            messages.append(netlink.add_address(self.index, shape.gateway6, shape.prefix6))
        self._netlink.send(messages, ignore=[errno.EEXIST])

    def _settings(self) -> None:
        name, six = self.shape.interface, bool(self.shape.gateway6)
        for key, value in (
            ("ipv6/conf/{}/disable_ipv6", "0" if six else "1"),
            ("ipv6/conf/{}/accept_ra", "0"),
            # Connections of the host's own loopback to a published port leave by it.
            ("ipv4/conf/{}/route_localnet", "1"),
            ("ipv4/conf/{}/send_redirects", "0"),
        ):
            written = netns.write_sysctl(key.format(name), value)
            if six and not written and key.endswith("disable_ipv6"):
                raise FailedPrecondition(f"{name}: this host has no IPv6, or an MTU below 1280")
        if six:
            ipv6.forward(self._netlink.links())

    def attach(self, plug: Plug, *, namespace: int, index: int) -> None:
        """See Driver."""
        with self._lock:
            own, self._next_index = self._next_index, self._next_index + 1
            make = netlink.make_veth(
                plug.port,
                peer=plug.interface,
                peer_namespace=namespace,
                mtu=self.shape.mtu,
                peer_mac=plug.mac,
                bridge=self.index,
                index=own,
                peer_index=index,
            )
            try:
                self._netlink.send([make])
            except OSError as error:
                if error.errno == errno.EXFULL:
                    raise ResourceExhausted("a bridge holds 1023 containers") from error
                raise
            self._plugs[plug.port] = plug
            quiet = [netlink.no_ipv6(own)]
            self._netlink.send(quiet, ignore=[errno.EAFNOSUPPORT])
            self._netlink.send([netlink.set_port(own, self._flags), netlink.set_link(own)])

    def expect(self, plug: Plug) -> None:
        """See Driver."""
        self._plugs[plug.port] = plug

    def detach(self, port: str) -> None:
        """See Driver."""
        with self._lock:
            if self._plugs.pop(port, None) is not None:
                # While its namespace lasts it would answer for an address that another gets.
                with contextlib.suppress(OSError):
                    self._netlink.send([netlink.close_port(self._netlink.index(port))])

    def reconcile(self, claims: Claims) -> list[str]:
        """See Driver."""
        with self._lock:
            links = self._netlink.links()
            bridge = links.get(self.shape.interface)
            repairs = []
            if bridge is None or not bridge.up:
                repairs.append(f"{self.shape.interface} made again")
            self._build()
            messages = []
            for name in self._plugs:
                link = links.get(name)
                if link is not None and (link.master != self.index or not link.up):
                    messages.append(netlink.set_link(link.index, master=self.index))
                    messages.append(netlink.set_port(link.index, self._flags))
                    repairs.append(f"port {name} joined again")
            self._netlink.send(messages)
            self._unclaimed.let_go(self._netlink, links, self.index, claims)
            return repairs

    def close(self) -> None:
        """See Driver."""
        self._netlink.close()

    def destroy(self) -> None:
        """See Driver."""
        self.close()
        remove(self.shape)


def remove(shape: BridgeShape) -> None:
    """Take a bridge away that nobody holds; one that someone else made stays. Raises OSError."""
    channel = netlink.Socket()
    try:
        links = channel.links()
        link = links.get(shape.interface)
        if link is not None and link.bridge and link.mac == shape.mac:
            # What is plugged in still belongs to a sandbox whose processes end late.
            ports = [other.index for other in links.values() if other.master == link.index]
            gone = [netlink.delete_link(index) for index in (*ports, link.index)]
            channel.send(gone, ignore=[errno.ENODEV])
    finally:
        channel.close()
