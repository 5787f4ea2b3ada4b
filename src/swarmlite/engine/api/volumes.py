"""The `Volumes` service: this host's volumes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.engine.api import selecting
from swarmlite.engine.container_mounts import CONTAINER_LABEL
from swarmlite.engine.events import Events
from swarmlite.engine.prune import truth
from swarmlite.engine.records import OWNER
from swarmlite.errors import NotFound
from swarmlite.proto import volumes_pb2 as pb
from swarmlite.proto.containers_pb2 import PruneRequest, PruneResponse
from swarmlite.proto.control_pb2 import Empty, GetRequest, ListRequest
from swarmlite.proto.volumes_pb2_grpc import VolumesServicer
from swarmlite.storage.host import Storage
from swarmlite.storage.volumes.store import Volume

Context = Any  # grpc.aio.ServicerContext, which has no types
LIST_KEYS = ("dangling", "driver", "label", "name")
PRUNE_KEYS = ("all", "label", "label!")


class VolumesService(VolumesServicer):
    """See volumes.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, storage: Storage, events: Events) -> None:
        """Both are the host's; leases say which volumes containers use."""
        self._volumes, self._leases, self._events = storage.volumes, storage.leases, events

    async def List(self, request: ListRequest, context: Context) -> pb.ListVolumesResponse:
        """Every volume that passes."""
        wanted = selecting.values(request.filters, LIST_KEYS)
        has_labels = selecting.labels(wanted)
        dangling = [truth("dangling", value) for value in wanted.get("dangling", [])]
        found = [self.local(volume) for volume in await asyncio.to_thread(self._volumes.list)]
        return pb.ListVolumesResponse(
            volumes=[v for v in found if has_labels(v.labels) and _passes(v, wanted, dangling)]
        )

    async def Create(self, request: pb.LocalVolume, context: Context) -> pb.LocalVolume:
        """A volume of the local driver."""
        known = bool(request.name) and request.name in self._volumes
        volume = await asyncio.to_thread(
            self._volumes.create,
            request.name,
            driver=request.driver or "local",
            labels=dict(request.labels),
            options=dict(request.options),
        )
        if not known:
            self._events.tell("volume", "create", volume.name, {"driver": volume.driver})
        return self.local(volume)

    async def Inspect(self, request: GetRequest, context: Context) -> pb.LocalVolume:
        """One volume."""
        return self.local(await asyncio.to_thread(self._volumes.get, request.ref))

    async def Remove(self, request: pb.RemoveVolumeRequest, context: Context) -> Empty:
        """A volume that no container uses."""
        try:
            volume = await asyncio.to_thread(self._volumes.get, request.ref)
        except NotFound:
            if request.force:
                return Empty()
            raise
        await asyncio.to_thread(self._volumes.remove, request.ref, force=request.force)
        self._events.tell("volume", "destroy", volume.name, {"driver": volume.driver})
        return Empty()

    async def Prune(self, request: PruneRequest, context: Context) -> PruneResponse:
        """Anonymous volumes that nothing uses, or with all=true named ones too."""
        wanted = selecting.values(request.filters, PRUNE_KEYS)
        gone, freed = await asyncio.to_thread(
            self._volumes.prune,
            named=any(truth("all", value) for value in wanted.get("all", [])),
            labels=selecting.labels(wanted),
        )
        for name in gone:
            self._events.tell("volume", "destroy", name, {"driver": "local"})
        self._events.tell("volume", "prune", "", {"reclaimed": str(freed)})
        return PruneResponse(deleted=gone, reclaimed_bytes=freed)

    def local(self, volume: Volume) -> pb.LocalVolume:
        """A volume as clients see it."""
        message = local_volume(volume)
        owners = self._leases.holders(volume=volume.name)
        message.used_by.extend(
            owner.removeprefix(OWNER) for owner in owners if owner.startswith(OWNER)
        )
        return message


def local_volume(volume: Volume) -> pb.LocalVolume:
    """A volume as clients see it, without who uses it."""
    return pb.LocalVolume(
        name=volume.name,
        driver=volume.driver,
        mountpoint=str(volume.mountpoint),
        labels={key: value for key, value in volume.labels.items() if key != CONTAINER_LABEL},
        options=volume.options,
        created=Timestamp(seconds=int(volume.created)),
        anonymous=volume.anonymous,
    )


def _passes(
    volume: pb.LocalVolume, wanted: Mapping[str, list[str]], dangling: Sequence[bool]
) -> bool:
    names, drivers = wanted.get("name"), wanted.get("driver")
    unused = not volume.used_by
    return (
        (not names or any(text in volume.name for text in names))
        and (not drivers or volume.driver in drivers)
        and all(unused == yes for yes in dangling)
    )
