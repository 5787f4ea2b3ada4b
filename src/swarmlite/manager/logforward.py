"""Logs of nodes whose sessions other managers hold: asked for there, one call a manager."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from swarmlite import rpc
from swarmlite.proto.control_pb2 import LogsRequest, LogsResponse
from swarmlite.proto.control_pb2_grpc import ControlStub

from .store.tables import Tables

Forward = Callable[[str, LogsRequest], AsyncIterator[LogsResponse]]
"""Asks the manager at an address. Raises swarmlite's errors."""


def forwarder(certificates_dir: Path) -> Forward:
    """As this manager, by the certificate that is there at each call."""

    async def ask(address: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        channel = rpc.secure_channel([address], certificates_dir)
        call: Any = None
        try:
            with rpc.translated(f"manager {address}"):
                call = ControlStub(channel).ServiceLogs(request)
                async for response in call:
                    yield response
        finally:
            if call is not None:
                call.cancel()
            await channel.close()

    return ask


def holders(view: Tables, node_ids: Iterable[str], own_id: str) -> dict[str, list[str]]:
    """Which nodes' sessions are held where: by the address of another manager."""
    found: dict[str, list[str]] = {}
    for node_id in node_ids:
        node = view.nodes.get(node_id)
        if node is None or node.status.manager_id in ("", own_id):
            continue
        holder = view.nodes.get(node.status.manager_id)
        if holder is not None and holder.manager_status.addr:
            found.setdefault(holder.manager_status.addr, []).append(node_id)
    return found
