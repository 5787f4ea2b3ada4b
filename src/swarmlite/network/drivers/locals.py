"""The drivers of this host's own networks: made when first needed, kept until removed."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

from swarmlite.errors import FailedPrecondition
from swarmlite.network import ipam, options
from swarmlite.network.claims import Claims
from swarmlite.network.drivers import bridge, sublink
from swarmlite.network.drivers.api import Driver
from swarmlite.network.drivers.bridge import Bridge, BridgeShape
from swarmlite.network.drivers.sublink import Sublink, SublinkShape
from swarmlite.network.host_table import BridgeRule
from swarmlite.network.netns import Threads
from swarmlite.proto.objects_pb2 import Network


class LocalDrivers:
    """By network id; one event loop's."""

    def __init__(
        self,
        threads: Threads,
        get: Callable[[str], Network],
        all_networks: Callable[[], Iterable[Network]],
    ) -> None:
        """`get`: a network by its id; raises NotFound."""
        self._threads, self._get, self._all = threads, get, all_networks
        self._drivers: dict[str, Driver] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.mtu = 1500

    async def get(self, network_id: str) -> Driver:
        """The network's driver, made if it is not there.

        Raises NotFound, FailedPrecondition, OSError.
        """
        found = self._drivers.get(network_id)
        if found is not None:
            return found
        async with self._locks[network_id]:
            if network_id not in self._drivers:
                await asyncio.shield(self._make(network_id))
            return self._drivers[network_id]

    async def _make(self, network_id: str) -> None:
        shape = shape_of(self._get(network_id), self.mtu)

        def work() -> Driver:
            return Bridge(shape) if isinstance(shape, BridgeShape) else Sublink(shape)

        self._drivers[network_id] = await self._threads.run(work)

    def held(self, network_id: str) -> Driver | None:
        """The driver, if it is there."""
        return self._drivers.get(network_id)

    def rules(self) -> list[BridgeRule]:
        """The bridges that are there, as the host's tables see them."""
        return [rule_of(self._get(i)) for i, d in self._drivers.items() if isinstance(d, Bridge)]

    def known_interfaces(self) -> set[str]:
        """The names that the bridges of all networks have or will have."""
        return {interface_of(n) for n in self._all() if n.driver_state.name == "bridge"}

    async def drop(self, network: Network) -> None:
        """Take a network out of the kernel, what an earlier process made too."""
        async with self._locks[network.id]:
            driver = self._drivers.pop(network.id, None)
            if driver is not None:
                await self._threads.run(driver.destroy)
                return
            if network.spec.config_only:
                return
            shape = shape_of(network, self.mtu)
            await self._threads.run(lambda: remove(shape))

    async def reconcile(self, claims: Claims) -> list[str]:
        """Repair all; one line for each repair. Raises OSError, FailedPrecondition."""
        repairs = []
        for network_id, driver in list(self._drivers.items()):
            name = self._get(network_id).spec.annotations.name
            for line in await self._threads.run(partial(driver.reconcile, claims)):
                repairs.append(f"network {name}: {line}")
        return repairs

    def close(self) -> None:
        """Let go of descriptors; what is in the kernel stays."""
        for driver in self._drivers.values():
            driver.close()
        self._drivers.clear()


def remove(shape: BridgeShape | SublinkShape) -> None:
    """Take a network out of the kernel that no driver holds. Raises OSError."""
    if isinstance(shape, BridgeShape):
        bridge.remove(shape)
    else:
        sublink.remove(shape)


def interface_of(network: Network) -> str:
    """The name of a bridge network's interface."""
    named = network.spec.driver.options.get(options.NAME, "")
    return named or f"br-{network.id[:12]}"


def shape_of(network: Network, mtu: int) -> BridgeShape | SublinkShape:
    """What a network is in the kernel. Raises FailedPrecondition for one that is nothing there."""
    kind, name = network.driver_state.name, network.spec.annotations.name
    parsed = options.parse(kind, network.spec.driver.options)
    if kind in ("macvlan", "ipvlan"):
        return SublinkShape(kind, parsed.mode, parsed.parent, network.id, parsed.mtu)
    four = ipam.of_version(network.ipam.configs, 4)
    six = ipam.of_version(network.ipam.configs, 6)
    if kind != "bridge" or four is None:
        raise FailedPrecondition(f"network {name} takes no containers")
    return BridgeShape(
        interface=interface_of(network),
        gateway=four.gateway,
        prefix=ipaddress.ip_network(four.subnet).prefixlen,
        mtu=parsed.mtu or mtu,
        gateway6=six.gateway if six else "",
        prefix6=ipaddress.ip_network(six.subnet).prefixlen if six else 0,
        icc=parsed.icc,
    )


def rule_of(network: Network) -> BridgeRule:
    """A bridge network as the host's tables see it."""
    parsed = options.parse("bridge", network.spec.driver.options)
    four = ipam.of_version(network.ipam.configs, 4)
    six = ipam.of_version(network.ipam.configs, 6)
    return BridgeRule(
        interface=interface_of(network),
        subnet=four.subnet if four else "",
        subnet6=six.subnet if six else "",
        internal=network.spec.internal,
        icc=parsed.icc,
        masquerade=parsed.masquerade,
    )
