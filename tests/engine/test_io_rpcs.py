"""Standard streams over the host's socket, as the command line uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from engine_host import EngineHost, until

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogOptions
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Driver


class Session:
    """One attach or exec: what was sent up, and what has come down."""

    def __init__(self, method: Any, kind: Any, first: Any) -> None:
        self._kind = kind
        self._up: asyncio.Queue[Any] = asyncio.Queue()
        self._up.put_nowait(first)
        self.call = method(self._messages())
        self.out, self.err = b"", b""
        self.exit_code: int | None = None
        self._news = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def _messages(self) -> AsyncIterator[Any]:
        while (message := await self._up.get()) is not None:
            yield message

    async def _read(self) -> None:
        try:
            async for message in self.call:
                self.out += message.data if message.stream == LOG_STDOUT else b""
                self.err += message.data if message.stream == LOG_STDERR else b""
                if message.HasField("exit_code"):
                    self.exit_code = message.exit_code
                self._news.set()
        finally:
            self._up.put_nowait(None)
            self._news.set()

    async def attached(self) -> None:
        await asyncio.wait_for(self.call.initial_metadata(), 30)

    def type(self, data: bytes) -> None:
        self._up.put_nowait(self._kind(stdin=data))

    def half_close(self) -> None:
        self._up.put_nowait(self._kind(stdin_close=True))

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(30):
            while text not in self.out and not self._reading.done():
                self._news.clear()
                await self._news.wait()
        assert text in self.out, (self.out, self.err)

    async def end(self) -> int | None:
        await asyncio.wait_for(self._reading, 30)
        return self.exit_code

    async def leave(self) -> None:
        self.call.cancel()
        await asyncio.wait((self._reading,))
        assert self._reading.cancelled() or self._reading.exception()


def attach(host: EngineHost, ref: str, **more: Any) -> Session:
    start = pb.AttachInput.Start(ref=ref, stdin=True, stdout=True, stderr=True, stream=True, **more)
    return Session(host.containers.Attach, pb.AttachInput, pb.AttachInput(start=start))


def execute(host: EngineHost, ref: str, *command: str, **config: Any) -> Session:
    asked = pb.ExecConfig(container=ref, command=command, attach_stdin=True, **config)
    first = pb.ExecInput(config=asked)
    return Session(host.containers.Exec, pb.ExecInput, first)


async def logs(host: EngineHost, ref: str, **options: Any) -> bytes:
    request = pb.ContainerLogsRequest(ref=ref, options=LogOptions(**{"tail": -1, **options}))
    found = b""
    async for response in host.containers.Logs(request, timeout=60):
        found += b"".join(message.data for message in response.messages)
    return found


async def test_run_with_input_misses_nothing_and_ends_with_its_input(host: EngineHost) -> None:
    for driver in ("json-file", "none"):
        container = await host.create(
            "echo ready; cat; echo problem >&2; exit 4",
            spec=ContainerSpec(open_stdin=True),
            stdin_once=True,
            log_driver=Driver(name=driver),
        )
        session = attach(host, container)
        await session.attached()
        await host.call("Start", container)
        session.type(b"typed\n")
        session.half_close()
        assert await session.end() == 4
        assert (session.out, session.err) == (b"ready\ntyped\n", b"problem\n")


async def test_a_terminal_is_of_the_clients_size_and_detaching_leaves_it(host: EngineHost) -> None:
    script = "trap 'stty size' WINCH; stty size; echo $TERM; while :; do sleep 0.05; done"
    container = await host.create(
        script, spec=ContainerSpec(tty=True, open_stdin=True), console_height=33, console_width=99
    )
    session = attach(host, container)
    await session.attached()
    await host.call("Start", container)
    await session.until(b"33 99\r\nxterm\r\n")
    await host.containers.Resize(pb.ResizeRequest(ref=container, height=20, width=60))
    await session.until(b"20 60\r\n")
    await session.leave()
    again = attach(host, container, logs=True)
    await again.until(b"33 99\r\nxterm\r\n20 60\r\n")
    again.type(b"\x03")
    assert await again.end() == 130


async def test_each_start_has_its_own_attachments(host: EngineHost) -> None:
    container = await host.create("echo once; read word", spec=ContainerSpec(open_stdin=True))
    for _ in range(2):
        session = attach(host, container)
        await session.attached()
        await host.call("Start", container)
        await session.until(b"once\n")
        session.type(b"go\n")
        assert await session.end() == 0
        assert session.out == b"once\n"
    assert await logs(host, container) == b"once\nonce\n"
    waiting = attach(host, container)
    await waiting.attached()
    await host.call("Remove", container)
    await asyncio.wait((waiting._reading,), timeout=30)
    assert isinstance(waiting._reading.exception(), grpc.aio.AioRpcError)


async def test_exec_by_id_and_in_one(host: EngineHost) -> None:
    container = await host.run("sleep 100")
    session = execute(host, container, "sh", "-c", "cat; exit 6")
    session.type(b"in\n")
    session.half_close()
    assert await session.end() == 6 and session.out == b"in\n"
    created = await host.containers.CreateExec(
        pb.ExecConfig(
            container=container, command=["sh", "-c", "stty size; read x"], tty=True,
            attach_stdin=True,
            console_height=8, console_width=9,
        )
    )  # fmt: skip
    session = Session(host.containers.Exec, pb.ExecInput, pb.ExecInput(exec_id=created.id))
    await session.until(b"8 9\r\n")
    assert (await host.inspect(container)).exec_ids == [created.id]
    await host.containers.ResizeExec(pb.ResizeRequest(ref=created.id, height=5, width=7))
    state = await host.containers.InspectExec(created)
    assert state.running and state.pid > 0 and state.container_id == container
    session.type(b"\n")
    assert await session.end() == 0
    missing = execute(host, container, "nosuch")
    details = await host.refused(missing.end(), grpc.StatusCode.FAILED_PRECONDITION)
    assert details.startswith('exec: "nosuch": executable file not found')


async def test_logs_are_followed_to_the_end_of_the_container(host: EngineHost) -> None:
    container = await host.run(
        "for n in 1 2 3; do echo $n; sleep 0.1; done; head -c 20000 /dev/zero | tr '\\0' x; echo"
    )
    whole = b"1\n2\n3\n" + b"x" * 20000 + b"\n"
    assert await logs(host, container, follow=True) == whole
    assert await logs(host, container, tail=1) == b"x" * 20000 + b"\n"
    quiet = await host.run("echo hidden", log_driver=Driver(name="none"))
    await host.refused(logs(host, quiet), grpc.StatusCode.FAILED_PRECONDITION)


async def test_an_engine_that_starts_again_finds_the_container_and_its_streams(
    host: EngineHost,
) -> None:
    container = await host.create(
        "while read word; do echo got $word; done", spec=ContainerSpec(open_stdin=True)
    )
    await host.call("Start", container)
    first = attach(host, container)
    await first.attached()
    first.type(b"one\n")
    await first.until(b"got one\n")
    await host.restart_engine()
    await asyncio.wait((first._reading,), timeout=30)

    async def back() -> Session | None:
        session = attach(host, container)
        try:
            await session.attached()
        except grpc.aio.AioRpcError:
            return None
        return session

    second = await until(back)
    second.type(b"two\n")
    await second.until(b"got two\n")
    await second.leave()
    assert await logs(host, container) == b"got one\ngot two\n"
