"""One invocation's way to its node, and connections made when first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import click

from swarmlite.paths import Paths

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from google.protobuf.descriptor import ServiceDescriptor

    from swarmlite.client.reach.api import Reach
    from swarmlite.proto.build_pb2_grpc import BuildsStub
    from swarmlite.proto.containers_pb2 import WaitContainerRequest
    from swarmlite.proto.containers_pb2_grpc import ContainersStub
    from swarmlite.proto.control_pb2_grpc import ControlStub
    from swarmlite.proto.host_pb2_grpc import HostStub
    from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksStub
    from swarmlite.proto.images_pb2_grpc import ImagesStub
    from swarmlite.proto.volumes_pb2_grpc import VolumesStub


class Session:
    """Connections of one command to its node.

    The properties raise Unavailable, FailedPrecondition or PermissionDenied, each with the line
    that tells the user what to do.
    """

    def __init__(
        self,
        paths: Paths,
        way: Callable[[], Reach] | None = None,
        *,
        context: str = "default",
        chosen_by: str = "",
    ) -> None:
        """`paths` are those of this host's node; `way` leads to another one's.

        `context` is the one in use; `chosen_by` what overrides that of `context use`.
        """
        self.paths = paths
        self.context, self.chosen_by = context, chosen_by
        self._way = way

    @cached_property
    def node(self) -> Reach:
        """The way to the node. Raises InvalidSpec for an address, NotFound for a context."""
        if self._way is not None:
            return self._way()
        from swarmlite.client.reach.local import Local

        return Local(self.paths)

    def request(
        self,
        message: Mapping[str, Any],
        *,
        progress: Callable[[str], None] = lambda line: None,
    ) -> dict[str, Any]:
        """What the node's swarmlited answers: see client.daemon."""
        from swarmlite.client import daemon

        return daemon.request(self.node, message, progress=progress)

    @cached_property
    def membership(self) -> Mapping[str, Any]:
        """The node's `role` and `node_id` in its swarm; empty values outside of one."""
        from swarmlite.client import membership

        if self.node.managers_only:
            return {"role": "manager", "node_id": ""}
        if self.node.remote:
            return self.request({"op": "status"})
        role = "manager" if membership.is_manager(self.paths) else ""
        return {"role": role, "node_id": membership.self_node_id(self.paths)}

    @cached_property
    def control(self) -> ControlStub:
        """The manager of this node."""
        from swarmlite.cli import client

        return client.control(self.node)

    @cached_property
    def manager(self) -> ControlStub | None:
        """The manager of this node; None outside of a swarm and on a worker."""
        return self.control if self.membership.get("role") == "manager" else None

    @cached_property
    def _engine(self) -> Callable[[], socket.socket]:
        from swarmlite.cli import client

        return client.engine(self.node)

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
    def builds(self) -> BuildsStub:
        """This host's builder."""
        from swarmlite.proto.build_pb2 import DESCRIPTOR

        return cast("BuildsStub", self._stub(DESCRIPTOR.services_by_name["Builds"]))

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
