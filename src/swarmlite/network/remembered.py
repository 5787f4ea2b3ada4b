"""What the managers said of networks last, on disk: an agent that starts while no manager answers
still answers names, balances and repairs as before.

Shape: one `Assignments` message, COMPLETE, of network, endpoint and virtual_service items only,
with the node's id as `results_in`; replaced as a whole, a moment behind. Nothing in it is
secret, and the first COMPLETE set of a session replaces all of it. The view is the only copy in
memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from swarmlite.kernel import durable
from swarmlite.network.view import Touched, View
from swarmlite.proto.dispatcher_pb2 import Assignments, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network

WRITE_BEHIND_S = 0.1
SHARE = 20
"""At most one part in so many of the time goes to writing: what is large is written less often."""


@dataclass(frozen=True)
class _Items:
    networks: list[Network]
    endpoints: list[Endpoint]
    services: list[VirtualService]

    def message(self, node_id: str) -> bytes:
        message = Assignments(type=Assignments.COMPLETE, results_in=node_id)
        for network in self.networks:
            message.changes.add().network.CopyFrom(network)
        for endpoint in self.endpoints:
            message.changes.add().endpoint.CopyFrom(endpoint)
        for service in self.services:
            message.changes.add().virtual_service.CopyFrom(service)
        return message.SerializeToString()


class Remembered:
    """Follows a view, and writes it behind; one event loop's."""

    def __init__(self, path: Path, view: View) -> None:
        """Nothing is read before `load`."""
        self._path, self._view = path, view
        self._dirty = asyncio.Event()

    def load(self) -> Touched | None:
        """Fill the view with what was written last; None when there is nothing of this node's."""
        try:
            message = Assignments.FromString(self._path.read_bytes())
        except (OSError, DecodeError):
            return None
        if message.results_in != self._view.node_id or not message.changes:
            return None
        return self._view.take(message.changes)

    def changed(self) -> None:
        """The view is not as it was written any longer."""
        self._dirty.set()

    async def write_next(self) -> None:
        """Wait for a change, and write it soon. Raises OSError."""
        await self._dirty.wait()
        await asyncio.sleep(WRITE_BEHIND_S)
        self._dirty.clear()
        started = time.monotonic()
        if self._view.node_id:
            # Messages are never changed: off the loop, which a large cluster's would hold up.
            node_id, view = self._view.node_id, self._view
            items = _Items(
                list(view.networks.values()),
                list(view.all_endpoints()),
                list(view.services.values()),
            )
            await asyncio.to_thread(lambda: self._write(items.message(node_id)))
        await asyncio.sleep((time.monotonic() - started) * SHARE)

    def _write(self, data: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # After a power cut there are no containers to serve: it need not have reached the disk.
        durable.write(self._path, data, sync=False)

    def forget(self) -> None:
        """This node is in no swarm any longer: nothing is written any more."""
        self._view.node_id = ""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
