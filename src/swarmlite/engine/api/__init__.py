"""What the engine answers on the host's own unix socket: one module a gRPC service."""

from __future__ import annotations

from collections.abc import Callable

import grpc.aio

from swarmlite.engine.api.containers import ContainersService
from swarmlite.engine.api.host import HostService
from swarmlite.engine.api.hostnetworks import HostNetworksService
from swarmlite.engine.api.images import ImagesService
from swarmlite.engine.api.volumes import VolumesService
from swarmlite.engine.engine import Engine
from swarmlite.proto.containers_pb2_grpc import add_ContainersServicer_to_server
from swarmlite.proto.host_pb2 import HostInfo
from swarmlite.proto.host_pb2_grpc import add_HostServicer_to_server
from swarmlite.proto.hostnetworks_pb2_grpc import add_HostNetworksServicer_to_server
from swarmlite.proto.images_pb2_grpc import add_ImagesServicer_to_server
from swarmlite.proto.volumes_pb2_grpc import add_VolumesServicer_to_server


def add_services(server: grpc.aio.Server, engine: Engine, info: Callable[[], HostInfo]) -> None:
    """Let `server` answer for the engine; `info` is the node's part of `Host.Info`."""
    storage = engine.storage
    add_ContainersServicer_to_server(ContainersService(engine), server)
    add_ImagesServicer_to_server(ImagesService(engine), server)
    add_VolumesServicer_to_server(VolumesService(storage, engine.events), server)
    add_HostNetworksServicer_to_server(HostNetworksService(engine), server)
    add_HostServicer_to_server(HostService(engine, info), server)
