"""A sandbox in the kernel: its namespace, interfaces, routes, VIP table and DNS sockets.

Synchronous; on threads of `netns.Threads` only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.network import conntrack, ipv6, netlink, netns, nft, vip_table
from swarmlite.network.drivers.api import NEXT_HOP6, NEXT_HOP_MAC
from swarmlite.network.state import AttachmentRecord, SandboxRecord

DNS_ADDRESS = ("127.0.0.11", 0)
DNS_BACKLOG = 64
DNSSockets = tuple[socket.socket, socket.socket]
"""UDP and TCP."""
_DNS_BUFFER = 1 << 18


class SandboxWiring:
    """One sandbox's namespace and what was loaded into it."""

    def __init__(self, namespace: int, host: int, start: int) -> None:
        """`start`: where it begins its turns among backends."""
        self.namespace, self._host, self._start = namespace, host, start
        self._loaded: vip_table.Vips | None = None
        """What its table holds; None for one that is not known."""
        self._generation = -1
        self._shown = ""
        """The table as nft lists it, once anybody else has changed rules here."""
        self._older = True
        """Whether a release before may have made its table, under another name."""
        self._channel: netlink.Socket | None = None
        self._rules: nft.Rules | None = None
        """Kept: making and closing one for each change cost as much as the change."""
        self.dns_ports = (0, 0)
        """Of the resolver's sockets, UDP and TCP."""

    @classmethod
    def create(
        cls, host: int, start: int, vips: vip_table.Vips
    ) -> tuple[SandboxWiring, DNSSockets]:
        """A new namespace, not pinned yet, with `lo` up, its VIP table and its resolver's sockets.

        All that is done from inside is done here: each way in and out costs. Raises OSError,
        FailedPrecondition.
        """
        with netns.created(host) as namespace:
            wiring = cls(namespace, host, start)
            sockets = None
            try:
                wiring._channel = netlink.Socket(receive_bytes=0)
                wiring._channel.send([netlink.set_link(netlink.LOOPBACK)])
                sockets = wiring._dns_sockets()
                wiring._rules = nft.Rules()
                wiring._generation = wiring._rules.transact(wiring._whole(vips, fresh=True))
            except BaseException:
                for channel in sockets or ():
                    channel.close()
                wiring.close()
                raise
        wiring._loaded, wiring._older = vips, False
        return wiring, sockets

    def begin(self, start: int, vips: vip_table.Vips) -> None:
        """Have one that was made ahead begin as `create` would. Raises FailedPrecondition."""
        self._start = start
        self.balance(vips)

    def configure(self, record: SandboxRecord, gateway: str, *, six: bool) -> None:
        """Addresses and routes, once the interfaces are there. Raises OSError.

        `six`: the way out has IPv6 too.
        """
        assert self._channel is not None
        batch: list[netlink.Message] = []
        for place in record.attachments:
            if place.interface:
                batch += _place(place, link_index(place.interface))
        if record.egress_port:
            link = link_index(egress_interface(record))
            batch += _way_out(record, link, gateway)
            batch += _way_out6(record, link, gateway) if six else []
        batch += _default_routes(record, link_index)
        self._channel.send(batch, ignore=[errno.EAFNOSUPPORT])
        self._channel.close()
        self._channel = None

    def add(self, place: AttachmentRecord, record: SandboxRecord) -> None:
        """Addresses of one more interface, and the routes of all. Raises OSError."""
        with netns.inside(self.namespace, self._host):
            channel = netlink.Socket()
        try:
            batch = _place(place, channel.index(place.interface))
            batch += _default_routes(record, channel.index)
            channel.send(batch, ignore=[errno.EAFNOSUPPORT])
        finally:
            channel.close()

    def reach6(self, record: SandboxRecord, gateway: str) -> None:
        """Have IPv6 by the way out, in a stack that a release without it may have made.

        Raises OSError.
        """
        with netns.inside(self.namespace, self._host):
            channel = netlink.Socket()
        try:
            batch = _way_out6(record, channel.index(egress_interface(record)), gateway)
            batch += _default_routes(record, channel.index)
            channel.send(batch, ignore=[errno.EEXIST, errno.EAFNOSUPPORT])
        finally:
            channel.close()

    def remove(self, place: AttachmentRecord, record: SandboxRecord) -> None:
        """Take an interface away; the routes of what is left, `record`. Raises OSError."""
        with netns.inside(self.namespace, self._host):
            channel = netlink.Socket()
        try:
            if place.interface:
                channel.send([netlink.delete_link(place.interface)], ignore=[errno.ENODEV])
            channel.send(_default_routes(record, channel.index))
        finally:
            channel.close()

    def take_away(self, interfaces: Sequence[str]) -> None:
        """Delete interfaces; safe where they are not there. Raises OSError."""
        with netns.inside(self.namespace, self._host):
            channel = netlink.Socket()
        try:
            channel.send([netlink.delete_link(i) for i in interfaces], ignore=[errno.ENODEV])
        finally:
            channel.close()

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Give interfaces (by name) other sizes. Raises OSError."""
        with netns.inside(self.namespace, self._host):
            channel = netlink.Socket()
        try:
            messages = [netlink.set_link(name, up=False, mtu=mtu) for name, mtu in sizes.items()]
            channel.send(messages, ignore=[errno.ENODEV])
        finally:
            channel.close()

    def balances(self, vips: Mapping[str, Sequence[str]]) -> bool:
        """Whether these are loaded, for all that is known."""
        return vips == self._loaded

    def balance(self, vips: Mapping[str, Sequence[str]]) -> bool:
        """Load what changed of the VIPs; whether anything did. Raises FailedPrecondition."""
        loaded = self._loaded
        if vips == loaded:
            return False
        if loaded is None:
            messages = self._whole(vips)
        else:
            if self._shown:
                self.repair()  # or what others changed before would be this change's
            messages = vip_table.change(loaded, vips, start=self._start)
        self._loaded = None  # unknown, should it fail
        self._load(messages, whole=loaded is None)
        self._drop_older()
        self._loaded = vips
        return True

    def _drop_older(self) -> None:
        if self._older:
            self._older = False
            for messages in vip_table.older():
                with contextlib.suppress(FailedPrecondition):
                    self._load(messages)

    def _whole(
        self, vips: Mapping[str, Sequence[str]], *, fresh: bool = False
    ) -> list[netlink.Message]:
        return vip_table.load(vips, start=self._start, ports=self.dns_ports, fresh=fresh)

    def repair(self) -> bool:
        """Load all again if anyone else changed the rules; whether it did.

        An engine in the container changes rules of its own all the time, and may watch for changes
        as we do: from the second time on the table is looked at first. Raises FailedPrecondition.
        """
        if self._loaded is None:
            return False
        generation = self._ask(nft.Rules.generation)
        if generation == self._generation:
            return False
        if self._shown and self._shown == self._look():
            self._generation = generation
            return False
        self._load(self._whole(self._loaded), whole=True)
        self._remember()
        return True

    def _remember(self) -> None:
        """What the table is as it was just loaded."""
        shown = self._look()
        unchanged = self._ask(nft.Rules.generation) == self._generation
        self._shown = shown if unchanged else ""

    def _look(self) -> str:
        """What the kernel has of the table, its words sorted; empty where it cannot be told."""
        with netns.inside(self.namespace, self._host):
            try:
                shown = nft.ask(f"list table ip {vip_table.NAME}")
            except FailedPrecondition:
                return ""
            with contextlib.suppress(FailedPrecondition):  # there as long as there are VIPs of it
                shown += nft.ask(f"list table ip6 {vip_table.NAME}")
        return " ".join(sorted(shown.split()))

    def forget(self, addresses: Sequence[str]) -> None:
        """Cut the connections to addresses that are gone. Raises OSError."""
        with netns.inside(self.namespace, self._host):
            conntrack.forget(addresses)

    def _load(self, messages: Sequence[netlink.Message], *, whole: bool = False) -> None:
        """Unless it is all that there is to be, it hides no change of others' before it."""
        now = self._ask(lambda rules: rules.transact(messages))
        self._generation = now if whole else nft.left_at(self._generation, now)
        if self._shown:
            self._remember()

    def _ask(self, question: Callable[[nft.Rules], int]) -> int:
        if self._rules is None:
            with netns.inside(self.namespace, self._host):
                self._rules = nft.Rules()
        try:
            return question(self._rules)
        except BaseException:
            self._forget_rules()
            raise

    def _forget_rules(self) -> None:
        if self._rules is not None:
            self._rules.close()
            self._rules = None

    def dns_sockets(self) -> DNSSockets:
        """UDP and TCP sockets of 127.0.0.11 inside, for `balance` to lead port 53 to.

        Raises OSError.
        """
        with netns.inside(self.namespace, self._host):
            return self._dns_sockets()

    def _dns_sockets(self) -> DNSSockets:
        """By a thread that is inside."""
        with contextlib.ExitStack() as undo:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            undo.callback(udp.close)
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            undo.callback(tcp.close)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DNS_BUFFER)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.bind(DNS_ADDRESS)
            tcp.bind(DNS_ADDRESS)
            tcp.listen(DNS_BACKLOG)
            undo.pop_all()
            self.know(udp, tcp)
            return udp, tcp

    def know(self, udp: socket.socket, tcp: socket.socket) -> None:
        """These are the resolver's sockets: the next `balance` leads port 53 to them."""
        self._loaded = None
        self.dns_ports = (udp.getsockname()[1], tcp.getsockname()[1])

    def pin(self, path: Path) -> None:
        """Make it enterable by path. Raises OSError."""
        netns.pin(self.namespace, path)

    def close(self) -> None:
        """Let go of the descriptors."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._forget_rules()
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1


def link_index(interface: str) -> int:
    """The index that eth0, eth1 and so on get in their sandbox: after that of `lo`."""
    return netlink.LOOPBACK + 1 + int(interface.removeprefix("eth"))


def egress_interface(record: SandboxRecord) -> str:
    """The name of the interface of the way out: the one after the networks'."""
    return f"eth{sum(bool(a.interface) for a in record.attachments)}"


def _place(place: AttachmentRecord, link: int) -> list[netlink.Message]:
    if not place.local:
        return _managed_place(place, link)
    batch = [netlink.add_address(link, place.address, place.prefix)]
    if place.address6:
        batch.append(netlink.add_address(link, place.address6, place.prefix6))
    else:
        batch.append(netlink.no_ipv6(link))
    for address in place.link_local:
        batch.append(netlink.add_address(link, address, 64 if ":" in address else 16))
    return [*batch, netlink.set_link(link)]


def _managed_place(place: AttachmentRecord, link: int) -> list[netlink.Message]:
    """On an overlay: IPv6 goes by the network's own next hop, so that nothing is solicited."""
    batch = [netlink.add_address(link, place.address, place.prefix), netlink.no_ipv6(link)]
    if place.address6:
        batch.append(netlink.add_address(link, place.address6, 128))
    batch.append(netlink.set_link(link))
    if place.address6:
        batch.append(netlink.neighbour(link, NEXT_HOP6, NEXT_HOP_MAC))
    for subnet in place.subnets:
        network, _, prefix = subnet.partition("/")
        hop = NEXT_HOP6 if ":" in network else None
        batch.append(
            netlink.add_route(network, int(prefix), oif=link, gateway=hop, on_link=bool(hop))
        )
    return batch


def _default_routes(record: SandboxRecord, index: Callable[[str], int]) -> list[netlink.Message]:
    """The ways out by networks of this host: the first of each family counts."""
    batch = []
    if not record.egress_port:
        for place in record.attachments:
            if place.gateway or place.device_route:
                link, gateway = index(place.interface), place.gateway or None
                batch.append(netlink.add_route(None, 0, oif=link, gateway=gateway))
                break
    for place in record.attachments:
        if place.address6 and (place.gateway6 or place.device_route):
            link, gateway = index(place.interface), place.gateway6 or None
            route = netlink.add_route(None, 0, oif=link, gateway=gateway, family=socket.AF_INET6)
            batch.append(route)
            break
    return batch


def _way_out(record: SandboxRecord, link: int, gateway: str) -> list[netlink.Message]:
    """Single addresses: other containers are not neighbours there, only the host is.

    What answers a published port by UDP lets the kernel choose the address to answer from; it has
    to be the one that was asked, so the ingress address goes first where there is one.
    """
    batch = [netlink.add_address(link, record.egress_address, 32)]
    batch += [netlink.no_ipv6(link), netlink.set_link(link)]
    batch += [netlink.add_address(link, address, 32) for address in record.ingress_addresses]
    source = record.outer_address
    return [
        *batch,
        netlink.add_route(gateway, 32, oif=link, source=source),
        netlink.add_route(None, 0, oif=link, gateway=gateway, source=source),
    ]


def _way_out6(record: SandboxRecord, link: int, gateway: str) -> list[netlink.Message]:
    """As `_way_out`, of IPv6. The next hop is told, so that nothing is solicited."""
    own = [ipv6.egress_address(record.egress_address)]
    own += map(ipv6.ingress_address, record.ingress_addresses)
    return [
        *(netlink.add_address(link, address, 128) for address in own),
        netlink.neighbour(link, NEXT_HOP6, netlink.mac_of(gateway)),
        netlink.add_route(
            None, 0, oif=link, gateway=NEXT_HOP6, on_link=True, source=record.outer_address6
        ),
    ]
