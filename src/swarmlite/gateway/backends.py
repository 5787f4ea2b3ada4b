"""Channels to who answers: the engine of this host and the manager of this node; opened when used.

Calls raise gRPC's errors, which `app` translates; `control` raises Refused (503) where no manager
is, in Docker's words.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import grpc.aio

from swarmlite import rpc
from swarmlite.client import membership
from swarmlite.gateway.errors import Refused
from swarmlite.paths import Paths

if TYPE_CHECKING:
    from swarmlite.proto.containers_pb2 import WaitContainerRequest
    from swarmlite.proto.containers_pb2_grpc import ContainersStub
    from swarmlite.proto.control_pb2_grpc import ControlStub
    from swarmlite.proto.host_pb2_grpc import HostStub
    from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksStub
    from swarmlite.proto.images_pb2_grpc import ImagesStub
    from swarmlite.proto.volumes_pb2_grpc import VolumesStub

STARTING_S = 20.0
"""How long an engine that does not answer is waited for."""


class Backends:
    """The services that handlers call; one for the life of the process."""

    def __init__(self, paths: Paths) -> None:
        """Nothing is connected yet."""
        self.paths = paths

    @cached_property
    def _engine(self) -> grpc.aio.Channel:
        return rpc.unix_channel(self.paths.agent_socket)

    @cached_property
    def _manager(self) -> grpc.aio.Channel:
        return rpc.unix_channel(self.paths.manager_socket)

    async def engine_started(self) -> None:
        """Wait, but not for long, while the engine starts: its node just joined or left a swarm.

        A call would fail at once, and with it whatever a client does next after `swarm init`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STARTING_S):
                while True:
                    state = self._engine.get_state(try_to_connect=True)
                    if state is grpc.ChannelConnectivity.READY:
                        return
                    await self._engine.wait_for_state_change(state)

    @cached_property
    def containers(self) -> ContainersStub:
        """This host's containers."""
        from swarmlite.proto.containers_pb2_grpc import ContainersStub

        return ContainersStub(self._engine)

    def wait(self, request: WaitContainerRequest) -> Any:
        """`Containers.Wait` as a stream of one reply, whose first metadata come as they are sent.

        A unary call hands out its metadata only with its reply; on the wire the two are the same.
        """
        from swarmlite.proto.containers_pb2 import WaitContainerRequest, WaitContainerResponse

        method = self._engine.unary_stream(
            "/swarmlite.Containers/Wait",
            request_serializer=WaitContainerRequest.SerializeToString,
            response_deserializer=WaitContainerResponse.FromString,
        )
        return method(request)

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
        """This host's own networks."""
        from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksStub

        return HostNetworksStub(self._engine)

    @cached_property
    def host(self) -> HostStub:
        """This host as a whole."""
        from swarmlite.proto.host_pb2_grpc import HostStub

        return HostStub(self._engine)

    @property
    def control(self) -> ControlStub:
        """The manager of this node. Raises Refused outside of a swarm and on a worker."""
        if not membership.is_manager(self.paths):
            inside = membership.in_swarm(self.paths)
            raise Refused(503, membership.WORKER if inside else membership.outside("docker"))
        return self._control

    @property
    def manager(self) -> ControlStub | None:
        """The manager of this node; None where there is none."""
        return self._control if membership.is_manager(self.paths) else None

    @cached_property
    def _control(self) -> ControlStub:
        from swarmlite.proto.control_pb2_grpc import ControlStub

        return ControlStub(self._manager)

    async def close(self) -> None:
        """End what was opened."""
        for name in ("_engine", "_manager"):
            if name in self.__dict__:
                await self.__dict__[name].close()
