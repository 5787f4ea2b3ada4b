"""One network as two sides know it: the swarm's managers and this host."""

from __future__ import annotations

from dataclasses import dataclass

from swarmlite.proto.hostnetworks_pb2 import HostNetwork
from swarmlite.proto.objects_pb2 import Network


@dataclass(frozen=True)
class Sides:
    """As the swarm has it, as this host has it, or both; one at least."""

    swarm: Network | None
    host: HostNetwork | None

    @property
    def network(self) -> Network:
        """Its object; the swarm's says more."""
        if self.swarm is not None:
            return self.swarm
        assert self.host is not None
        return self.host.network

    @property
    def id(self) -> str:
        """Its id."""
        return self.network.id

    @property
    def name(self) -> str:
        """Its name."""
        return self.network.spec.annotations.name
