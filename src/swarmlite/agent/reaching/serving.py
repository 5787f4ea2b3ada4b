"""`Containers` for who comes by a manager: of tasks' containers only, and some calls only.

A manager is not root on a node: plain containers are none of its business, of images and volumes it
learns what they are called and how large they are, and a command gets no privileges that its
container has not.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio

from swarmlite import rpc
from swarmlite.agent.reaching.held import HeldImages, HeldVolumes
from swarmlite.engine.api.containers import ContainersService
from swarmlite.engine.engine import Engine
from swarmlite.engine.records import Record, Records
from swarmlite.errors import NotFound, PermissionDenied
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2_grpc import add_ContainersServicer_to_server
from swarmlite.proto.control_pb2 import Empty, TunnelTo
from swarmlite.proto.images_pb2_grpc import add_ImagesServicer_to_server
from swarmlite.proto.volumes_pb2_grpc import add_VolumesServicer_to_server

Context = Any  # grpc.aio.ServicerContext, which has no types

READ = frozenset({"Inspect", "Logs", "Stats", "Top"})
WRITE = READ | {
    "Attach",
    "Changes",
    "CopyFrom",
    "CopyTo",
    "CreateExec",
    "Exec",
    "InspectExec",
    "Resize",
    "ResizeExec",
    "StatPath",
}
METHODS = {TunnelTo.READ: READ, TunnelTo.WRITE: WRITE}
HELD = frozenset({"List"})
STOP_S = 0.2


class TaskRecords:
    """The records of tasks' containers: by the task's id, and else as Records finds them."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def find(self, ref: str) -> Record:
        """Raises NotFound for what is no task's, as for what is not there."""
        for record in self._records:
            if record.of_task and record.config.task.task_id == ref:
                return record
        found = self._records.find(ref)
        if not found.of_task:
            raise NotFound(f"No such container: {ref}")
        return found

    def newest_first(self) -> list[Record]:
        """As Records does."""
        return [record for record in self._records.newest_first() if record.of_task]


class TaskContainers(ContainersService):
    """See containers.proto."""

    def __init__(self, engine: Engine) -> None:
        """`engine` has the containers."""
        super().__init__(engine)
        self._records = self._by_ref = cast("Records", TaskRecords(engine.records))

    async def CreateExec(self, request: pb.ExecConfig, context: Context) -> pb.ExecRef:
        """See ContainersService."""
        self._check(request)
        return await super().CreateExec(request, context)

    async def Exec(
        self, request: AsyncIterator[pb.ExecInput], context: Context
    ) -> AsyncIterator[pb.StreamOutput]:
        """See ContainersService."""
        first = await anext(request, None)
        if first is not None and first.HasField("config"):
            self._check(first.config)
        async for output in super().Exec(_again(first, request), context):
            yield output

    async def InspectExec(self, request: pb.ExecRef, context: Context) -> pb.ExecState:
        """See ContainersService."""
        self._check_exec(request.id)
        return await super().InspectExec(request, context)

    async def ResizeExec(self, request: pb.ResizeRequest, context: Context) -> Empty:
        """See ContainersService."""
        self._check_exec(request.ref)
        return await super().ResizeExec(request, context)

    def _check_exec(self, exec_id: str) -> None:
        """Raises NotFound for one of a container that is no task's."""
        self._records.find(self._streams.execs.container_of(exec_id))

    def _check(self, config: pb.ExecConfig) -> None:
        record = self._records.find(config.container)
        if config.privileged and not record.config.spec.privileged:
            raise PermissionDenied(
                "--privileged: the task itself has no such privileges; run it on the task's node"
            )


async def _again(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    if first is not None:
        yield first
    async for message in rest:
        yield message


class _Only(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses every call but some."""

    def __init__(self, methods: frozenset[str]) -> None:
        self._methods = methods

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method.rpartition("/")[2]
        if handler is None or method in self._methods:
            return handler

        error = PermissionDenied(f"{method} is not to be called through a manager this way")
        return rpc.guarded(handler, lambda _: _Refusal(error))


class _Refusal(AbstractAsyncContextManager[None]):
    def __init__(self, error: PermissionDenied) -> None:
        self._error = error

    async def __aenter__(self) -> None:
        raise self._error

    async def __aexit__(self, *_: object) -> None:
        return None


@asynccontextmanager
async def serving(
    engine: Engine, sockets: Mapping[TunnelTo.Access.ValueType, Path], held: Path
) -> AsyncIterator[None]:
    """Serve at a socket for each TunnelTo.Access, and what is held at another, until leaving."""

    def tasks(server: grpc.aio.Server) -> None:
        add_ContainersServicer_to_server(TaskContainers(engine), server)

    def lists(server: grpc.aio.Server) -> None:
        add_ImagesServicer_to_server(HeldImages(engine), server)
        add_VolumesServicer_to_server(HeldVolumes(engine.storage, engine.events), server)

    servers = [_bound(tasks, METHODS[access], path) for access, path in sockets.items()]
    servers.append(_bound(lists, HELD, held))
    try:
        for server in servers:
            await server.start()
        yield
    finally:
        for server in servers:
            await server.stop(STOP_S)


def _bound(
    add_to: Callable[[grpc.aio.Server], None], methods: frozenset[str], path: Path
) -> grpc.aio.Server:
    """Its socket is there, 0600. No await while the umask is changed: it is the whole process's."""
    server = grpc.aio.server(
        interceptors=[rpc.TranslateErrors(), _Only(methods)], options=rpc.LOCAL_SERVER_OPTIONS
    )
    add_to(server)
    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    finally:
        os.umask(mask)
    return server
