"""The `HostNetworks` service: the networks of this host, and who is on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swarmlite.engine import prune
from swarmlite.engine.api.containers import to_the_end
from swarmlite.engine.engine import Engine
from swarmlite.engine.events import nanoseconds
from swarmlite.errors import InvalidSpec, NotFound, SwarmliteError
from swarmlite.network.api import BRIDGE, HOST, NONE
from swarmlite.proto import hostnetworks_pb2 as pb
from swarmlite.proto.containers_pb2 import PruneRequest, PruneResponse
from swarmlite.proto.control_pb2 import Empty, GetRequest, ListRequest, RemoveRequest
from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksServicer
from swarmlite.proto.objects_pb2 import Network

Context = Any  # grpc.aio.ServicerContext, which has no types
PREDEFINED = (BRIDGE, HOST, NONE)
KEYS = ("dangling", "driver", "id", "label", "name", "scope", "type")


class HostNetworksService(HostNetworksServicer):
    """See hostnetworks.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, engine: Engine) -> None:
        """`engine` has the containers, and the network room."""
        self._engine, self._networks = engine, engine.network.networks

    async def Create(
        self, request: pb.CreateHostNetworkRequest, context: Context
    ) -> pb.CreateHostNetworkResponse:
        """A network of this host."""
        network = await to_the_end(self._networks.create(request.spec))
        self._tell("create", network)
        return pb.CreateHostNetworkResponse(network=network)

    async def Inspect(self, request: GetRequest, context: Context) -> pb.HostNetwork:
        """One, with its containers."""
        return self._shown(self._networks.get(request.ref))

    async def List(self, request: ListRequest, context: Context) -> pb.ListHostNetworksResponse:
        """All that pass: any of a key's values, all of `label`'s."""
        groups = [
            (all if entry.key == "label" else any, [_test(entry.key, v) for v in entry.values])
            for entry in request.filters
        ]
        shown = [self._shown(network) for network in self._networks.list()]
        return pb.ListHostNetworksResponse(
            networks=[
                network
                for network in shown
                if all(combine(test(network) for test in tests) for combine, tests in groups)
            ]
        )

    def _shown(self, network: Network) -> pb.HostNetwork:
        shown = pb.HostNetwork(
            network=network, predefined=network.spec.annotations.name in PREDEFINED
        )
        for record in self._engine.records:
            for state in record.message.networks:
                if state.network_id == network.id and record.active:
                    shown.containers[record.id].CopyFrom(state)
                    shown.container_names[record.id] = record.name
        return shown

    async def Remove(self, request: RemoveRequest, context: Context) -> Empty:
        """One that no container is on."""
        self._tell("destroy", await to_the_end(self._networks.remove(request.ref)))
        return Empty()

    async def Connect(self, request: pb.ConnectRequest, context: Context) -> Empty:
        """Put a container on a network."""
        record = self._engine.records.find(request.container)
        await to_the_end(self._engine.connections.connect(record, request.endpoint))
        return Empty()

    async def Disconnect(self, request: pb.DisconnectRequest, context: Context) -> Empty:
        """Take it off; with force a container that is gone already is no error."""
        try:
            record = self._engine.records.find(request.container)
        except NotFound:
            if request.force:
                return Empty()
            raise
        await to_the_end(self._engine.connections.disconnect(record, request.network))
        return Empty()

    async def Prune(self, request: PruneRequest, context: Context) -> PruneResponse:
        """Remove those that no container is on."""
        tests = [
            _prune_test(entry.key, value) for entry in request.filters for value in entry.values
        ]
        response = PruneResponse()
        for network in list(self._networks.list()):
            name = network.spec.annotations.name
            if name in PREDEFINED or not all(test(network) for test in tests):
                continue
            try:
                await to_the_end(self._networks.remove(network.id))
            except SwarmliteError:
                continue  # somebody is on it
            self._tell("destroy", network)
            response.deleted.append(name)
        self._engine.events.tell("network", "prune", "", {"reclaimed": "0"})
        return response

    def _tell(self, action: str, network: Network) -> None:
        attributes = {"name": network.spec.annotations.name, "type": network.spec.driver.name}
        self._engine.events.tell("network", action, network.id, attributes)


Test = Callable[[pb.HostNetwork], bool]


def _test(key: str, value: str) -> Test:
    """Docker's filters of `network ls`. Raises InvalidSpec."""
    if key == "dangling":
        wanted = prune.truth(key, value)
        return lambda n: (not n.containers and not n.predefined) == wanted
    if key == "type":
        if value not in ("custom", "builtin"):
            raise InvalidSpec(f"invalid filter 'type={value}': expected custom or builtin")
        return lambda n: n.predefined == (value == "builtin")
    tests: dict[str, Test] = {
        "driver": lambda n: n.network.spec.driver.name == value,
        "id": lambda n: n.network.id.startswith(value),
        "label": lambda n: _labelled(n.network, value),
        "name": lambda n: value in n.network.spec.annotations.name,
        "scope": lambda n: value == "local",
    }
    if key not in tests:
        raise InvalidSpec(f"invalid filter {key!r}: expected one of {', '.join(KEYS)}")
    return tests[key]


def _prune_test(key: str, value: str) -> Callable[[Network], bool]:
    if key == "until":
        before = prune.until_ns(value)
        return lambda network: nanoseconds(network.meta.created_at) < before
    if key == "label":
        return lambda network: _labelled(network, value)
    if key == "label!":
        return lambda network: not _labelled(network, value)
    raise InvalidSpec(f"invalid filter {key!r}: expected one of label, label!, until")


def _labelled(network: Network, value: str) -> bool:
    name, separator, wanted = value.partition("=")
    labels = network.spec.annotations.labels
    return name in labels and (not separator or labels[name] == wanted)
