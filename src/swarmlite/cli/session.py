"""One invocation's way to the node: its directories, and connections made when first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import click

from swarmlite.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.descriptor import ServiceDescriptor

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
    def _engine(self) -> Path:
        from swarmlite.cli import client

        return client.engine_socket(self.paths)

    def _stub(self, service: ServiceDescriptor) -> object:
        from swarmlite.cli.wire.stubs import Stub

        return Stub(self._engine, service)

    @cached_property
    def containers(self) -> ContainersStub:
        """This host's containers."""
        from swarmlite.proto.containers_pb2 import DESCRIPTOR

        return cast("ContainersStub", self._stub(DESCRIPTOR.services_by_name["Containers"]))

    def wait_begun(self, request: WaitContainerRequest) -> Any:
        """`Containers.Wait`, whose first metadata says that the wait is in place.

        A call of one reply returns with it only; on the wire it is the same as one of several.
        """
        from swarmlite.cli.wire.call import Call
        from swarmlite.proto.containers_pb2 import WaitContainerResponse

        call = Call(self._engine, "/swarmlite.Containers/Wait", WaitContainerResponse.FromString)
        call.read_behind()
        call.send(request.SerializeToString(), last=True)
        call.initial_metadata()
        return call

    @cached_property
    def images(self) -> ImagesStub:
        """This host's images."""
        from swarmlite.proto.images_pb2 import DESCRIPTOR

        return cast("ImagesStub", self._stub(DESCRIPTOR.services_by_name["Images"]))

    @cached_property
    def volumes(self) -> VolumesStub:
        """This host's volumes."""
        from swarmlite.proto.volumes_pb2 import DESCRIPTOR

        return cast("VolumesStub", self._stub(DESCRIPTOR.services_by_name["Volumes"]))

    @cached_property
    def host_networks(self) -> HostNetworksStub:
        """This host's networks."""
        from swarmlite.proto.hostnetworks_pb2 import DESCRIPTOR

        return cast("HostNetworksStub", self._stub(DESCRIPTOR.services_by_name["HostNetworks"]))

    @cached_property
    def host(self) -> HostStub:
        """This host as a whole."""
        from swarmlite.proto.host_pb2 import DESCRIPTOR

        return cast("HostStub", self._stub(DESCRIPTOR.services_by_name["Host"]))


pass_session = click.make_pass_decorator(Session)
