"""The `Volumes` service: this host's volumes."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.errors import InvalidSpec
from swarmlite.proto import volumes_pb2 as pb
from swarmlite.proto.control_pb2 import Empty, ListRequest
from swarmlite.proto.volumes_pb2_grpc import VolumesServicer
from swarmlite.storage.volumes.store import Volume, VolumeStore

Context = Any  # grpc.aio.ServicerContext, which has no types


class VolumesService(VolumesServicer):
    """See volumes.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, store: VolumeStore) -> None:
        """`store` is the host's; leases say which volumes containers use."""
        self._volumes = store

    async def List(self, request: ListRequest, context: Context) -> pb.ListVolumesResponse:
        """Every volume; filters name and label."""
        volumes = [local_volume(volume) for volume in self._volumes.list()]
        return pb.ListVolumesResponse(
            volumes=[volume for volume in volumes if _volume_matches(volume, request)]
        )

    async def Create(self, request: pb.LocalVolume, context: Context) -> pb.LocalVolume:
        """A volume of the local driver."""
        volume = await asyncio.to_thread(
            self._volumes.create,
            request.name,
            driver=request.driver or "local",
            labels=dict(request.labels),
            options=dict(request.options),
        )
        return local_volume(volume)

    async def Remove(self, request: pb.RemoveVolumeRequest, context: Context) -> Empty:
        """A volume that no container uses."""
        await asyncio.to_thread(self._volumes.remove, request.ref)
        return Empty()


def local_volume(volume: Volume) -> pb.LocalVolume:
    """A volume as clients see it."""
    return pb.LocalVolume(
        name=volume.name,
        driver=volume.driver,
        mountpoint=str(volume.mountpoint),
        labels=volume.labels,
        options=volume.options,
        created=Timestamp(seconds=int(volume.created)),
    )


def _volume_matches(volume: pb.LocalVolume, request: ListRequest) -> bool:
    for entry in request.filters:
        if entry.key == "name":
            held = any(value in volume.name for value in entry.values)
        elif entry.key == "label":
            pairs = {f"{key}={value}" for key, value in volume.labels.items()}
            held = any(value in pairs or value in volume.labels for value in entry.values)
        else:
            raise InvalidSpec(f"invalid filter {entry.key!r}: expected name or label")
        if not held:
            return False
    return True
