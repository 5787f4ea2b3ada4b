"""The seam to the managers' networks: places on attachable ones, for plain containers."""

from __future__ import annotations

from typing import Protocol

from swarmlite.engine.records import Record
from swarmlite.errors import NotFound
from swarmlite.proto.containers_pb2 import EndpointConfig
from swarmlite.proto.types_pb2 import NetworkAttachment


class ClusterNetworks(Protocol):
    """Asks managers; the agent gives the engine one while its node is in a swarm."""

    async def attach(
        self, record: Record, hostname: str, wanted: EndpointConfig
    ) -> NetworkAttachment:
        """A place, which the network room knows of when this returns; safe to repeat.

        Raises NotFound, FailedPrecondition for a network that is not attachable, AlreadyExists for
        an address, Unavailable without a manager.
        """

    async def detach(self, record: Record, network: str = "") -> None:
        """Give a place back, or with no network all of them; safe to repeat, also offline."""


class NoCluster:
    """Of a host that is in no swarm."""

    async def attach(
        self, record: Record, hostname: str, wanted: EndpointConfig
    ) -> NetworkAttachment:
        """There is nobody to ask."""
        raise NotFound(f"network {wanted.network} not found")

    async def detach(self, record: Record, network: str = "") -> None:
        """There is nothing to give back."""
