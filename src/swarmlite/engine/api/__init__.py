"""What the engine answers on the host's own unix socket: one module a gRPC service."""

from __future__ import annotations

from collections.abc import Callable

import grpc.aio

from swarmlite.engine.api.containers import ContainersService
from swarmlite.engine.api.host import HostService
from swarmlite.engine.api.images import ImagesService
from swarmlite.engine.api.volumes import VolumesService
from swarmlite.engine.exits import SupervisorLink
from swarmlite.proto.containers_pb2_grpc import add_ContainersServicer_to_server
from swarmlite.proto.host_pb2 import HostInfo
from swarmlite.proto.host_pb2_grpc import add_HostServicer_to_server
from swarmlite.proto.images_pb2_grpc import add_ImagesServicer_to_server
from swarmlite.proto.volumes_pb2_grpc import add_VolumesServicer_to_server
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.volumes.store import VolumeStore


def add_services(
    server: grpc.aio.Server,
    *,
    images: ImageStore,
    volumes: VolumeStore,
    supervisor: SupervisorLink,
    info: Callable[[], HostInfo],
) -> None:
    """Let `server` answer for the engine; `info` is the node's part of `Host.Info`."""
    add_ContainersServicer_to_server(ContainersService(supervisor), server)  # type: ignore[abstract]
    add_ImagesServicer_to_server(ImagesService(images, supervisor), server)  # type: ignore[abstract]
    add_VolumesServicer_to_server(VolumesService(volumes, supervisor), server)  # type: ignore[abstract]
    add_HostServicer_to_server(HostService(images, supervisor, info), server)  # type: ignore[abstract]
