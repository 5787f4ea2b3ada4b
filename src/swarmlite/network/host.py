"""The host's own namespace: the way out, the ingress interface, published ports, nftables.

Kernel work is synchronous and runs on `netns.Threads`; what is to be done is decided before, on
the event loop, where the view does not change meanwhile. A host that runs no container and takes
no part in an ingress network has nothing of it: `prepare` makes what the first needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from swarmlite.errors import FailedPrecondition
from swarmlite.network import (
    beside,
    conntrack,
    host_table,
    ipv6,
    netlink,
    netns,
    nft,
    users_rules,
)
from swarmlite.network.claims import Claims
from swarmlite.network.drivers.overlay import Overlay
from swarmlite.network.egress import BRIDGE, Egress, EgressPort
from swarmlite.network.host_table import INGRESS, SANDBOX, SERVICE, BridgeRule, HostState
from swarmlite.network.ingress import Ingress, IngressPlan
from swarmlite.network.ingress import plan as ingress_plan
from swarmlite.network.load_balancer import spread
from swarmlite.network.netns import Threads
from swarmlite.network.ports import HostPorts
from swarmlite.network.rules import Rules, Wanted
from swarmlite.network.ruleset import Members, Table
from swarmlite.network.state import SandboxRecord
from swarmlite.network.view import View
from swarmlite.proto.types_pb2 import PortConfig

log = logging.getLogger(__name__)
DEFAULT_MTU = 1500
VXLAN_OVERHEAD = 50


class HostWiring:
    """What this node has in its host's namespace. One event loop's; `start` first."""

    def __init__(
        self,
        threads: Threads,
        view: View,
        bridges: Callable[[], Sequence[BridgeRule]],
        *,
        data_path_addr: str,
        vxlan_port: int,
        control_ports: Sequence[int],
    ) -> None:
        """`bridges`: the host's own networks that are in the kernel."""
        self._threads, self._view, self._bridges = threads, view, bridges
        self._addr, self._vxlan_port = data_path_addr, vxlan_port
        self._control_ports = tuple(control_ports)
        self._prepared = False
        self._preparing = asyncio.Lock()
        self._stale: set[str] = set()
        self._admitted: frozenset[str] = frozenset()
        """The interfaces whose packets Docker lets by, where it is."""
        self.rules = Rules(threads, self)
        self.ports = HostPorts(threads, view, {"tcp": self._control_ports, "udp": (vxlan_port,)})
        self.mtu = DEFAULT_MTU
        self.egress: Egress
        self.ingress: Ingress

    async def start(
        self, adopted: Sequence[SandboxRecord], reserved: Sequence[ipaddress.IPv4Network]
    ) -> None:
        """Take up what is there, and count what adopted sandboxes hold.

        `reserved`: subnets that the way out must not have. Raises OSError, ResourceExhausted.
        """
        await self._threads.run(lambda: self._start(reserved))
        for record in adopted:
            if record.egress_port:
                port = EgressPort(
                    record.egress_port, record.egress_address, record.ingress_addresses
                )
                self.egress.expect(port)
            self.ports.hold(record.id, record.outer_addresses, record.ports())
        self._table = host_table.table(
            self.egress.subnet, self._vxlan_port, self._control_ports, self._addr
        )
        self._table6 = host_table.table6(self.egress.subnet6, self._vxlan_port, self._control_ports)
        if any(not record.host for record in adopted):
            await self.prepare()

    async def follow_mtu(self) -> bool:
        """Take the size of the data path's interface as it is now; whether that changed it.

        Raises OSError.
        """
        size = await self._threads.run(self._data_path_mtu)
        if size == self.mtu:
            return False
        log.info("the data path has %d bytes a packet now, %d before", size, self.mtu)
        self.mtu, self.egress.mtu = size, min(size, 9000)
        return True

    def _start(self, reserved: Sequence[ipaddress.IPv4Network]) -> None:
        self.mtu = self._data_path_mtu()
        self.egress = Egress(min(self.mtu, 9000), reserved)
        self.ingress = Ingress(self._threads.host)

    def _data_path_mtu(self) -> int:
        channel = netlink.Socket()
        try:
            links = {link.index: link for link in channel.links().values()}
            indexes = {index for index, a, _ in channel.addresses() if a == self._addr}
            if netlink.LOOPBACK in indexes:  # of no swarm: the way to the world counts
                indexes = {index for network, index in channel.routes() if not network.prefixlen}
        finally:
            channel.close()
        sizes = [links[index].mtu for index in indexes if index in links]
        return min(max(sizes, default=DEFAULT_MTU), 65535)

    async def prepare(self, ours: Collection[str] = ()) -> None:
        """Make the host fit to forward for containers, once. `ours`: names of our bridges.

        Raises OSError.
        """
        async with self._preparing:
            if not self._prepared:
                await self._threads.run(lambda: _prepare({*ours, BRIDGE}))
                if self.egress.six and not await self._threads.run(lambda: _takes(self._table6)):
                    self.egress.six = self.ingress.six = False
                await self._admit()
                await self._offer()
                self._prepared = True

    def _interfaces(self) -> frozenset[str]:
        return frozenset({BRIDGE, INGRESS, *(bridge.interface for bridge in self._bridges())})

    async def _offer(self) -> None:
        try:
            await self._threads.run(users_rules.offer)
        except FailedPrecondition as error:
            log.warning("there is no chain for the user's own rules: %s", error)

    async def _admit(self) -> None:
        """Where Docker forwards for this host too, have it let our containers' packets by."""
        wanted = self._admitted = self._interfaces()
        try:
            if await self._threads.run(lambda: beside.admit(wanted)):
                log.info("Docker's chain DOCKER-USER lets our containers' packets by")
        except FailedPrecondition as error:
            log.warning("what Docker forwards cannot be changed: %s", error)

    async def taken(self) -> list[ipaddress.IPv4Network]:
        """What the host has routes to. Raises OSError."""

        def work() -> list[ipaddress.IPv4Network]:
            channel = netlink.Socket()
            try:
                return [network for network, _ in channel.routes()]
            finally:
                channel.close()

        return await self._threads.run(work)

    # the tables
    def wanted(self, without: Collection[str]) -> Wanted:
        """See rules.Source."""
        # By what is on disk, too, when a container comes before the managers' word.
        plan = self.ingress.plan or self.plan()
        state = HostState(
            peers=frozenset(self._view.peers() | {self._addr}),
            nodes=frozenset(self._view.node_addresses()),
            sources=self.egress.sources(),
            sources6=self.egress.sources6(),
            local_tasks=self.egress.extras(),
            host_ports=self.ports.all(),
            peer_marks=plan.marks if plan else {},
            bridges=self._bridges(),
            start=spread(self._view.node_id),
        )
        four, six, targets = host_table.members(self._view, state, without)
        tables = {self._table: four}
        if self.egress.six or any(bridge.subnet6 for bridge in state.bridges):
            tables[self._table6] = six
        return Wanted(tables, targets)

    def owners(self) -> Mapping[str, bytes]:
        """See rules.Source."""
        return host_table.owners(self._view, self.ports.all())

    async def refresh(self, *, force: bool = False) -> None:
        """Bring the tables to what is desired now. Raises FailedPrecondition, OSError."""
        if not self._prepared:
            return
        if self._admitted != self._interfaces():
            await self._admit()
        appeared = await self.rules.refresh(force=force)
        stale, self._stale = self._stale, set()
        ports = sorted(number for protocol, number in appeared if protocol == "udp")
        if stale or ports:
            try:
                await self._threads.run(lambda: _cut(sorted(stale), ports))
            except OSError as error:  # a kernel without it: such streams end by their timeouts
                log.warning("connections to what is gone are not cut: %s", error)

    def refused_services(self) -> dict[str, str]:
        """Services (ids) whose published ports the kernel refuses, with what it said."""
        return {
            owner.removeprefix(SERVICE): reason
            for owner, reason in self.rules.refused().items()
            if owner.startswith(SERVICE)
        }

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
        if self.egress.six:
            gone += [ipv6.ingress_address(address) for address in gone]
        if gone:
            await self._threads.run(lambda: conntrack.forget(gone))

    # published ports
    def hold(self, record: SandboxRecord, ports: Sequence[PortConfig]) -> None:
        """Send reserved ports to a sandbox, from the next `refresh` on."""
        self.ports.hold(record.id, record.outer_addresses, ports)

    def check(self, sandbox_id: str) -> None:
        """Raises FailedPrecondition when the kernel refused a sandbox's published ports."""
        reason = self.rules.refused().get(f"{SANDBOX}{sandbox_id}")
        if reason:
            raise FailedPrecondition(f"published ports: {reason}")

    def release(self, sandbox_id: str) -> None:
        """Give a sandbox's ports back; connections through them are cut by the next `refresh`."""
        self._stale |= set(self.ports.release(sandbox_id))

    @property
    def stale(self) -> bool:
        """Whether ports were given back that no `refresh` has closed yet."""
        return bool(self._stale)

    # repairs
    async def reconcile(self, overlay: Overlay | None, claims: Claims) -> list[str]:
        """Repair what differs; one line for each repair. Raises OSError, FailedPrecondition."""
        if not self._prepared:
            return []
        known = not self.rules.lost
        changed = await self.rules.changed_by_others()

        def work() -> list[str]:
            netns.write_sysctl("ipv4/ip_forward", "1")
            repairs = self.egress.reconcile(claims)
            if overlay is not None:
                self.ingress.reconcile(overlay, rules_changed=changed)
            return repairs

        repairs = await self._threads.run(work)
        if changed:
            await self._admit()
            await self._offer()
        await self.refresh(force=changed or self.rules.lost)
        if changed and known:
            repairs.append("the host's nftables loaded again")
        return repairs

    async def close(self) -> None:
        """Let go of sockets; what is in the kernel stays."""
        if hasattr(self, "ingress"):  # else this was ended before it had started
            self.egress.close()
            self.ingress.close()

    async def withdraw(self) -> None:
        """Take everything away, for no sandbox is left. Raises OSError, FailedPrecondition."""

        def work() -> None:
            self.ingress.destroy()
            self.egress.destroy()
            beside.withdraw()
            users_rules.withdraw()

        await self.rules.remove([self._table])
        with contextlib.suppress(FailedPrecondition):  # a kernel without IPv6 has none of it
            await self.rules.remove([self._table6])
        await self._threads.run(work)
        self._prepared = False


def _takes(table6: Table) -> bool:
    """Whether the kernel knows all that the table of IPv6 needs; it is there then."""
    try:
        nft.ask(f"list table {table6.header}")  # of the process before this one: left as it is
        return True
    except FailedPrecondition:
        pass
    try:
        nft.run(table6.load(Members()))
    except nft.Unasked:
        raise
    except FailedPrecondition as error:
        log.warning("containers have no way out and no published ports by IPv6: %s", error)
        return False
    return True


def _prepare(ours: Collection[str]) -> None:
    if netns.read_sysctl("ipv4/ip_forward") != "1":
        log.info("IPv4 forwarding is switched on: containers reach the network through this host")
        netns.write_sysctl("ipv4/ip_forward", "1")
    channel = netlink.Socket()
    try:
        links = channel.links()
    finally:
        channel.close()
    if all(name in ours or not link.bridge for name, link in links.items()):
        # Frames between ports pass through the host's rules a second time with this on, and what is
        # translated to a container of the same bridge is dropped there. Where others have bridges
        # they may count on it: then only a container that asks its own host's address for a port
        # that a container beside it serves waits for a second try.
        netns.write_sysctl("bridge/bridge-nf-call-iptables", "0")
        netns.write_sysctl("bridge/bridge-nf-call-ip6tables", "0")


def _cut(gone: Sequence[str], ports: Sequence[int]) -> None:
    """Forget connections to containers that are gone, and those older than a UDP port."""
    conntrack.forget(gone)
    if ports:
        channel = netlink.Socket()
        try:
            own = [a for _, a, _ in [*channel.addresses(), *channel.addresses6()]]
        finally:
            channel.close()
        conntrack.forget_udp(own, ports)
