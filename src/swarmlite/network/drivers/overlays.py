"""The overlay networks of a host: each made when first needed, kept while it is known or in use."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Collection
from functools import partial
from pathlib import Path

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.model.encryption import is_encrypted
from swarmlite.model.numerals import decimal
from swarmlite.network import netns
from swarmlite.network.claims import Claims
from swarmlite.network.drivers.overlay import Overlay, Peers
from swarmlite.network.encryption import plan
from swarmlite.network.encryption.wiring import Encrypting
from swarmlite.network.host import DEFAULT_MTU, VXLAN_OVERHEAD
from swarmlite.network.netlink import mac_bytes, mac_of
from swarmlite.network.netns import Threads
from swarmlite.network.view import Touched, View, host_of, subnets_of
from swarmlite.proto.objects_pb2 import Network

MTU_OPTION = "com.docker.network.driver.mtu"
PREFIX = "net-"


class Overlays:
    """Networks by id; one event loop's."""

    def __init__(
        self,
        threads: Threads,
        view: View,
        directory: Path,
        *,
        local: str,
        port: int,
        encrypting: Encrypting,
    ) -> None:
        self._threads, self._view, self._directory = threads, view, directory
        self._local, self._port, self._encrypting = local, port, encrypting
        self._overlays: dict[str, Overlay] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._swept = False
        self._stale: set[str] = set()
        """Networks whose peers are not yet what the view says."""
        self._encrypted: set[str] = set()
        """Networks that are held and encrypted: their tunnels must not outlive the device."""
        self._failure: Exception | None = None
        self.mtu = DEFAULT_MTU
        self.doubt = False
        """Whether the kernel may know of endpoints that the view does not: they stay."""

    async def get(self, network_id: str) -> Overlay:
        """The network's overlay, made if it is not there. Raises FailedPrecondition, OSError."""
        found = self._overlays.get(network_id)
        if found is not None:
            return found
        async with self._locks[network_id]:
            if network_id not in self._overlays:
                await asyncio.shield(self._make(network_id))
            return self._overlays[network_id]

    async def _make(self, network_id: str) -> None:
        network = self._view.networks.get(network_id)
        if network is None:
            raise FailedPrecondition(f"network {network_id} is not known on this node yet")
        vni, mtu, local = _vni(network), _mtu(network, self.mtu), self._local
        if is_encrypted(network):
            await self._encrypting.apply(self.mtu)
            local = self._encrypting.inner
        pin = self._directory / f"{PREFIX}{network_id}"
        subnets6 = [s for s in subnets_of(network) if ":" in s and netns.has_ipv6()]

        def work() -> Overlay:
            return Overlay(
                pin,
                self._threads.host,
                vni=vni,
                local=local,
                port=self._port,
                mtu=mtu,
                subnets6=subnets6,
            )

        overlay = await self._threads.run(work)
        self._overlays[network_id] = overlay
        if is_encrypted(network):
            self._encrypted.add(network_id)
        if not network.spec.ingress:
            peers = self._peers(network_id)
            await self._threads.run(lambda: overlay.adopt_peers(peers, keep=self.doubt))
            # A flush may have told the kernel of newer ones meanwhile, before or after these.
            while (now := self._peers(network_id)) != peers:
                peers = now
                await self._threads.run(partial(overlay.set_peers, peers))

    def _peers(self, network_id: str) -> Peers:
        neighbours, forwards = {}, {}
        encrypted = is_encrypted(self._view.networks.get(network_id))
        for endpoint in self._view.endpoints(network_id):
            if endpoint.node_id == self._view.node_id or not endpoint.node_addr:
                continue
            if encrypted and not plan.is_reached(endpoint):
                continue
            address = host_of(endpoint.addr)
            mac = mac_bytes(endpoint.mac) if endpoint.mac else mac_of(address)
            neighbours[address] = mac
            if endpoint.addr6:
                neighbours[host_of(endpoint.addr6)] = mac
            address = endpoint.node_addr
            forwards[mac] = plan.inner_address(address) if encrypted else address
        return Peers(neighbours, forwards)

    def held(self, network_id: str) -> Overlay | None:
        """The overlay, if it is there."""
        return self._overlays.get(network_id)

    async def _encrypt(self, *, needed: bool = False) -> int:
        """As `Encrypting.apply`; what fails of it stops no network: see `check_encryption`."""
        self._failure = None
        try:
            return await self._encrypting.apply(self.mtu, needed=needed)
        except (OSError, FailedPrecondition, ValueError) as error:
            self._failure = error
            return 0

    def check_encryption(self) -> None:
        """Raise FailedPrecondition for what failed of it; for the end, when all else is done."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise FailedPrecondition(f"encryption of networks: {failure}") from failure

    async def flush(self, touched: Touched, in_use: Collection[str]) -> None:
        """Tell the kernel of endpoints elsewhere; take away what nobody knows or uses."""
        if any(is_encrypted(self._view.networks.get(n)) for n in touched.peers):
            await self._encrypt()
        self._stale |= touched.peers
        while self._stale:
            await self._tell_peers(self._stale.pop())
        for network_id in {*self._overlays, *self._left_behind()}:
            if network_id not in self._view.networks and network_id not in in_use:
                await self._drop(network_id)

    async def _tell_peers(self, network_id: str) -> None:
        overlay = self._overlays.get(network_id)
        unknown = network_id not in self._view.networks
        if overlay is None or unknown or self._view.is_ingress(network_id):
            return
        peers = self._peers(network_id)
        try:
            await self._threads.run(lambda: overlay.set_peers(peers))
        except BaseException:
            self._stale.add(network_id)
            raise

    def _left_behind(self) -> list[str]:
        """Networks that an earlier process pinned, once: nothing else pins any behind our back."""
        if self._swept:
            return []
        self._swept = True
        return [path.name.removeprefix(PREFIX) for path in self._directory.glob(f"{PREFIX}*")]

    async def _drop(self, network_id: str) -> None:
        async with self._locks[network_id]:
            overlay = self._overlays.pop(network_id, None)
            pin = self._directory / f"{PREFIX}{network_id}"
            await self._threads.run(overlay.destroy if overlay else lambda: netns.unpin(pin))
            self._encrypted.discard(network_id)

    def mtu_of(self, network_id: str) -> int | None:
        """A network's size; None where it is not held."""
        overlay = self._overlays.get(network_id)
        return overlay.mtu if overlay is not None else None

    async def reconcile(self, claims: Claims) -> list[str]:
        """Repair all; one line for each repair. Raises OSError, FailedPrecondition."""
        repairs = []
        if changed := await self._encrypt(needed=bool(self._encrypted)):
            repairs.append(f"encryption: {changed} of the device and its peers set again")
        for network_id, overlay in list(self._overlays.items()):
            if (network := self._view.networks.get(network_id)) is not None:
                overlay.mtu = _mtu(network, self.mtu)
            for line in await self._threads.run(partial(overlay.reconcile, claims)):
                repairs.append(f"network {network_id}: {line}")
        return repairs

    async def close(self) -> None:
        """Let go of descriptors; what is in the kernel stays."""
        for overlay in self._overlays.values():
            overlay.close()
        self._overlays.clear()

    async def destroy(self) -> None:
        """Take all away, what an earlier process left too."""
        for network_id in list(self._overlays):
            await self._drop(network_id)
        for pin in self._directory.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                await self._threads.run(lambda p=pin: netns.unpin(p))  # type: ignore[misc]


def _vni(network: Network) -> int:
    try:
        return int(network.driver_state.options["vni"])
    except (KeyError, ValueError) as error:
        name = network.spec.annotations.name or network.id
        raise FailedPrecondition(f"network {name} has no VXLAN id yet") from error


def _mtu(network: Network, underlay: int) -> int:
    asked = network.spec.driver.options.get(MTU_OPTION, "")
    if not asked:
        if is_encrypted(network):
            return underlay - plan.OVERHEAD - plan.VXLAN_OVERHEAD
        return underlay - VXLAN_OVERHEAD
    if (mtu := decimal(asked, 68, 65485)) is None:
        raise InvalidSpec(
            f"{MTU_OPTION}: {asked[:20]!r} is not an MTU; a number from 68 to 65485 is"
        )
    return mtu
