"""The command line's own calls against a real gRPC server: what is sent, heard, and how it ends."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from swarmlite.cli.wire import prepared
from swarmlite.cli.wire.call import WINDOW, Call, CallFailed
from swarmlite.cli.wire.stubs import Stub
from swarmlite.client.reach.local import unix
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2_grpc import ContainersServicer, add_ContainersServicer_to_server
from swarmlite.proto.control_pb2 import Empty, LogMessage, LogsResponse
from swarmlite.rpc_errors import CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE

BEGUN = (("begun", "1"),)
DETAILS = 'no such "container": 100% größer\nübel'
BIG = 9 << 20


class Server(ContainersServicer):
    """Answers by what is asked for."""

    def __init__(self) -> None:
        self.sent = 0
        self.cancelled = threading.Event()
        self.over = threading.Event()

    def Start(self, request: pb.ContainerRef, context: Any) -> Empty:
        context.abort(grpc.StatusCode.NOT_FOUND, DETAILS)
        return Empty()

    def Inspect(self, request: pb.InspectContainerRequest, context: Any) -> pb.Container:
        return pb.Container(id=request.ref)

    def Wait(self, request: pb.WaitContainerRequest, context: Any) -> pb.WaitContainerResponse:
        context.send_initial_metadata(BEGUN)
        self.over.wait(20)
        return pb.WaitContainerResponse(exit_code=7)

    def Logs(self, request: pb.ContainerLogsRequest, context: Any) -> Iterator[LogsResponse]:
        context.add_callback(self.cancelled.set)
        for number in itertools.count():
            if request.ref == "few" and number == 3:
                return
            self.sent += 1
            yield LogsResponse(messages=[LogMessage(data=b"x" * 100_000)])

    def Stats(self, request: Any, context: Any) -> Iterator[pb.ContainerRef]:
        yield from [pb.ContainerRef(ref="a"), pb.ContainerRef(ref="b")]

    def Attach(self, request: Iterator[pb.AttachInput], context: Any) -> Iterator[pb.StreamOutput]:
        if next(request).start.ref == "refused":
            context.send_initial_metadata(())
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it does not run")
        context.send_initial_metadata(BEGUN)
        for message in request:
            if message.stdin_close:
                break
            yield pb.StreamOutput(data=message.stdin)
        yield pb.StreamOutput(exit_code=3)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    path = tmp_path / "grpc.sock"
    served = grpc.server(
        ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 64 << 20)]
    )
    servicer = Server()
    add_ContainersServicer_to_server(servicer, served)
    served.add_insecure_port(f"unix:{path}")
    served.start()
    yield servicer, path
    servicer.over.set()
    served.stop(0).wait()


def stub_of(path: Path) -> Any:
    return Stub(lambda: unix(path), pb.DESCRIPTOR.services_by_name["Containers"])


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("length", [0, 1, 70_000, BIG])
def test_a_message_comes_back_as_it_was_sent(server: tuple[Server, Path], length: int) -> None:
    """Small ones, and those above every window and frame."""
    text = "x" * length
    reply = stub_of(server[1]).Inspect(pb.InspectContainerRequest(ref=text), timeout=30)
    assert reply.id == text


def test_settings_that_come_while_a_message_is_sent_change_nothing(
    server: tuple[Server, Path],
) -> None:
    """Frames above the first limit go only after the server has heard that we know its own."""
    stub = stub_of(server[1])
    for number in range(100):
        text = str(number % 10) * 70_000
        assert stub.Inspect(pb.InspectContainerRequest(ref=text), timeout=30).id == text


def test_an_error_has_its_status_and_its_words(server: tuple[Server, Path]) -> None:
    """Also what gRPC escapes on the wire."""
    with pytest.raises(CallFailed) as raised:
        stub_of(server[1]).Start(pb.ContainerRef(ref="x"), timeout=20)
    assert (raised.value.number, raised.value.details) == (5, DETAILS)


def test_a_method_that_the_server_lacks_is_an_error(server: tuple[Server, Path]) -> None:
    """UNIMPLEMENTED, of an older engine say."""
    with pytest.raises(CallFailed) as raised:
        stub_of(server[1]).Pause(pb.ContainerRef(ref="x"), timeout=20)
    assert raised.value.number == 12


def test_replies_come_to_their_end(server: tuple[Server, Path]) -> None:
    """A stream of three."""
    found = [len(r.messages[0].data) for r in stub_of(server[1]).Logs(_logs("few"))]
    assert found == [100_000] * 3


def test_who_takes_no_replies_holds_the_server_up_and_can_go_on(
    server: tuple[Server, Path],
) -> None:
    """No more than the window comes ahead; all of it comes, once it is taken."""
    servicer, path = server
    call = stub_of(path).Logs(_logs("many"))
    replies = iter(call)
    next(replies)
    until(lambda: servicer.sent * 100_000 > WINDOW)
    stopped = servicer.sent
    until(lambda: _stands_still(servicer))
    assert servicer.sent * 100_000 < 4 * WINDOW, "the server was not held up"
    for _ in range(2 * stopped):
        assert len(next(replies).messages[0].data) == 100_000
    call.cancel()
    assert servicer.cancelled.wait(20)
    with pytest.raises(CallFailed) as raised:
        list(replies)
    assert raised.value.number == CANCELLED


def _stands_still(servicer: Server) -> bool:
    before = servicer.sent
    time.sleep(0.3)
    return servicer.sent == before


def test_both_directions_at_once(server: tuple[Server, Path]) -> None:
    """What is sent comes back in order, more than any window holds."""
    blocks = [bytes([n]) * 500_000 for n in range(40)]

    def requests() -> Iterator[pb.AttachInput]:
        yield pb.AttachInput(start=pb.AttachInput.Start(ref="x"))
        yield from (pb.AttachInput(stdin=block) for block in blocks)
        yield pb.AttachInput(stdin_close=True)

    call = stub_of(server[1]).Attach(requests())
    call.initial_metadata()
    *echoed, last = list(call)
    assert [message.data for message in echoed] == blocks
    assert last.exit_code == 3


def test_a_refusal_is_heard_before_anything_is_taken(server: tuple[Server, Path]) -> None:
    """As `run` asks before it starts a container."""
    first = pb.AttachInput(start=pb.AttachInput.Start(ref="refused"))
    call = stub_of(server[1]).Attach(iter([first]))
    with pytest.raises(CallFailed, match="it does not run"):
        call.initial_metadata()


def test_what_the_requests_raise_ends_the_call(server: tuple[Server, Path]) -> None:
    """A file that cannot be read, say."""

    def requests() -> Iterator[pb.AttachInput]:
        yield pb.AttachInput(start=pb.AttachInput.Start(ref="x"))
        raise OSError(5, "cannot be read")

    with pytest.raises(OSError, match="cannot be read"):
        list(stub_of(server[1]).Attach(requests()))


def test_the_first_sign_comes_before_the_reply(server: tuple[Server, Path]) -> None:
    """Of a call of one reply, read as a stream."""
    servicer, path = server
    call = Call(
        lambda: unix(path), "/swarmlite.Containers/Wait", pb.WaitContainerResponse.FromString
    )
    call.read_behind()
    call.send(pb.WaitContainerRequest(ref="x").SerializeToString(), last=True)
    call.initial_metadata()
    servicer.over.set()
    assert [reply.exit_code for reply in call] == [7]


def test_a_deadline_ends_a_call(server: tuple[Server, Path]) -> None:
    """Whichever side notices first."""
    with pytest.raises(CallFailed) as raised:
        stub_of(server[1]).Wait(pb.WaitContainerRequest(ref="x"), timeout=0.3)
    assert raised.value.number == DEADLINE_EXCEEDED


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(CallFailed) as raised:
        stub_of(tmp_path / "nobody").Inspect(pb.InspectContainerRequest(ref="x"), timeout=5)
    assert raised.value.number == UNAVAILABLE


def _logs(ref: str) -> pb.ContainerLogsRequest:
    return pb.ContainerLogsRequest(ref=ref)


@pytest.mark.parametrize("method", ["Containers/Start", "Containers/Nothing", "Nothing/Inspect"])
def test_a_prepared_call_that_fails_is_no_text(server: tuple[Server, Path], method: str) -> None:
    with pytest.raises(ValueError, match="failed with status"):
        prepared.text(str(server[1]), f"/swarmlite.{method}")


def test_a_prepared_call_takes_an_empty_message_and_refuses_one_of_several(
    server: tuple[Server, Path],
) -> None:
    assert prepared.text(str(server[1]), "/swarmlite.Containers/Inspect") == ""
    with pytest.raises(ValueError, match="one whole message"):
        prepared.text(str(server[1]), "/swarmlite.Containers/Stats")
