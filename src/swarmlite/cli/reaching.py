"""Tasks of other nodes: what is done to a container here, done to a task wherever it runs.

A name or id that the node's engine does not know may be a task's; then a manager joins this command
to the task's node by a tunnel, and the calls are the same.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.cli.wire.call import Call, CallFailed, Over
from swarmlite.errors import NotFound, Unavailable
from swarmlite.proto.containers_pb2 import InspectContainerRequest
from swarmlite.proto.control_pb2 import GetRequest, TunnelData, TunnelTo

if TYPE_CHECKING:
    from swarmlite.proto.containers_pb2_grpc import ContainersStub
    from swarmlite.proto.objects_pb2 import Task

CHUNK_BYTES = 64 * 1024
READ, WRITE = TunnelTo.READ, TunnelTo.WRITE
T = TypeVar("T")


class TaskSession(Session):
    """The engine of a task's node, which knows it by its id; all else is the session's own."""

    def __init__(self, session: Session, to: TunnelTo) -> None:
        super().__init__(session.paths, lambda: session.node, context=session.context)
        self._to = to

    @cached_property
    def containers(self) -> ContainersStub:
        """Only what a manager lets through: see agent/reaching."""
        from swarmlite.cli.wire.stubs import Stub
        from swarmlite.proto.containers_pb2 import DESCRIPTOR

        service = DESCRIPTOR.services_by_name["Containers"]
        return cast("ContainersStub", Stub(connector(self, self._to), service))


def on_task(
    session: Session,
    ref: str,
    access: TunnelTo.Access.ValueType,
    work: Callable[[Session, str], T],
) -> T:
    """`work` on a container of the node, else on the task of this name.

    It is begun again for a task, so it must raise NotFound for the container before anything else.
    """
    if session.node.managers_only:
        there = elsewhere(session, ref, access)
        if there is None:
            raise NotFound(f"task {ref} not found")
        return work(*there)
    try:
        return work(session, ref)
    except NotFound:
        found = elsewhere(session, ref, access)
        if found is None:
            raise
    return work(*found)


def elsewhere(
    session: Session, ref: str, access: TunnelTo.Access.ValueType
) -> tuple[Session, str] | None:
    """Where the task is and what it is called there; None for a container of the node itself."""
    with contextlib.suppress(NotFound):
        if session.node.managers_only:
            raise NotFound(ref)
        client.call(session.containers.Inspect, InspectContainerRequest(ref=ref))
        return None
    if session.manager is None:
        return None
    try:
        task: Task = client.call(session.control.GetTask, GetRequest(ref=ref))
    except NotFound:
        return None
    return TaskSession(session, TunnelTo(task=task.id, access=access)), task.id


def connector(session: Session, to: TunnelTo) -> Callable[[], socket.socket]:
    """Makes connections to there, each a tunnel of its own. They raise swarmlite's errors."""

    def connect() -> socket.socket:
        call = Call(
            lambda: session.node.connect("manager"),
            "/swarmlite.Control/TaskTunnel",
            TunnelData.FromString,
        )
        call.read_behind()
        with contextlib.suppress(Over):  # its end says why
            call.send(TunnelData(to=to).SerializeToString())
        replies = iter(call)
        try:
            next(replies)  # it stands
        except CallFailed as error:
            raise client.translated(error) from error
        except StopIteration as error:
            raise Unavailable(f"the tunnel to task {to.task} ended at once; try again") from error
        ours, theirs = socket.socketpair()
        up = threading.Thread(target=_up, args=(call, theirs), daemon=True)
        up.start()
        threading.Thread(target=_down, args=(call, replies, theirs, up), daemon=True).start()
        return ours

    return connect


def _up(call: Call, end: socket.socket) -> None:
    with contextlib.suppress(Over, OSError):
        while data := end.recv(CHUNK_BYTES):
            call.send(TunnelData(data=data).SerializeToString())
        call.send(TunnelData(end=True).SerializeToString())


def _down(call: Call, replies: Iterator[Any], end: socket.socket, up: threading.Thread) -> None:
    try:
        with contextlib.suppress(CallFailed, OSError):
            for message in replies:
                if message.data:
                    end.sendall(message.data)
                if message.end:
                    end.shutdown(socket.SHUT_WR)
    finally:
        call.cancel()
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        up.join()
        end.close()
