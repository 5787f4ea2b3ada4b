"""The networks that this node knows: its own, and on a manager those of the swarm."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from swarmlite.docker import network as shapes
from swarmlite.docker.networksides import Sides
from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.gateway.backends import Backends
from swarmlite.gateway.errors import Refused
from swarmlite.model import task_states
from swarmlite.model.references import PREDEFINED_NETWORKS, network_targets
from swarmlite.proto.containers_pb2 import ListContainersRequest
from swarmlite.proto.control_pb2 import ListRequest, ListTasksRequest


class Found(Sides):
    """One network: of the swarm or of this host."""

    @property
    def reference(self) -> str:
        """What the engine knows it by."""
        return self.name if self.swarm is not None else self.id

    @property
    def scope(self) -> str:
        """swarm or local."""
        return "swarm" if self.swarm is not None else "local"

    def shown(self) -> Json:
        """In Docker's shape."""
        if self.swarm is not None:
            return {**shapes.inspect(self.swarm), "Containers": {}, "Scope": "swarm"}
        assert self.host is not None
        return shapes.inspect_host(self.host)


class Known:
    """All of them, as of one moment."""

    def __init__(self, backends: Backends, found: Sequence[Found]) -> None:
        """`of` asks for them."""
        self._backends, self.all = backends, found

    @classmethod
    async def of(cls, backends: Backends) -> Known:
        """Ask the engine and, on a manager, the manager."""
        local = (await backends.host_networks.List(ListRequest())).networks
        found = [Found(None, each) for each in local]
        if backends.manager is not None:
            swarm = (await backends.manager.ListNetworks(ListRequest())).networks
            found = [*(Found(each, None) for each in swarm), *found]
        return cls(backends, found)

    def find(self, ref: str, scope: str = "") -> Found:
        """By id, name or unique prefix of an id, in that order. Raises NotFound, InvalidSpec.

        The networks that every node has are of the swarm too: services can be on them.
        """
        among = [
            found
            for found in self.all
            if scope in ("", found.scope)
            or (scope == "swarm" and found.name in PREDEFINED_NETWORKS)
        ]
        by_prefix = [found for found in among if found.id.startswith(ref)]
        for matching, how in (
            ([found for found in among if found.id == ref], "id"),
            ([found for found in among if found.name == ref], "name"),
            (by_prefix, "id prefix"),
        ):
            if len(matching) > 1:
                raise InvalidSpec(
                    f"network {ref} is ambiguous ({len(matching)} matches found based on {how})"
                )
            if matching:
                return matching[0]
        raise NotFound(f"network {ref} not found")

    def check_free(self, name: str) -> None:
        """Raise Refused (409) for a name that a network has."""
        if any(found.name == name for found in self.all):
            raise Refused(409, f"network with name {name} already exists")

    async def used(self) -> Collection[str]:
        """Ids of those that a container of this host, a service or a task is on."""
        mine = await self._backends.containers.List(ListContainersRequest(all=True))
        used = {place.network_id for container in mine.containers for place in container.networks}
        used |= {found.id for found in self.all if found.host and found.host.containers}
        manager = self._backends.manager
        if manager is not None:
            services = (await manager.ListServices(ListRequest())).services
            tasks = (await manager.ListTasks(ListTasksRequest())).tasks
            for service in services:
                used |= network_targets(service.spec.task)
            for task in tasks:
                if not task_states.is_terminal(task.status.state):
                    used |= {place.network_id for place in task.networks}
        return used
