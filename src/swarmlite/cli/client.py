"""Blocking calls of the manager and the agent over their unix sockets, with swarmlite's errors.

Blocking, since a command does one thing at a time and asyncio would only make it start later.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from swarmlite.cli.wire.call import CallFailed
from swarmlite.client import daemon
from swarmlite.client.membership import WORKER, outside
from swarmlite.errors import FailedPrecondition, PermissionDenied, SwarmliteError, Unavailable
from swarmlite.paths import Paths
from swarmlite.rpc_errors import CANCELLED, from_status

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from swarmlite.proto.control_pb2_grpc import ControlStub

Reply = TypeVar("Reply")

CALL_TIMEOUT_S = 60.0
STARTING_S = 15.0
"""How long a manager that should be there is waited for."""


def control(paths: Paths) -> ControlStub:
    """The manager's API, answering. Raises what Session says."""
    deadline = time.monotonic() + STARTING_S
    while not _answers(paths.manager_socket):
        _require_manager(paths)
        if time.monotonic() > deadline:
            raise Unavailable(
                "the manager of this node does not answer; see"
                f" {paths.logs_dir / 'manager.log'} and {paths.logs_dir / 'etcd.log'}"
            )
        time.sleep(0.1)
    from swarmlite.cli.wire.stubs import Stub
    from swarmlite.proto.control_pb2 import DESCRIPTOR

    service = DESCRIPTOR.services_by_name["Control"]
    return cast("ControlStub", Stub(paths.manager_socket, service))


def engine_socket(paths: Paths) -> Path:
    """Of this host's engine, which answers. Raises what Session says."""
    deadline = time.monotonic() + STARTING_S
    while not _answers(paths.agent_socket):
        daemon.request(paths, {"op": "status"})
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the agent of this node does not answer; see {paths.logs_dir / 'agent.log'}"
            )
        time.sleep(0.1)
    return paths.agent_socket


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


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except PermissionError as error:
        raise PermissionDenied(daemon.NOT_ROOT.format(path=path)) from error
    return True


def _require_manager(paths: Paths) -> None:
    status = daemon.request(paths, {"op": "status"})
    if status.get("error"):
        raise FailedPrecondition(str(status["error"]))
    if status.get("swarm") == "inactive":
        raise FailedPrecondition(outside("swarmlite"))
    if status.get("role") == "worker":
        raise FailedPrecondition(WORKER)
