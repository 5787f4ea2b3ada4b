"""`NodeNetwork`: everything of one host's wiring behind one object."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from swarmlite.errors import AlreadyExists, FailedPrecondition, SwarmliteError
from swarmlite.network import layout, netns
from swarmlite.network.api import EndpointInfo, EndpointRequest, Sandbox, SandboxRequest
from swarmlite.network.host import HostWiring
from swarmlite.network.netns import Threads
from swarmlite.network.networks import HostNetworks
from swarmlite.network.overlays import Overlays
from swarmlite.network.probe import probe
from swarmlite.network.resolvers import FdStore, Resolvers
from swarmlite.network.sandboxes import Sandboxes
from swarmlite.network.state import Records, SandboxRecord
from swarmlite.network.view import Touched, View
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
HOST_PIN = "host"


class NodeNetwork:
    """One host's wiring. All methods are for one event loop; see the room's docstring.

    Until the first `update` or `apply`, what an earlier process left in the kernel is taken as
    right and neither changed nor repaired: there is nothing yet to compare it with.
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
        """`host_netns`: the host's network namespace, the calling thread's own when None."""
        self._paths = paths
        self._view = View(node_id)
        self._threads = Threads(host_netns)
        self._records = Records(paths.run_dir / "network")
        self._host = HostWiring(
            self._threads,
            self._view,
            data_path_addr=data_path_addr,
            vxlan_port=vxlan_port,
            control_ports=control_ports,
        )
        self._overlays = Overlays(
            self._threads,
            self._view,
            paths.netns_dir,
            local=data_path_addr,
            port=vxlan_port,
        )
        self._resolvers = Resolvers(self._threads, self._view, fds)
        self._sandboxes = Sandboxes(
            self._threads,
            self._view,
            paths.netns_dir,
            self._records,
            self._host,
            self._overlays,
            self._resolvers,
        )
        self.networks = HostNetworks(
            paths.networks_dir, self._host.taken, self._sandboxes.users, self._drop_network
        )
        """The networks of this host that are not the managers'."""
        self._touched = Touched()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._informed = False
        self._ingress_lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take up what the run directory and the fd store hold, and begin to repair.

        Raises FailedPrecondition when the host lacks what all of this needs.
        """
        self._paths.netns_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            await self._threads.run(self._pin_host)
            await self.networks.load()
            records = self._sandboxes.load()
            await self._host.start(records)
        except OSError as error:
            raise FailedPrecondition(f"the host's network cannot be set up: {error}") from error
        self._overlays.mtu = self._host.mtu
        await self._sandboxes.adopt(records)
        self._tasks = [
            asyncio.create_task(self._flush_forever(), name="network-flush"),
            asyncio.create_task(self._reconcile_forever(), name="network-reconcile"),
        ]

    async def _drop_network(self, network_id: str) -> None:
        """Nothing of a network is in the kernel yet."""

    def _pin_host(self) -> None:
        path = self._paths.netns_dir / HOST_PIN
        if not netns.is_pinned(path):
            netns.unpin(path)
            netns.pin(self._threads.host, path)

    async def close(self) -> None:
        """Stop serving DNS; containers' wiring and their DNS sockets stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._sandboxes.close()
        self._resolvers.close()
        await self._overlays.close()
        await self._host.close()
        await asyncio.to_thread(self._threads.close)

    # what the managers tell
    async def update(
        self,
        *,
        networks: Mapping[str, Network],
        endpoints: Mapping[str, Endpoint],
        services: Mapping[str, VirtualService],
    ) -> None:
        """Replace all that the node was assigned. Names change at once, the kernel soon."""
        self._take(self._view.replace(networks, endpoints, services))

    async def apply(self, changes: Sequence[AssignmentChange]) -> None:
        """Take network, endpoint and virtual_service items, in order; others are ignored.

        Names change at once, the kernel within some 10 ms: changes that come in a burst share
        one transaction. `settled` waits for it.
        """
        self._take(self._view.take(changes))

    def _take(self, touched: Touched) -> None:
        if not self._informed:
            self._informed = True
            self._sandboxes.inform()
            touched.networks |= self._view.networks.keys()
            touched.ingress = True
        if touched:
            self._resolvers.zones.forget(touched.networks)
            self._touched.merge(touched)
            self._idle.clear()
            self._wake.set()

    async def settled(self) -> None:
        """Until the kernel has what is known so far."""
        await self._idle.wait()

    async def _flush_forever(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(BURST_S)
            self._wake.clear()
            touched, self._touched = self._touched, Touched()
            started = time.monotonic()
            try:
                await self._flush(touched)
            except (OSError, SwarmliteError) as error:
                # The next reconciliation sets all of it again.
                log.error("network change failed: %s", error)
            if not self._wake.is_set():
                self._idle.set()
            took_s = time.monotonic() - started
            await asyncio.sleep(min(took_s * (FLUSH_SHARE - 1), FLUSH_PAUSE_S))

    async def _flush(self, touched: Touched) -> None:
        await self._overlays.flush(touched, in_use=self._sandboxes.networks())
        await self._ingress()
        await self._host.refresh()
        await self._sandboxes.flush(touched)
        gone = {address for network, address in touched.gone if self._view.is_ingress(network)}
        await self._host.forget(gone)

    async def _ingress(self) -> None:
        async with self._ingress_lock:
            plan, network = self._host.plan(), self._view.ingress()
            if plan is None or network is None:
                await self._host.drop_ingress()
                return
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
        record = layout.lay_out(sandbox_id, request, self._view, self._sandboxes.record)
        task = asyncio.ensure_future(self._sandboxes.create(record))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.shield(self._undo(task, sandbox_id))
            raise
        except OSError as error:
            raise FailedPrecondition(f"the kernel refused a sandbox: {error}") from error
        return self._describe(task.result())

    async def connect(
        self, sandbox_id: str, place: EndpointRequest | NetworkAttachment
    ) -> EndpointInfo:
        """Give a sandbox that is there one more place.

        Raises NotFound, AlreadyExists for a network that it is on, InvalidSpec for a sandbox
        without a stack of its own, and what `create_sandbox` raises.
        """
        raise FailedPrecondition("network connect is not supported yet")

    async def disconnect(self, sandbox_id: str, network: str) -> None:
        """Take a sandbox off a network, named by name, id or prefix. Raises NotFound."""
        raise FailedPrecondition("network disconnect is not supported yet")

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

    # repairs
    async def _reconcile_forever(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_S)
            try:
                await self.reconcile()
            except (OSError, SwarmliteError) as error:
                log.error("network repair failed: %s", error)

    async def reconcile(self) -> None:
        """Repair what someone deleted by hand; every 5 s too. Raises OSError, SwarmliteError."""
        if not self._informed:
            return
        for line in await self._overlays.reconcile():
            log.warning("network repaired: %s", line)
        await self._ingress()
        network = self._view.ingress()
        overlay = self._overlays.held(network.id) if network else None
        for line in await self._host.reconcile(overlay):
            log.warning("network repaired: %s", line)
        for line in await self._sandboxes.reconcile():
            log.warning("network repaired: %s", line)

    async def teardown(self) -> None:
        """Leave nothing of ours in the kernel or the run directory; then `close`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for sandbox_id in self.sandboxes():
            await self.delete_sandbox(sandbox_id)
        await self._host.destroy()
        await self._overlays.destroy()
        await self._threads.run(lambda: netns.unpin(self._paths.netns_dir / HOST_PIN))
        self._records.clear()
        with contextlib.suppress(OSError):
            self._paths.netns_dir.rmdir()
