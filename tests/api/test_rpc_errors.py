"""What a call answers, whatever happens in it: a status and one line, in gRPC's own limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmlite import rpc
from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound, SwarmliteError, Unavailable
from swarmlite.manager.server import serving
from swarmlite.manager.store.tables import Tables
from swarmlite.model.validate import validate_network, validate_service
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import (
    ControlServicer,
    ControlStub,
    add_ControlServicer_to_server,
)
from swarmlite.proto.specs_pb2 import NetworkSpec, ServiceSpec


class Failing(ControlServicer):
    """Fails as the reference says."""

    async def GetNode(self, request: Any, context: Any) -> Any:
        if request.ref == "cancelled":
            inner = asyncio.ensure_future(asyncio.sleep(60))
            inner.cancel()
            await inner
        raise NotFound(request.ref)

    async def Watch(self, request: Any, context: Any) -> Any:
        yield pb.WatchResponse()
        inner = asyncio.ensure_future(asyncio.sleep(60))
        inner.cancel()
        await inner


@pytest.fixture
async def control(socket_path: Path) -> AsyncIterator[ControlStub]:
    async with (
        serving(
            [lambda server: add_ControlServicer_to_server(Failing(), server)],
            Tables,
            socket_path=socket_path,
            listen_addr=None,
            certificates_dir=socket_path.parent,
        ),
        rpc.unix_channel(socket_path) as channel,
    ):
        yield ControlStub(channel)


@pytest.mark.parametrize("character", ["x", "é", "文", "%", "\n", "🐳"])
@pytest.mark.parametrize("length", [500, 9_000, 20_000, 1_000_000])
async def test_an_error_of_any_length_keeps_its_class_and_the_start_of_its_line(
    control: ControlStub, character: str, length: int
) -> None:
    text = "service x" + character * length + "z not found"
    for _ in range(3):
        with pytest.raises(NotFound) as caught, rpc.translated():
            await control.GetNode(pb.GetRequest(ref=text))
        line = str(caught.value)
        assert line.startswith("service x") and len(line) <= rpc.MAX_DETAILS_BYTES + 4
        assert line.endswith("not found") or line.endswith(" ...")


async def test_a_cancelled_inner_task_gives_a_status_at_once(control: ControlStub) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(Unavailable, match="cut off by the server"), rpc.translated():
            await control.GetNode(pb.GetRequest(ref="cancelled"))
        stream = control.Watch(pb.WatchRequest())
        with pytest.raises(Unavailable, match="cut off by the server"), rpc.translated():
            while True:
                await stream.read()


async def test_a_client_that_gives_up_is_no_failure(
    control: ControlStub, caplog: pytest.LogCaptureFixture
) -> None:
    call = control.Watch(pb.WatchRequest())
    call.cancel()
    with pytest.raises((asyncio.CancelledError, SwarmliteError)), rpc.translated():
        await call.read()
    assert "failed unexpectedly" not in caplog.text


async def test_a_message_that_is_too_large_says_its_size_and_the_limit(
    control: ControlStub,
) -> None:
    with pytest.raises(InvalidSpec, match=r"has 17\d{6} bytes, 16777216 at most"), rpc.translated():
        await control.GetNode(pb.GetRequest(ref="x" * 17_000_000))


async def test_a_call_that_the_other_side_does_not_know_speaks_of_versions(
    control: ControlStub, socket_path: Path
) -> None:
    """A daemon that an upgrade has not restarted yet, say: gRPC's own words help nobody."""
    async with rpc.unix_channel(socket_path) as channel:
        call = channel.unary_unary("/swarmlite.v1.Control/OfAnotherVersion")
        with (
            pytest.raises(FailedPrecondition, match="the server runs another version"),
            rpc.translated(),
        ):
            await call(b"")


def test_a_spec_above_the_stores_limit_is_refused_with_its_size_and_the_limit() -> None:
    spec = ServiceSpec()
    spec.annotations.name = "web"
    spec.task.container.image = "busybox"
    spec.task.container.env.extend(f"A{n}=" + "x" * 1000 for n in range(700))
    with pytest.raises(InvalidSpec, match=r"service web: its spec has 7\d{5} bytes, 614400 at mos"):
        validate_service(spec)
    network = NetworkSpec()
    network.annotations.name = "front"
    for number in range(300):
        network.annotations.labels[f"label{number}"] = "x" * 1000
    line = r"network front: its name and labels has 3\d{5} bytes, 262144 at most"
    with pytest.raises(InvalidSpec, match=line):
        validate_network(network)
