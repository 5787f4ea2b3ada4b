"""Blocking calls of a node's manager and agent, with swarmlite's errors.

Blocking, since a command does one thing at a time and asyncio would only make it start later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from swarmlite.cli.wire.call import CallFailed
from swarmlite.client import daemon
from swarmlite.client.membership import LOCKED, WORKER, outside
from swarmlite.errors import FailedPrecondition, PermissionDenied, SwarmliteError, Unavailable
from swarmlite.rpc_errors import CANCELLED, from_status

if TYPE_CHECKING:
    import socket

    from google.protobuf.message import Message

    from swarmlite.client.reach.api import Reach
    from swarmlite.proto.control_pb2_grpc import ControlStub

Reply = TypeVar("Reply")

CALL_TIMEOUT_S = 60.0
ACT_AS = "SWARMLITE_ACT_AS"
"""A user's role, of who may less than root of this host: commands that the page runs for somebody.
"""
STARTING_S = 15.0
"""How long a manager that should be there is waited for."""


def control(node: Reach) -> ControlStub:
    """The manager's API, answering. Raises what Session says."""
    deadline = time.monotonic() + STARTING_S
    while not _answers(node, "manager"):
        _require_manager(node)
        if time.monotonic() > deadline:
            raise Unavailable(
                "the manager of this node does not answer; see"
                f" {node.log('manager')} and {node.log('etcd')}"
            )
        time.sleep(0.1)
    from swarmlite.cli.wire.stubs import Stub
    from swarmlite.proto.control_pb2 import DESCRIPTOR

    service = DESCRIPTOR.services_by_name["Control"]
    role = os.environ.get(ACT_AS, "")
    metadata = [(b"act-as", role.encode())] if role else []
    return cast("ControlStub", Stub(lambda: node.connect("manager"), service, metadata))


def engine(node: Reach) -> Callable[[], socket.socket]:
    """Makes connections to the node's engine, which answers. Raises what Session says."""
    deadline = time.monotonic() + STARTING_S
    while not _answers(node, "agent"):
        daemon.request(node, {"op": "status"})
        if time.monotonic() > deadline:
            raise Unavailable(f"the agent of this node does not answer; see {node.log('agent')}")
        time.sleep(0.1)
    return lambda: node.connect("agent")


def call(
    method: Callable[..., Any],
    request: Message,
    *,
    timeout_s: float = CALL_TIMEOUT_S,
) -> Any:
    """One call. Raises swarmlite's errors as the server meant them."""
    try:
        return method(request, timeout=timeout_s)
    except CallFailed as error:
        raise translated(error) from error


def call_stream(
    method: Callable[..., Any],
    requests: Iterable[Message],
    timeout_s: float,
    failed: Sequence[BaseException] = (),
) -> Any:
    """One call of many requests. Raises swarmlite's errors.

    What has stopped the requests is in `failed` by then, and raised in place of the call's end.
    """
    try:
        return method(requests, timeout=timeout_s)
    except CallFailed as error:
        if failed:
            raise failed[0] from error
        raise translated(error) from error


class Cancelled(SwarmliteError):
    """The call was ended from this side."""


def stream(replies: Iterable[Reply]) -> Iterator[Reply]:
    """The replies of a streaming call. Raises swarmlite's errors as the server meant them."""
    try:
        yield from replies
    except CallFailed as error:
        raise translated(error) from error


def translated(error: CallFailed) -> SwarmliteError:
    """swarmlite's error for a call that failed."""
    if error.number == CANCELLED:
        return Cancelled("the call was cancelled")
    return from_status(error.number, error.details, "the node")


def _answers(node: Reach, service: str) -> bool:
    try:
        return node.answers(service)
    except PermissionError as error:
        raise PermissionDenied(daemon.NOT_ROOT.format(path=node.describe(service))) from error


def _require_manager(node: Reach) -> None:
    status = daemon.request(node, {"op": "status"})
    if status.get("error"):
        raise FailedPrecondition(str(status["error"]))
    if status.get("swarm") == "inactive":
        raise FailedPrecondition(outside("swarmlite"))
    if status.get("swarm") == "locked":
        raise FailedPrecondition(LOCKED.format(program="swarmlite"))
    if status.get("role") == "worker":
        raise FailedPrecondition(WORKER)
