"""The networks of this host: which there are, on disk and in memory. No kernel.

Shape: DIRECTORY/<id>.json, one `Network` message each in protobuf's JSON form. `bridge`, `host` and
`none` are always there; `bridge` has a file once its subnet was chosen.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

from google.protobuf import json_format

from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
)
from swarmlite.kernel import durable
from swarmlite.model.timestamps import set_now
from swarmlite.network import ipam, options
from swarmlite.network.api import BRIDGE, HOST, NONE
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import IPAMConfig

log = logging.getLogger(__name__)
DRIVERS = ("bridge", "macvlan", "ipvlan")
"""What networks of this host can be made with."""
BRIDGE_INTERFACE = "swarmlite-br"
"""Of the network `bridge`."""
_PREDEFINED = {BRIDGE: "bridge", HOST: "host", NONE: "null"}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_. -]{0,126}[A-Za-z0-9_.-])?")

Taken = Callable[[], Awaitable[Sequence[ipaddress.IPv4Network]]]


class HostNetworks:
    """By id; one event loop's."""

    def __init__(
        self,
        directory: Path,
        taken: Taken,
        users: Callable[[str], Sequence[str]],
        drop: Callable[[str], Awaitable[None]],
    ) -> None:
        """`taken`: subnets that the host routes; `users`: sandboxes on a network id; `drop`: take
        a network out of the kernel."""
        self._directory, self._taken = directory, taken
        self._users, self._drop = users, drop
        self._networks: dict[str, Network] = {}
        self._last: dict[tuple[str, int], str] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read what is on disk; the predefined ones are there afterwards. Raises OSError."""
        for path in sorted(self._directory.glob("*.json")):
            try:
                network = json_format.Parse(path.read_text(), Network())
            except (json_format.ParseError, UnicodeDecodeError) as error:
                log.error("network file left out path=%s error=%s", path, error)
                continue
            self._networks[network.id] = network
        for name, driver in _PREDEFINED.items():
            network_id = predefined_id(name)
            if network_id not in self._networks:
                self._networks[network_id] = await self._predefined(name, driver)

    async def _predefined(self, name: str, driver: str) -> Network:
        network = Network(id=predefined_id(name))
        network.spec.annotations.name = name
        network.spec.scope = "local"
        network.spec.driver.name = network.driver_state.name = driver
        set_now(network.meta.created_at)
        if name == BRIDGE:
            network.spec.driver.options[options.NAME] = BRIDGE_INTERFACE
            try:
                subnet = ipam.choose([*await self._taken(), *self.subnets()])
            except ResourceExhausted as error:  # only who needs it has to know
                log.warning("network %s takes no containers: %s", name, error)
                return network
            network.ipam.configs.append(ipam.resolve(_config(str(subnet))))
        return network

    async def keep(self, network_id: str) -> None:
        """Write down a predefined network whose subnet is used from now on. Raises OSError."""
        if self._path(network_id).exists():
            return
        async with self._changing:  # the first containers of a host may start side by side
            if not self._path(network_id).exists():
                await asyncio.to_thread(self._write, self._networks[network_id])

    # what there is
    def list(self) -> Sequence[Network]:
        """All, by name."""
        return sorted(self._networks.values(), key=lambda n: (n.spec.annotations.name, n.id))

    def get(self, reference: str) -> Network:
        """By id, name or unique prefix of an id, in that order. Raises NotFound, InvalidSpec."""
        if reference in self._networks:
            return self._networks[reference]
        for network in self._networks.values():
            if network.spec.annotations.name == reference:
                return network
        found = [n for i, n in self._networks.items() if reference and i.startswith(reference)]
        if len(found) > 1:
            raise InvalidSpec(
                f"{reference} is ambiguous: {len(found)} networks begin with it, use a longer id "
                "prefix"
            )
        if not found:
            raise NotFound(f"network {reference} not found")
        return found[0]

    def in_use(self, reference: str) -> Sequence[str]:
        """The ids of the sandboxes on a network. Raises NotFound."""
        return self._users(self.get(reference).id)

    def subnets(self) -> Sequence[ipam.Subnet]:
        """Of all networks."""
        return [s for network in self._networks.values() for s in ipam.parse(network.ipam.configs)]

    def give(self, network: Network, version: int, asked: str, used: Collection[str]) -> str:
        """An address on a network: the one that is asked for, or the next that is free.

        Raises InvalidSpec, AlreadyExists, ResourceExhausted.
        """
        config = ipam.of_version(network.ipam.configs, version)
        if config is None:
            raise InvalidSpec(f"network {network.spec.annotations.name} has no IPv{version} subnet")
        if asked:
            return ipam.check(config, asked, used, network.spec.annotations.name)
        key = (network.id, version)
        self._last[key] = ipam.next_free(config, used, self._last.get(key))
        return self._last[key]

    # changes
    async def create(self, spec: NetworkSpec) -> Network:
        """A new network, on disk when this returns; nothing of it is in the kernel yet.

        Raises InvalidSpec, AlreadyExists for a name, FailedPrecondition for a subnet that
        overlaps another network's, ResourceExhausted.
        """
        async with self._changing:
            network = await self._plan(spec)
            await asyncio.to_thread(self._write, network)
            self._networks[network.id] = network
            return network

    async def realize(self, shared: Network) -> None:
        """Have this host's side of a network of the managers; safe when it is there.

        Raises NotFound for a configuration that this host has not, and what `create` raises.
        """
        if shared.id in self._networks:
            return
        name, source = shared.spec.annotations.name, shared.spec.config_from
        async with self._changing:
            if shared.id in self._networks:
                return
            if source and all(n.spec.annotations.name != source for n in self._networks.values()):
                raise NotFound(
                    f"network {name}: this host has no configuration {source}: make it with"
                    f" `network create --config-only ... {source}`"
                )
            spec = NetworkSpec()
            spec.CopyFrom(shared.spec)
            network = await self._plan(spec, shared.id)
            network.spec.scope = "swarm"
            await asyncio.to_thread(self._write, network)
            self._networks[network.id] = network

    def realized(self) -> Sequence[Network]:
        """Those that are this host's side of a network of the managers."""
        return [n for n in self._networks.values() if n.spec.scope == "swarm"]

    async def _plan(self, spec: NetworkSpec, network_id: str = "") -> Network:
        name, driver = spec.annotations.name, spec.driver.name or "bridge"
        if not _NAME.fullmatch(name):
            raise InvalidSpec(
                f"network name: {name[:60]!r} may have letters, digits, _, ., - and spaces within, "
                "a letter or digit first"
            )
        if any(n.spec.annotations.name == name for n in self._networks.values()):
            raise AlreadyExists(f"network with name {name} already exists")
        network = Network(id=network_id or secrets.token_hex(32), spec=spec)
        network.spec.scope = "local"
        set_now(network.meta.created_at)
        if spec.config_only:
            network.spec.driver.name = network.driver_state.name = "null"
            return network
        if spec.config_from:
            self._inherit(network, spec.config_from)
        if driver not in DRIVERS:
            raise InvalidSpec(f"network driver {driver!r}: use {', '.join(DRIVERS)}, or overlay")
        network.spec.driver.name = network.driver_state.name = driver
        parsed = options.parse(driver, network.spec.driver.options)
        self._interface_free(parsed)
        if network.spec.ipv6_enabled and 0 < parsed.mtu < ipam.MIN_MTU6:
            raise InvalidSpec(f"-o {options.MTU}: {parsed.mtu} is too small for --ipv6, use 1280")
        await self._addresses(network)
        return network

    def _inherit(self, network: Network, source: str) -> None:
        origin = self.get(source)
        if not origin.spec.config_only:
            raise InvalidSpec(f"--config-from {source}: is not a configuration-only network")
        network.spec.config_from = origin.spec.annotations.name  # `source` may be an id
        network.spec.driver.options.update(origin.spec.driver.options)
        network.spec.ipam.CopyFrom(origin.spec.ipam)
        network.spec.ipv6_enabled |= origin.spec.ipv6_enabled
        network.spec.internal |= origin.spec.internal

    def _interface_free(self, parsed: options.Options) -> None:
        if not parsed.interface:
            return
        for other in self._networks.values():
            if other.spec.driver.options.get(options.NAME) == parsed.interface:
                name = other.spec.annotations.name
                raise AlreadyExists(f"-o {options.NAME}: {parsed.interface} belongs to {name}")

    async def _addresses(self, network: Network) -> None:
        known = {
            subnet: other.spec.annotations.name
            for other in self._networks.values()
            for subnet in ipam.parse(other.ipam.configs)
        }
        for config in network.spec.ipam.configs:
            if not config.subnet:
                raise InvalidSpec("--gateway, --ip-range and --aux-address need a --subnet")
            made = ipam.resolve(config)
            subnet = ipaddress.ip_network(made.subnet)
            if (other := ipam.overlapping(subnet, known)) is not None:
                raise FailedPrecondition(
                    f"--subnet {subnet} overlaps {other} of network {known[other]}"
                )
            if ipam.of_version(network.ipam.configs, subnet.version) is not None:
                raise InvalidSpec(f"--subnet {subnet}: one IPv{subnet.version} subnet a network")
            if subnet.version == 6 and not network.spec.ipv6_enabled:
                raise InvalidSpec(f"--subnet {subnet}: an IPv6 subnet needs --ipv6")
            network.ipam.configs.append(made)
        if ipam.of_version(network.ipam.configs, 4) is None:
            chosen = ipam.choose([*await self._taken(), *known])
            network.ipam.configs.append(ipam.resolve(_config(str(chosen))))
        if network.spec.ipv6_enabled and ipam.of_version(network.ipam.configs, 6) is None:
            chosen6 = ipam.choose6(network.id)
            network.ipam.configs.append(ipam.resolve(_config(str(chosen6))))

    async def remove(self, reference: str) -> Network:
        """Take a network away, the kernel's part first. Raises NotFound, FailedPrecondition."""
        network = self.get(reference)
        name = network.spec.annotations.name
        if name in _PREDEFINED:
            raise FailedPrecondition(f"{name} is a pre-defined network and cannot be removed")
        async with self._changing:
            users = self._users(network.id)
            if users:
                raise FailedPrecondition(
                    f"network {name} is in use by {len(users)} container"
                    f"{'s' if len(users) > 1 else ''}: remove or disconnect them first"
                )
            for other in self._networks.values():
                if other.spec.config_from == name:
                    raise FailedPrecondition(
                        f'configuration network "{name}" is in use by network'
                        f" {other.spec.annotations.name}: remove that first"
                    )
            await self._drop(network.id)
            self._networks.pop(network.id, None)
            await asyncio.to_thread(self._unlink, network.id)
        return network

    # the disk
    def _path(self, network_id: str) -> Path:
        return self._directory / f"{network_id}.json"

    def _write(self, network: Network) -> None:
        data = json.dumps(json_format.MessageToDict(network), indent=1).encode()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write(self._path(network.id), data)

    def _unlink(self, network_id: str) -> None:
        durable.remove(self._path(network_id))


def predefined_id(name: str) -> str:
    """The id of `bridge`, `host` or `none`, the same on every host."""
    return hashlib.sha256(f"swarmlite network {name}".encode()).hexdigest()


def _config(subnet: str) -> IPAMConfig:
    return IPAMConfig(subnet=subnet)
