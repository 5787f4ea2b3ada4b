"""`NodeNetwork`: everything of one host's wiring behind one object."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path

from swarmlite.errors import AlreadyExists, FailedPrecondition, SwarmliteError, reason
from swarmlite.model.encryption import is_encrypted
from swarmlite.network import layout, netns
from swarmlite.network.api import HOST, EndpointInfo, EndpointRequest, Sandbox, SandboxRequest
from swarmlite.network.checking import tracing
from swarmlite.network.checking.checks import Checks
from swarmlite.network.dns.server import Questions
from swarmlite.network.drivers.locals import LocalDrivers
from swarmlite.network.drivers.overlays import Overlays
from swarmlite.network.encryption.wiring import Encrypting
from swarmlite.network.host import HostWiring
from swarmlite.network.loops import forever
from swarmlite.network.netns import Threads
from swarmlite.network.networks import HostNetworks
from swarmlite.network.probe import probe
from swarmlite.network.records import Records
from swarmlite.network.remembered import Remembered
from swarmlite.network.resolvers import FdStore, Resolvers
from swarmlite.network.sandboxes import Sandboxes
from swarmlite.network.spares import Spares
from swarmlite.network.state import AttachmentRecord, SandboxRecord
from swarmlite.network.tracked import TrackedConnections
from swarmlite.network.view import Touched, View, made_by_hosts
from swarmlite.paths import Paths
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import NetworkAttachment

__all__ = ["EndpointRequest", "FdStore", "NodeNetwork", "Sandbox", "SandboxRequest", "probe"]

log = logging.getLogger(__name__)
BURST_S = 0.010
FLUSH_SHARE = 5
FLUSH_PAUSE_S = 0.5
"""At most one part in so many of the time, with pauses no longer than this, goes to changes of
what is there: while a hundred containers start, each batch of new addresses would otherwise load a
hundred VIP tables again."""
RECONCILE_S = 5.0
DOUBT_S = 10.0
"""So long after a start the managers are waited for, before what is on disk, which may be a moment
older than what the process before this one had made, overrules what the kernel has. Where nothing
is on disk, the ports of a container that goes stay open as long, for those of services would be
closed with them."""
HOST_PIN = "host"


class NodeNetwork:
    """One host's wiring. All methods are for one event loop; see the room's docstring.

    What the managers said last is on disk, so that it is known from the start. Where it is not,
    what an earlier process left in the kernel is taken as right until the first `update` or
    `apply`: neither changed nor repaired, for there is nothing to compare it with; but see DOUBT_S.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        node_id: str,
        data_path_addr: str,
        vxlan_port: int,
        fds: FdStore,
        host_netns: Path | None = None,
        control_ports: Sequence[int] = (2377, 2381, 2382),
    ) -> None:
        """`host_netns`: the host's network namespace, the calling thread's own when None.
        `node_id`: empty outside of a swarm.
        """
        self._paths = paths
        self._view = View(node_id)
        self._remembered = Remembered(paths.agent_dir / "networks", self._view)
        self._threads = Threads(host_netns)
        self._records = Records(paths.run_dir / "network")
        self.networks = HostNetworks(paths.networks_dir, self._taken, self._users, self._drop)
        """The networks of this host that are not the managers'."""
        self._local = LocalDrivers(self._threads, self.networks.get, self.networks.list)
        self._host = HostWiring(
            self._threads,
            self._view,
            self._local.rules,
            data_path_addr=data_path_addr,
            vxlan_port=vxlan_port,
            control_ports=control_ports,
        )
        self.encrypting = Encrypting(
            self._threads,
            self._view,
            paths.agent_dir / "network.keys",
            data_path_addr=data_path_addr,
            vxlan_port=vxlan_port,
        )
        """Of this node's part in encrypted networks."""
        self._overlays = Overlays(
            self._threads,
            self._view,
            paths.netns_dir,
            local=data_path_addr,
            port=vxlan_port,
            encrypting=self.encrypting,
        )
        self._resolvers = Resolvers(self._threads, self._view, fds)
        self._spares = Spares(self._threads)
        self._sandboxes = Sandboxes(
            self._threads,
            self._view,
            paths.netns_dir,
            self._records,
            self._host,
            self._overlays,
            self._local,
            self._resolvers,
            self._spares,
        )
        self.checks = Checks(
            self._threads,
            self._view,
            self._overlays,
            self._sandboxes.ports,
            vxlan_port=vxlan_port,
        )
        """Of networks, between this node and others."""
        self._known = layout.Known(
            self._view, self.networks, self._sandboxes.record, self._sandboxes.used
        )
        self._touched = Touched()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._informed = False
        self._doubt_until = 0.0
        self._silent_until = 0.0
        self._ingress_lock = asyncio.Lock()
        self._connections = TrackedConnections()
        self._exhaustion = ""
        self._resizing = False
        """Whether sandboxes have yet to hear of the data path's new size."""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take up what the directories and the fd store hold, and begin to repair.

        In a swarm and without one. Raises FailedPrecondition when the host lacks what all of this
        needs.
        """
        self._paths.netns_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            await self._threads.run(self._pin_host)
            await self._threads.run(tracing.sweep)
            await self.encrypting.start()
            await self.networks.load()
            records = self._sandboxes.load()
            reserved = [s for s in self.networks.subnets() if isinstance(s, IPv4Network)]
            await self._host.start(records, reserved)
            self._local.mtu = min(self._host.mtu, 9000)
            self._overlays.mtu = self._host.mtu
            await self._sandboxes.adopt(records)
        except OSError as error:
            raise FailedPrecondition(
                f"the host's network cannot be set up: {reason(error)}"
            ) from error
        if not self._view.node_id:
            self._take(Touched())  # nobody will tell more than nothing
        elif (touched := self._remembered.load()) is not None:
            self._doubt_until = time.monotonic() + DOUBT_S
            self._overlays.doubt = True
            self._take(touched)
        self._silent_until = time.monotonic() + DOUBT_S
        self._tasks = [
            asyncio.create_task(forever("network change", self._flush_next)),
            asyncio.create_task(forever("network repair", self._repair_next)),
            asyncio.create_task(forever("keeping networks on disk", self._remembered.write_next)),
            asyncio.create_task(forever("making sandboxes ahead", self._spares.fill_next)),
        ]

    async def _taken(self) -> list[IPv4Network]:
        planned = getattr(self._host, "egress", None)
        return [*await self._host.taken(), *([planned.subnet] if planned else [])]

    def _users(self, network_id: str) -> list[str]:
        return self._sandboxes.users(network_id)

    async def _drop(self, network_id: str) -> None:
        """Take a network of this host out of the kernel."""
        try:
            await self._local.drop(self.networks.get(network_id))
            await self._host.refresh()
        except OSError as error:
            raise FailedPrecondition(f"the kernel keeps the network: {reason(error)}") from error

    def _pin_host(self) -> None:
        path = self._paths.netns_dir / HOST_PIN
        if not netns.is_pinned(path):
            netns.unpin(path)
            netns.pin(self._threads.host, path)

    @property
    def questions(self) -> Questions:
        """What sandboxes have asked for by name."""
        return self._resolvers.questions

    async def close(self) -> None:
        """Stop serving DNS; containers' wiring and their DNS sockets stay as they are."""
        await self._end_tasks()
        await self.checks.close()
        await self._sandboxes.close()
        self._records.close()
        self._resolvers.close()
        await self._overlays.close()
        self._local.close()
        await self._host.close()
        await asyncio.to_thread(self._threads.close)
        self._spares.close()

    # what the managers tell
    async def update(
        self,
        *,
        networks: Mapping[str, Network],
        endpoints: Mapping[str, Endpoint],
        services: Mapping[str, VirtualService],
    ) -> None:
        """Replace all that the node was assigned. Names change at once, the kernel soon."""
        self._believe(self._view.replace(networks, endpoints, services))

    async def apply(self, changes: Sequence[AssignmentChange]) -> None:
        """Take network, endpoint and virtual_service items, in order; others are ignored.

        Names change at once, the kernel within some 10 ms: changes that come in a burst share
        one transaction. `settled` waits for it.
        """
        self._believe(self._view.take(changes))

    def _believe(self, touched: Touched) -> None:
        """Managers said it: what is in the kernel and not in the view is wrong from now on."""
        if self._doubt_until:
            self._end_of_doubt()
            touched.networks |= self._view.networks.keys()
            touched.peers |= self._view.networks.keys()
            touched.ingress = True
        self._take(touched)

    def _end_of_doubt(self) -> None:
        self._doubt_until, self._overlays.doubt = 0.0, False

    def _doubts(self) -> bool:
        """Whether what is on disk may be older than what the kernel has."""
        if self._doubt_until and time.monotonic() >= self._doubt_until:
            self._end_of_doubt()
        return self._doubt_until > 0

    def _take(self, touched: Touched) -> None:
        if not self._informed:
            self._informed = True
            self._sandboxes.inform()
            touched.networks |= self._view.networks.keys()
            touched.peers |= self._view.networks.keys()
            touched.ingress = True
        if touched:
            self._resolvers.zones.forget(touched.networks)
            self._touched.merge(touched)
            self._remembered.changed()
            self._idle.clear()
            self._wake.set()

    def preshare(self, key: bytes) -> None:
        """Take the managers' key for encrypted networks; the kernel has it soon."""
        if self.encrypting.preshare(key) and self._informed:  # the first word touches all anyway
            concerned = {n.id for n in self._view.networks.values() if is_encrypted(n)}
            self._take(Touched(networks=concerned, peers=set(concerned)))

    async def settled(self) -> None:
        """Until the kernel has what is known so far."""
        await self._idle.wait()

    async def _flush_next(self) -> None:
        await self._wake.wait()
        await asyncio.sleep(BURST_S)
        self._wake.clear()
        touched, self._touched = self._touched, Touched()
        started = time.monotonic()
        try:
            await self._flush(touched)
        finally:  # what failed is set again by the next reconciliation
            if not self._wake.is_set():
                self._idle.set()
        took_s = time.monotonic() - started
        await asyncio.sleep(min(took_s * (FLUSH_SHARE - 1), FLUSH_PAUSE_S))

    async def _flush(self, touched: Touched) -> None:
        if self._doubts():
            await self._sandboxes.resume()
            return
        await self._overlays.flush(touched, in_use=self._sandboxes.networks())
        await self._drop_unused()
        await self._ingress()
        await self._host.refresh()
        await self._sandboxes.flush(touched)
        gone = {address for network, address in touched.gone if self._view.is_ingress(network)}
        await self._host.forget(gone)
        self._overlays.check_encryption()

    async def _ingress(self) -> None:
        async with self._ingress_lock:
            plan, network = self._host.plan(), self._view.ingress()
            if plan is None or network is None:
                await self._host.drop_ingress()
                return
            await self._host.prepare(self._local.known_interfaces())
            await self._host.set_ingress(await self._overlays.get(network.id), plan)

    # sandboxes
    async def create_sandbox(self, sandbox_id: str, request: SandboxRequest) -> Sandbox:
        """Make a sandbox: interfaces, VIPs and names are there when this returns.

        Raises AlreadyExists for an id, an address or a host port that is taken, NotFound for a
        network or a sandbox to join that is not there, FailedPrecondition for a network that is
        not known yet or a kernel that refuses, InvalidSpec, ResourceExhausted.
        Cancelled or failed: nothing of it is left.
        """
        if sandbox_id in self._sandboxes:
            raise AlreadyExists(f"sandbox {sandbox_id} exists")
        for attachment in request.attachments:
            shared = self._view.networks.get(attachment.network_id)
            if shared is not None and made_by_hosts(shared):
                await self._realize(shared)
        self._sandboxes.reserve(layout.lay_out(sandbox_id, request, self._known))
        task = asyncio.ensure_future(self._create(sandbox_id))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.shield(self._undo(task, sandbox_id))
            raise
        except OSError as error:
            raise FailedPrecondition(f"the kernel refused a sandbox: {reason(error)}") from error
        return self._describe(task.result())

    async def _realize(self, shared: Network) -> None:
        try:
            await self.networks.realize(shared)
        except OSError as error:
            name = shared.spec.annotations.name
            raise FailedPrecondition(
                f"network {name} cannot be recorded: {reason(error)}"
            ) from error

    async def _drop_unused(self) -> None:
        """This host's side of networks that the managers no longer have here goes."""
        for network in self.networks.realized():
            if network.id not in self._view.networks and not self._users(network.id):
                await self.networks.remove(network.id)

    async def _create(self, sandbox_id: str) -> SandboxRecord:
        record = await self._sandboxes.create(sandbox_id)
        for place in record.attachments:
            if place.local:
                await self.networks.keep(place.network_id)
        return record

    async def connect(
        self, sandbox_id: str, place: EndpointRequest | NetworkAttachment
    ) -> EndpointInfo:
        """Give a sandbox that is there one more place.

        Raises NotFound, AlreadyExists for a network that it is on, InvalidSpec for a sandbox
        without a stack of its own, and what `create_sandbox` raises.
        """

        def lay(record: SandboxRecord) -> AttachmentRecord:
            places = record.attachments
            if isinstance(place, EndpointRequest):
                return layout.local_place(place, self._known, places)
            if any(place.network_id == other.network_id for other in places):
                raise AlreadyExists(f"the container is already on network {place.network_name}")
            return layout.managed_place(place, self._view, places)

        try:
            made = await asyncio.shield(self._sandboxes.connect(sandbox_id, lay))
            if made.local:
                await self.networks.keep(made.network_id)
        except OSError as error:
            raise FailedPrecondition(f"the kernel refused an interface: {reason(error)}") from error
        found = layout.describe(self._sandboxes.record(sandbox_id))
        return next(info for info in found if info.network_id == made.network_id)

    async def disconnect(self, sandbox_id: str, network: str) -> None:
        """Take a sandbox off a network; safe when it is not on it.

        `network`: id, or name or prefix of one of this host. Raises NotFound, InvalidSpec.
        """
        network_id = network if network in self._view.networks else self.networks.get(network).id
        try:
            await asyncio.shield(self._sandboxes.disconnect(sandbox_id, network_id))
        except OSError as error:
            raise FailedPrecondition(f"the kernel keeps an interface: {reason(error)}") from error

    async def rename(self, sandbox_id: str, names: Sequence[str]) -> None:
        """Have a sandbox found by other names on this host's networks: `SandboxRequest.names`.

        Raises NotFound, InvalidSpec for one without a stack of its own.
        """
        try:
            await asyncio.shield(self._sandboxes.rename(sandbox_id, names))
        except OSError as error:
            raise FailedPrecondition(f"the names cannot be recorded: {reason(error)}") from error

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """What a sandbox that is there consists of now. Raises NotFound."""
        return self._describe(self._sandboxes.record(sandbox_id))

    async def _undo(self, task: asyncio.Task[SandboxRecord], sandbox_id: str) -> None:
        with contextlib.suppress(OSError, SwarmliteError, asyncio.CancelledError):
            await task
        await self.delete_sandbox(sandbox_id)

    def _describe(self, record: SandboxRecord) -> Sandbox:
        endpoints = layout.describe(record)
        hosts = [(e.address.partition("/")[0], e.network_name) for e in endpoints if e.address]
        if record.host:
            text = Path("/etc/resolv.conf")
            content = text.read_text(errors="replace") if text.exists() else ""
            pin = self._paths.netns_dir / HOST_PIN
            return Sandbox(pin, content, hosts, record.ports(), endpoints, host_stack=True)
        conf = layout.resolv_conf(record.dns_config())
        pin = self._paths.netns_dir / (record.join or record.id)
        return Sandbox(pin, conf, hosts, record.ports(), endpoints)

    async def delete_sandbox(self, sandbox_id: str) -> None:
        """Let a sandbox go; safe to repeat. The kernel ends it with its last process."""
        await asyncio.shield(self._sandboxes.delete(sandbox_id))
        if self._informed:
            self._wake.set()  # its networks may have been kept for it only

    def sandboxes(self) -> list[str]:
        """The ids of what exists."""
        return self._sandboxes.ids()

    def refused_services(self) -> dict[str, str]:
        """Services (ids) whose published ports are left out on this host, and why."""
        return self._host.refused_services()

    def warnings(self) -> list[str]:
        """What of the host's networks is about to fail, a line each."""
        return [self._exhaustion] if self._exhaustion else []

    # repairs
    async def _repair_next(self) -> None:
        await asyncio.sleep(RECONCILE_S)
        await self.reconcile()

    async def reconcile(self) -> None:
        """Repair what someone deleted by hand; every 5 s too. Raises OSError, SwarmliteError."""
        if await self._host.follow_mtu():
            self._resizing = True
            self._local.mtu, self._overlays.mtu = min(self._host.mtu, 9000), self._host.mtu
        self._exhaustion = await self._threads.run(self._connections.look)
        claims = self._sandboxes.ports
        for line in await self._local.reconcile(claims):
            log.warning("network repaired: %s", line)
        if not self._informed or self._doubts():
            patient = self._informed or time.monotonic() < self._silent_until
            # Loaded by us, for plain containers; or ports of what is gone have been open for long.
            if not self._host.rules.lost or (self._host.stale and not patient):
                for line in await self._host.reconcile(None, claims):
                    log.warning("network repaired: %s", line)
            return
        for line in await self._overlays.reconcile(claims):
            log.warning("network repaired: %s", line)
        await self._ingress()
        network = self._view.ingress()
        overlay = self._overlays.held(network.id) if network else None
        for line in await self._host.reconcile(overlay, claims):
            log.warning("network repaired: %s", line)
        if self._resizing:
            await self._sandboxes.resize()
            self._resizing = False
        for line in await self._sandboxes.reconcile():
            log.warning("network repaired: %s", line)
        self._overlays.check_encryption()

    async def leave(self) -> None:
        """This node is in no swarm any longer: nothing of one stays in the kernel or on disk.

        Sandboxes that are on networks of this host only stay, with these networks. The others'
        owners have to let them go first; what is left of them goes too.
        """
        for sandbox_id in self._sandboxes.managed():
            await self.delete_sandbox(sandbox_id)
        touched = self._view.replace({}, {}, {})
        self._remembered.forget()
        self._take(touched)
        await self.settled()
        await self.encrypting.forget()
        if not self.sandboxes():
            await self._host.withdraw()

    async def teardown(self) -> None:
        """Leave nothing of ours in the kernel or the run directory; then `close`."""
        await self._end_tasks()
        for sandbox_id in self.sandboxes():
            await self.delete_sandbox(sandbox_id)
        for network in self.networks.list():
            if network.driver_state.name != "null" and network.spec.annotations.name != HOST:
                await self._drop(network.id)
        await self._host.withdraw()
        await self._overlays.destroy()
        await self.encrypting.forget()
        await self._threads.run(lambda: netns.unpin(self._paths.netns_dir / HOST_PIN))
        self._records.clear()
        with contextlib.suppress(OSError):
            self._paths.netns_dir.rmdir()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
