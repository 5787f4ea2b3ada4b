"""What the managers last said of networks, on disk: an agent that starts while no manager answers
still answers names, balances and repairs as before.

Shape: one `Assignments` message, COMPLETE, of network, endpoint and virtual_service items only,
with the node's id as `results_in`; replaced as a whole, some seconds behind. Nothing in it is
secret, and the first COMPLETE set of a session replaces all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError

from swarmlite.agent.assignments import AssignmentSet, Delta
from swarmlite.kernel import durable
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Assignments, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network

T = TypeVar("T")
log = logging.getLogger(__name__)

WRITE_BEHIND_S = 3.0


class NetworkMemory:
    """Follows the deltas that the network was given, and writes them behind."""

    def __init__(self, path: Path, node_id: str) -> None:
        """Nothing is read before `load`."""
        self._path, self._node_id = path, node_id
        self._networks: dict[str, Network] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._services: dict[str, VirtualService] = {}
        self._dirty = asyncio.Event()

    def load(self) -> Delta | None:
        """What was written last as a COMPLETE delta; None when there is nothing of this node's."""
        try:
            message = Assignments.FromString(self._path.read_bytes())
        except (OSError, DecodeError):
            return None
        if message.results_in != self._node_id or not message.changes:
            return None
        delta = AssignmentSet().receive(message)
        if delta is not None:
            self.take(delta)
            self._dirty.clear()
        return delta

    def take(self, delta: Delta) -> None:
        """The network was given this."""
        if delta.complete:
            self._networks = dict(delta.networks)
            self._endpoints = dict(delta.endpoints)
            self._services = dict(delta.services)
        for change in delta.network_changes:
            self._change(change)
        if delta.complete or delta.network_changes:
            self._dirty.set()

    def _change(self, change: AssignmentChange) -> None:
        remove = change.action == AssignmentChange.REMOVE
        kind = change.WhichOneof("item")
        if kind == "network":
            _set(self._networks, change.network.id, None if remove else change.network)
        elif kind == "endpoint":
            _set(self._endpoints, change.endpoint.id, None if remove else change.endpoint)
        elif kind == "virtual_service":
            service = change.virtual_service
            _set(self._services, service.id, None if remove else service)

    async def run(self) -> None:
        """Writes what changed, at most every `WRITE_BEHIND_S`; ends by cancellation."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(WRITE_BEHIND_S)
            self._dirty.clear()
            try:
                await asyncio.to_thread(self._write, self._message())
            except OSError as error:  # an agent with managers needs none of it
                log.warning("networks not kept on disk error=%s", error)

    def _message(self) -> bytes:
        message = Assignments(type=Assignments.COMPLETE, results_in=self._node_id)
        for network in self._networks.values():
            message.changes.add().network.CopyFrom(network)
        for endpoint in self._endpoints.values():
            message.changes.add().endpoint.CopyFrom(endpoint)
        for service in self._services.values():
            message.changes.add().virtual_service.CopyFrom(service)
        return message.SerializeToString()

    def _write(self, data: bytes) -> None:
        durable.write(self._path, data)

    def forget(self) -> None:
        """This node is in no swarm any longer."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _set(items: dict[str, T], key: str, value: T | None) -> None:
    if value is None:
        items.pop(key, None)
    else:
        items[key] = value
