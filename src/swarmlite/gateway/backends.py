"""Channels to who answers: the engine of this host and the manager of this node; opened when used.

Calls raise gRPC's errors, which `app` translates; `control` raises Refused (503) where no manager
is, in Docker's words.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import grpc.aio

from swarmlite import rpc
from swarmlite.client import daemon, membership
from swarmlite.client.reach.local import Local
from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.gateway.errors import Refused
from swarmlite.paths import Paths

if TYPE_CHECKING:
    from swarmlite.gateway.streams.direct import Supervised
    from swarmlite.proto.build_pb2_grpc import BuildsStub
    from swarmlite.proto.containers_pb2 import WaitContainerRequest
    from swarmlite.proto.containers_pb2_grpc import ContainersStub
    from swarmlite.proto.control_pb2_grpc import ControlStub
    from swarmlite.proto.host_pb2_grpc import HostStub
    from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksStub
    from swarmlite.proto.images_pb2_grpc import ImagesStub
    from swarmlite.proto.volumes_pb2_grpc import VolumesStub

STARTING_S = 20.0
"""How long an engine that starts is waited for."""
LOOK_S = 0.05


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
        Raises Unavailable at once, with the reason, where nothing is starting.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STARTING_S):
                while True:
                    state = self._engine.get_state(try_to_connect=True)
                    if state is grpc.ChannelConnectivity.READY:
                        return
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        await self._starts_or_fails()
                        await asyncio.sleep(LOOK_S)
                    else:
                        await self._engine.wait_for_state_change(state)

    async def _starts_or_fails(self) -> None:
        """Raises Unavailable where the engine's process has ended and waits to be started again."""
        node = Local(self.paths)
        if await asyncio.to_thread(node.answers, "agent"):
            return  # the channel has yet to see it
        log = node.log("agent")
        try:
            status = await asyncio.to_thread(daemon.request, node, {"op": "status"}, timeout_s=5.0)
        except SwarmliteError as error:
            raise Unavailable(f"the engine of this node does not run: {error}") from error
        agent = (status.get("children") or {}).get("agent") or {}
        if not agent.get("pid") and not status.get("changing"):
            last = agent.get("last_exit") or "it was not started"
            raise Unavailable(f"the engine of this node does not run ({last}); see {log}")

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
    def supervised(self) -> Supervised:
        """What runs here, to be attached to."""
        from swarmlite.gateway.streams.direct import Supervised

        return Supervised(self.paths)

    @cached_property
    def images(self) -> ImagesStub:
        """This host's images."""
        from swarmlite.proto.images_pb2_grpc import ImagesStub

        return ImagesStub(self._engine)

    @cached_property
    def builds(self) -> BuildsStub:
        """This host's builder."""
        from swarmlite.proto.build_pb2_grpc import BuildsStub

        return BuildsStub(self._engine)

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
        self._managed()
        return self._control

    def _managed(self) -> None:
        if not membership.is_manager(self.paths):
            inside = membership.in_swarm(self.paths)
            raise Refused(503, membership.WORKER if inside else membership.outside("docker"))
        if membership.is_locked(self.paths):
            raise Refused(503, membership.LOCKED.format(program="docker"))

    def unread(self, method: str) -> Callable[..., Awaitable[bytes]]:
        """A call of `control`, whose answer is what came. Raises as those do."""
        self._managed()
        return cast(
            "Callable[..., Awaitable[bytes]]",
            self._manager.unary_unary(
                f"/swarmlite.Control/{method}",
                request_serializer=lambda request: request.SerializeToString(),
            ),
        )

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
        for name in ("_engine", "_manager", "supervised"):
            if name in self.__dict__:
                await self.__dict__[name].close()
