"""The host's own namespace: the way out, the ingress interface, host ports, and one nftables table.

Kernel work is synchronous and runs on `netns.Threads`; what is to be done is decided before, on
the event loop, where the view does not change meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import random
import socket
from collections.abc import Iterable, Sequence

from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec, ResourceExhausted
from swarmlite.network import conntrack, host_table, netlink, netns, nft
from swarmlite.network.egress import Egress, EgressPort
from swarmlite.network.host_table import PROTOCOLS, HostPort, HostState
from swarmlite.network.ingress import Ingress, IngressPlan
from swarmlite.network.ingress import plan as ingress_plan
from swarmlite.network.load_balancer import spread
from swarmlite.network.netns import Threads
from swarmlite.network.overlay import Overlay
from swarmlite.network.ruleset import Members
from swarmlite.network.state import SandboxRecord
from swarmlite.network.view import View
from swarmlite.proto.types_pb2 import PortConfig

log = logging.getLogger(__name__)
DEFAULT_MTU = 1500
VXLAN_OVERHEAD = 50
_DYNAMIC_PORTS = range(49153, 65536)
_KINDS = {PortConfig.TCP: socket.SOCK_STREAM, PortConfig.UDP: socket.SOCK_DGRAM}


class HostWiring:
    """What this node has in its host's namespace. One event loop's; `start` first."""

    def __init__(
        self,
        threads: Threads,
        view: View,
        *,
        data_path_addr: str,
        vxlan_port: int,
        control_ports: Sequence[int],
    ) -> None:
        self._threads, self._view = threads, view
        self._addr, self._vxlan_port = data_path_addr, vxlan_port
        self._control_ports = tuple(control_ports)
        self._lock = asyncio.Lock()
        self._members: Members | None = None
        self._generation = -1
        self._asked = self._answered = 0
        self._host_ports: dict[str, list[HostPort]] = {}
        self._held: dict[tuple[str, int], str] = {}
        self.mtu = DEFAULT_MTU
        self.egress: Egress
        self.ingress: Ingress

    async def start(self, adopted: Sequence[SandboxRecord]) -> None:
        """Make or take up the bridge, and count what adopted sandboxes hold."""
        await self._threads.run(self._start)
        for record in adopted:
            if record.egress_port:
                port = EgressPort(
                    record.egress_port, record.egress_address, record.ingress_addresses
                )
                self.egress.expect(port)
            self.hold(record.id, record.outer_address, record.ports())
        self._table = host_table.table(self.egress.subnet, self._vxlan_port, self._control_ports)

    def _start(self) -> None:
        channel = netlink.Socket()
        try:
            indexes = {index for index, a, _ in channel.addresses() if a == self._addr}
            sizes = [link.mtu for link in channel.links().values() if link.index in indexes]
        finally:
            channel.close()
        self.mtu = min(max(sizes, default=DEFAULT_MTU), 65535)
        if netns.read_sysctl("ipv4/ip_forward") != "1":
            log.info(
                "IPv4 forwarding is switched on: containers reach the network through this host"
            )
            netns.write_sysctl("ipv4/ip_forward", "1")
        self.egress = Egress(min(self.mtu, 9000))
        self.ingress = Ingress(self._threads.host)

    async def taken(self) -> list[ipaddress.IPv4Network]:
        """What the host has routes to. Raises OSError."""

        def work() -> list[ipaddress.IPv4Network]:
            channel = netlink.Socket()
            try:
                return [network for network, _ in channel.routes()]
            finally:
                channel.close()

        return await self._threads.run(work)

    # the table
    def _wanted(self) -> Members:
        sandboxes = self.egress.sources()
        plan = self.ingress.plan
        state = HostState(
            peers=frozenset(self._view.peers() | {self._addr}),
            sources=sandboxes,
            local_tasks=self.egress.extras(),
            host_ports=tuple(p for ports in self._host_ports.values() for p in ports),
            peer_marks=plan.marks if plan else {},
            start=spread(self._view.node_id),
        )
        return host_table.members(self._view, state)

    async def refresh(self, *, force: bool = False) -> None:
        """Bring the table to what is desired now; callers that come together share one change.

        Raises FailedPrecondition when the kernel refuses.
        """
        self._asked += 1
        asked = self._asked
        async with self._lock:
            if self._answered >= asked and not force:
                return  # whoever had the lock before began after this was asked
            answers = self._asked
            wanted, known = self._wanted(), self._members
            if wanted == known and not force:
                self._answered = answers
                return
            if known is None or force:
                text = self._table.load(wanted)
            else:
                text = self._table.change(known, wanted)
            self._members = None  # unknown, should it fail or be cancelled
            await self._threads.run(lambda: self._load(text))
            self._members, self._answered = wanted, answers

    def _load(self, text: str) -> None:
        nft.run(text)
        self._generation = nft.generation()

    # ingress
    def plan(self) -> IngressPlan | None:
        """What this node is to have of the ingress network; None while it has no place there."""
        return ingress_plan(self._view)

    async def set_ingress(self, overlay: Overlay, plan: IngressPlan) -> None:
        """Take or change this node's place on the ingress network. Raises OSError."""
        await self._threads.run(lambda: self.ingress.apply(plan, overlay))

    async def drop_ingress(self) -> None:
        """There is no ingress network any more. Raises OSError."""
        if self.ingress.plan is not None:
            await self._threads.run(self.ingress.destroy)

    async def forget(self, addresses: Iterable[str]) -> None:
        """Cut connections to ingress addresses that are gone. Raises OSError."""
        gone = sorted(addresses)
        if gone:
            await self._threads.run(lambda: conntrack.forget(gone))

    # host ports
    async def take_ports(self, sandbox_id: str, wanted: Sequence[PortConfig]) -> list[PortConfig]:
        """Reserve host ports; those asked as 0 are chosen. Raises AlreadyExists, InvalidSpec."""
        taken: list[PortConfig] = []
        try:
            for port in wanted:
                granted = PortConfig()
                granted.CopyFrom(port)
                granted.published_port = await self._take(sandbox_id, port)
                taken.append(granted)
        except BaseException:
            self.release(sandbox_id)
            raise
        return taken

    async def _take(self, sandbox_id: str, port: PortConfig) -> int:
        if port.protocol not in PROTOCOLS or not 0 < port.target_port < 65536:
            raise InvalidSpec(f"port {port.target_port} cannot be published")
        if port.published_port:
            await self._reserve(sandbox_id, port, port.published_port)
            return port.published_port
        for _ in range(64):
            number = random.choice(_DYNAMIC_PORTS)
            try:
                await self._reserve(sandbox_id, port, number)
            except AlreadyExists:
                continue
            return number
        raise ResourceExhausted("no free port on this host above 49152")

    async def _reserve(self, sandbox_id: str, port: PortConfig, number: int) -> None:
        protocol = PROTOCOLS[port.protocol]
        what = f"port {number}/{protocol} of this host is already taken"
        if (protocol, number) in self._held:
            raise AlreadyExists(f"{what} by another container")
        if protocol == "tcp" and number in self._control_ports:
            raise AlreadyExists(f"{what} by swarmlite itself")
        if protocol == "udp" and number == self._vxlan_port:
            raise AlreadyExists(f"{what} by swarmlite itself")
        for service in self._view.services.values():
            for other in service.ingress_ports:
                if (other.protocol, other.published_port) == (port.protocol, number):
                    raise AlreadyExists(f"{what} by service {service.name}")
        self._held[protocol, number] = sandbox_id
        try:
            await self._threads.run(lambda: _try_bind(port, number))
        except OSError as error:
            del self._held[protocol, number]
            if error.errno == errno.EADDRINUSE:
                raise AlreadyExists(what) from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidSpec(f"{port.host_ip} is not an address of this host") from error
            raise FailedPrecondition(f"{what}: {error}") from error

    def hold(self, sandbox_id: str, address: str, ports: Sequence[PortConfig]) -> None:
        """Send reserved ports to a sandbox's address, from the next `refresh` on."""
        self._host_ports[sandbox_id] = [
            HostPort(PROTOCOLS[p.protocol], p.published_port, p.host_ip, address, p.target_port)
            for p in ports
        ]
        for item in self._host_ports[sandbox_id]:
            self._held[item.protocol, item.published] = sandbox_id

    def release(self, sandbox_id: str) -> None:
        """Give a sandbox's ports back, from the next `refresh` on."""
        self._host_ports.pop(sandbox_id, None)
        self._held = {key: holder for key, holder in self._held.items() if holder != sandbox_id}

    # repairs
    async def reconcile(self, overlay: Overlay | None) -> list[str]:
        """Repair what differs; one line for each repair. Raises OSError, FailedPrecondition."""
        changed = await self._threads.run(lambda: nft.generation() != self._generation)

        def work() -> list[str]:
            netns.write_sysctl("ipv4/ip_forward", "1")
            repairs = self.egress.reconcile()
            if overlay is not None:
                self.ingress.reconcile(overlay, rules_changed=changed)
            return repairs

        repairs = await self._threads.run(work)
        lost = changed or self._members is None
        await self.refresh(force=lost)
        if lost:
            repairs.append("the host's nftables loaded again")
        return repairs

    async def close(self) -> None:
        """Let go of sockets; what is in the kernel stays."""
        if hasattr(self, "ingress"):  # else this was ended before it had started
            self.egress.close()
            self.ingress.close()

    async def destroy(self) -> None:
        """Take everything away. Raises OSError, FailedPrecondition."""

        def work() -> None:
            self.ingress.destroy()
            nft.run(self._table.remove())
            self.egress.destroy()
            self.ingress.close()

        await self._threads.run(work)


def _try_bind(port: PortConfig, number: int) -> None:
    kind = _KINDS.get(port.protocol)
    if kind is None:
        return
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # What lingers from closed connections does not count, a listener does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((port.host_ip, number))
