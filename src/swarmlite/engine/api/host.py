"""The `Host` service: this host as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from swarmlite import rpc
from swarmlite.engine.api.images import ImagesService
from swarmlite.engine.api.volumes import VolumesService
from swarmlite.engine.engine import Engine
from swarmlite.errors import InvalidSpec
from swarmlite.proto import host_pb2 as pb
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.control_pb2 import Empty
from swarmlite.proto.host_pb2_grpc import HostServicer

Context = Any  # grpc.aio.ServicerContext, which has no types
USAGE_TYPES = ("container", "image", "volume")
LOG_DRIVERS = ("journald", "json-file", "local", "none", "syslog")
SECURITY_OPTIONS = ("name=seccomp,profile=builtin", "name=cgroupns")
NETWORK_DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")

STORAGE_DRIVERS = {"overlay": "overlay2", "copying": "vfs"}
"""Docker's names of what does the same, which scripts ask for."""


class HostService(HostServicer):
    """See host.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, engine: Engine, info: Callable[[], pb.HostInfo]) -> None:
        """`info` is the node's part of `Info`; counts are added here."""
        self._engine, self._info = engine, info

    async def Info(self, request: Empty, context: Context) -> pb.HostInfo:
        """The node, and what it lacks."""
        info = self._info()
        for record in self._engine.records:
            if record.state.status == ContainerState.PAUSED:
                info.containers_paused += 1
            elif record.active:
                info.containers_running += 1
            else:
                info.containers_stopped += 1
        info.images = len(self._engine.storage.images.list())
        driver = self._engine.storage.snapshots.driver
        info.storage_driver = STORAGE_DRIVERS.get(driver, driver)
        info.log_drivers.extend(LOG_DRIVERS)
        info.network_drivers.extend(NETWORK_DRIVERS)
        info.security_options.extend(SECURITY_OPTIONS)
        return info

    async def DiskUsage(
        self, request: pb.DiskUsageRequest, context: Context
    ) -> pb.DiskUsageResponse:
        """What images, containers and volumes take. Raises InvalidSpec for an unknown type."""
        if unknown := set(request.types) - set(USAGE_TYPES):
            known = ", ".join(USAGE_TYPES)
            raise InvalidSpec(f"unknown type {min(unknown)!r}: expected one of {known}")
        types = set(request.types) or set(USAGE_TYPES)
        response = pb.DiskUsageResponse()
        if "image" in types:
            await self._images_usage(response)
        if "container" in types:
            for record in self._engine.records:
                message = self._engine.inspection.summary(record)
                await self._engine.inspection.add_sizes(record, message)
                response.containers.append(message)
        if "volume" in types:
            service = VolumesService(self._engine.storage, self._engine.events)
            volumes = self._engine.storage.volumes
            for volume in await asyncio.to_thread(volumes.list):
                local = service.local(volume)
                local.size_bytes = await asyncio.to_thread(volumes.size, volume.name)
                response.volumes.append(local)
        return response

    async def _images_usage(self, response: pb.DiskUsageResponse) -> None:
        images = self._engine.storage.images
        service = ImagesService(self._engine)
        usage = images.usage()
        response.images.extend(service.local(image) for image in images.list())
        response.layers_bytes = usage.size_bytes + usage.blob_bytes
        response.images_reclaimable_bytes = usage.reclaimable_bytes

    async def Events(
        self, request: pb.EventsRequest, context: Context
    ) -> AsyncIterator[pb.HostEvent]:
        """What happens, and what is remembered."""
        with self._engine.events.listen(
            since=request.since if request.HasField("since") else None,
            until=request.until if request.HasField("until") else None,
            filters=request.filters,
        ) as events:
            await context.send_initial_metadata(rpc.BEGUN)
            async for event in events:
                yield event
