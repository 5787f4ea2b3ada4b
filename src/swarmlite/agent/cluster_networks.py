"""Places of plain containers on the managers' attachable networks: asked for, held, given back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import grpc.aio

from swarmlite import rpc
from swarmlite.engine.records import Record
from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.network.node import NodeNetwork
from swarmlite.proto.containers_pb2 import EndpointConfig
from swarmlite.proto.dispatcher_pb2 import (
    AssignmentChange,
    AttachContainerRequest,
    AttachContainerResponse,
    DetachContainerRequest,
    HeldAttachment,
)
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub
from swarmlite.proto.types_pb2 import NetworkAttachment

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 20.0


class SessionNetworks:
    """engine.ClusterNetworks, by the manager that this node has a session with.

    What is held is sent with each session's hello; what is not sent managers take back, so a place
    that could not be given back is not lost.
    """

    def __init__(
        self,
        connected_to: Callable[[], str],
        channel: Callable[[str], grpc.aio.Channel],
        network: NodeNetwork,
        records: Iterable[Record],
    ) -> None:
        """`connected_to` is the manager's address, empty without one."""
        self._connected_to, self._channel = connected_to, channel
        self._network, self._records = network, records
        self._asked: set[tuple[str, str]] = set()

    async def attach(
        self, record: Record, hostname: str, wanted: EndpointConfig
    ) -> NetworkAttachment:
        """See engine.ClusterNetworks."""
        address = self._connected_to()
        if not address:
            raise Unavailable(f"network {wanted.network}: no manager answers; try again")
        request = AttachContainerRequest(
            network=wanted.network,
            container_id=record.id,
            container_name=record.name,
            hostname=hostname,
            aliases=wanted.aliases,
            addresses=[a for a in (wanted.ipv4_address, wanted.ipv6_address) if a],
        )
        pending = (record.id, wanted.network)
        self._asked.add(pending)
        try:
            response = await self._attach(address, request)
            network = response.network
            self._asked.add((record.id, network.id))  # until the record says it
            await self._network.apply([AssignmentChange(network=network)])
        finally:
            self._asked.discard(pending)
        return response.attachment

    async def _attach(
        self, address: str, request: AttachContainerRequest
    ) -> AttachContainerResponse:
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                response: AttachContainerResponse = await DispatcherStub(channel).AttachContainer(
                    request, timeout=CALL_TIMEOUT_S
                )
                return response
        finally:
            await channel.close()

    async def detach(self, record: Record, network: str = "") -> None:
        """See engine.ClusterNetworks."""
        self._asked = {
            held for held in self._asked if held[0] != record.id or network not in ("", held[1])
        }
        address = self._connected_to()
        if not address:
            return
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                await DispatcherStub(channel).DetachContainer(
                    DetachContainerRequest(container_id=record.id, network=network),
                    timeout=CALL_TIMEOUT_S,
                )
        except SwarmliteError as error:  # the next hello does not name it
            log.warning("place not given back container=%s error=%s", record.id, error)
        finally:
            await channel.close()

    def held(self) -> list[HeldAttachment]:
        """Every place that a container of this host has, or has been asked for."""
        own = {network.id for network in self._network.networks.list()}
        places = {
            (record.id, state.network_id)
            for record in self._records
            if not record.of_task
            for state in record.message.networks
            if state.network_id not in own
        }
        return [
            HeldAttachment(container_id=container, network_id=network)
            for container, network in sorted(places | self._asked)
        ]
