"""Putting containers on networks and taking them off, whether they run or not."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from swarmlite.engine import network_plan
from swarmlite.engine.cluster_networks import ClusterNetworks
from swarmlite.engine.container_events import NetworkEvent
from swarmlite.engine.lifecycle import Lifecycle
from swarmlite.engine.records import Record
from swarmlite.engine.steps import finished
from swarmlite.engine.steps.prepare import Network, hostname_of
from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    SwarmliteError,
)
from swarmlite.network.api import HOST, NONE, EndpointInfo
from swarmlite.network.node import NodeNetwork
from swarmlite.proto.containers_pb2 import ContainerState, EndpointConfig, EndpointState

log = logging.getLogger(__name__)

WITH_STACK = (ContainerState.RUNNING, ContainerState.PAUSED)


class Connections:
    """`network connect` and `disconnect`."""

    def __init__(
        self,
        network: NodeNetwork,
        place: Network,
        cluster: Callable[[], ClusterNetworks],
        lifecycle: Lifecycle,
        tell: NetworkEvent,
    ) -> None:
        """`place` says what a request is to the network room."""
        self._network, self._place, self._cluster = network, place, cluster
        self._lifecycle, self._tell = lifecycle, tell

    async def connect(self, record: Record, wanted: EndpointConfig) -> None:
        """At once if it runs, else from its next start on.

        Raises NotFound, AlreadyExists when it is on that network, FailedPrecondition, InvalidSpec.
        """
        async with record.lock:
            _check_own_stack(record)
            name = self._name_of(wanted.network)
            if self._wanted_for(record, name) is not None:
                raise AlreadyExists(f"container {record.name} is already on network {name}")
            chosen = EndpointConfig()
            chosen.CopyFrom(wanted)
            chosen.network = name
            if record.state.status in WITH_STACK:
                await finished(self._connect(record, chosen))
            record.message.wanted_networks.append(chosen)
            await self._lifecycle.records.save(record)

    async def _connect(self, record: Record, wanted: EndpointConfig) -> None:
        hostname = hostname_of(record, self._lifecycle.records.find)
        place = await self._place.place(record, hostname, wanted)
        info = await self._network.connect(record.id, place)
        names = network_plan.names_of(record, hostname)
        state = network_plan.endpoint_state(record.id, info, wanted, names)
        record.message.networks.append(state)
        _add_host(record, info, hostname)
        self._tell("connect", record, state)

    async def rename(self, record: Record, name: str) -> None:
        """Another name, by which it is found at once if it runs. Raises AlreadyExists, InvalidSpec.

        Where no manager answers, by its next start on their networks.
        """
        await self._lifecycle.rename(record, name)
        async with record.lock:
            message = record.message
            if record.of_task or record.state.status not in WITH_STACK or not message.networks:
                return
            hostname = hostname_of(record, self._lifecycle.records.find)
            names = network_plan.names_of(record, hostname)
            await finished(self._network.rename(record.id, names))
            await finished(self._tell_managers(record, hostname))
            for state in message.networks:
                aliases = self._aliases(record, state)
                del state.dns_names[:]
                state.dns_names.extend(dict.fromkeys([*names, *aliases]))
            await self._lifecycle.save(record)  # its name is on the disk already

    async def _tell_managers(self, record: Record, hostname: str) -> None:
        """Its places on their networks are asked for again, which gives them its names."""
        for wanted in record.message.wanted_networks:
            if self._is_of_host(wanted.network):
                continue
            try:
                await self._cluster().attach(record, hostname, wanted)
            except SwarmliteError as error:
                log.warning(
                    "not renamed container=%s network=%s error=%s",
                    *(record.id, wanted.network, error),
                )

    def _aliases(self, record: Record, state: EndpointState) -> list[str]:
        wanted = self._wanted_for(record, state.network_name)
        return list(wanted.aliases if wanted is not None else state.aliases)

    async def disconnect(self, record: Record, network: str) -> None:
        """At once if it runs. Raises NotFound, FailedPrecondition when it is not on it."""
        async with record.lock:
            _check_own_stack(record)
            name = self._name_of(network)
            wanted = self._wanted_for(record, name)
            state = next((s for s in record.message.networks if s.network_name == name), None)
            if wanted is None and state is None:
                raise FailedPrecondition(
                    f"container {record.id} is not connected to network {name}"
                )
            if state is not None and record.state.status in WITH_STACK:
                await finished(self._disconnect(record, state))
            if wanted is not None:
                record.message.wanted_networks.remove(wanted)
            await self._lifecycle.records.save(record)

    async def _disconnect(self, record: Record, state: EndpointState) -> None:
        await self._network.disconnect(record.id, state.network_id)
        if not self._is_of_host(state.network_id):
            await self._cluster().detach(record, state.network_id)
        _remove_host(record, state)
        self._tell("disconnect", record, state)
        record.message.networks.remove(state)

    def _wanted_for(self, record: Record, name: str) -> EndpointConfig | None:
        for wanted in record.message.wanted_networks:
            if wanted.network == name or self._name_of(wanted.network) == name:
                return wanted
        return None

    def _name_of(self, reference: str) -> str:
        """A host's network by its name; another's as it is written, for the managers know it."""
        if reference in (HOST, NONE):
            raise FailedPrecondition(
                "container cannot be disconnected from host network or connected to host network"
                if reference == HOST
                else "container cannot be connected to multiple networks with one of the networks "
                "in private (none) mode"
            )
        if not reference:
            raise InvalidSpec("the network is not named: give its name or id")
        try:
            return self._network.networks.get(reference).spec.annotations.name
        except NotFound:
            return reference

    def _is_of_host(self, network_id: str) -> bool:
        try:
            self._network.networks.get(network_id)
        except NotFound:
            return False
        return True


def _check_own_stack(record: Record) -> None:
    mode = network_plan.mode_of(record.config)
    if record.of_task:
        raise FailedPrecondition(
            f"container {record.name} is a task's: its networks are its service's"
        )
    if mode == HOST or mode.startswith(network_plan.JOINED):
        raise FailedPrecondition(
            "container sharing network namespace with another container or host cannot be "
            "connected to any other network"
        )
    if mode == NONE:
        raise FailedPrecondition(
            "container cannot be connected to multiple networks with one of the networks in "
            "private (none) mode"
        )


def _add_host(record: Record, info: EndpointInfo, hostname: str) -> None:
    """The file keeps its inode: it is mounted in the container."""
    line = f"{info.address.partition('/')[0]}\t{hostname}\n"
    _rewrite(record, lambda lines: [*lines, line])


def _remove_host(record: Record, state: EndpointState) -> None:
    address = state.ipv4_address.partition("/")[0]
    _rewrite(record, lambda lines: [line for line in lines if line.split()[:1] != [address]])


def _rewrite(record: Record, change: Callable[[list[str]], list[str]]) -> None:
    path = record.message.hosts_path
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "r+", encoding="utf-8", errors="surrogateescape") as file:
        lines = change(file.readlines())
        file.seek(0)
        file.truncate()
        file.writelines(lines)
