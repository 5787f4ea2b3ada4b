"""One invocation's way to the node: its directories, and connections made when first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from swarmlite.paths import Paths

if TYPE_CHECKING:
    from grpc import Channel

    from swarmlite.proto.containers_pb2 import WaitContainerRequest
    from swarmlite.proto.containers_pb2_grpc import ContainersStub
    from swarmlite.proto.control_pb2_grpc import ControlStub
    from swarmlite.proto.host_pb2_grpc import HostStub
    from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksStub
    from swarmlite.proto.images_pb2_grpc import ImagesStub
    from swarmlite.proto.volumes_pb2_grpc import VolumesStub


class Session:
    """Connections of one command to the node that `paths` names.

    The properties raise Unavailable, FailedPrecondition or PermissionDenied, each with the line
    that tells the user what to do.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    @cached_property
    def control(self) -> ControlStub:
        """The manager of this node."""
        from swarmlite.cli import client

        return client.control(self.paths)

    @cached_property
    def manager(self) -> ControlStub | None:
        """The manager of this node; None outside of a swarm and on a worker."""
        from swarmlite.client import membership

        return self.control if membership.is_manager(self.paths) else None

    @cached_property
    def _engine(self) -> Channel:
        from swarmlite.cli import client

        return client.engine_channel(self.paths)

    @cached_property
    def containers(self) -> ContainersStub:
        """This host's containers."""
        from swarmlite.proto.containers_pb2_grpc import ContainersStub

        return ContainersStub(self._engine)

    def wait_begun(self, request: WaitContainerRequest) -> Any:
        """`Containers.Wait`, whose first metadata says that the wait is in place.

        A unary call of grpc's blocking API hands out its metadata only with its reply; on the wire
        a stream of one reply is the same call, and there they come as they are sent.
        """
        from swarmlite.proto.containers_pb2 import WaitContainerRequest, WaitContainerResponse

        method = self._engine.unary_stream(
            "/swarmlite.Containers/Wait",
            request_serializer=WaitContainerRequest.SerializeToString,
            response_deserializer=WaitContainerResponse.FromString,
        )
        call = method(request)
        call.initial_metadata()
        return call

    @cached_property
    def images(self) -> ImagesStub:
        """This host's images."""
        from swarmlite.proto.images_pb2_grpc import ImagesStub

        return ImagesStub(self._engine)

    @cached_property
    def volumes(self) -> VolumesStub:
        """This host's volumes."""
        from swarmlite.proto.volumes_pb2_grpc import VolumesStub

        return VolumesStub(self._engine)

    @cached_property
    def host_networks(self) -> HostNetworksStub:
        """This host's networks."""
        from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksStub

        return HostNetworksStub(self._engine)

    @cached_property
    def host(self) -> HostStub:
        """This host as a whole."""
        from swarmlite.proto.host_pb2_grpc import HostStub

        return HostStub(self._engine)


pass_session = click.make_pass_decorator(Session)
