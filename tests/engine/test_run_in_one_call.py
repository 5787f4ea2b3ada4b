"""`Run`: created, attached to, started and waited for by one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from engine_host import EngineHost, until

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT


class Running:
    """A call that is made; what is put into `up` is sent, None ends it."""

    def __init__(self, host: EngineHost, config: pb.ContainerConfig) -> None:
        self.up: asyncio.Queue[pb.RunInput | None] = asyncio.Queue()
        self.up.put_nowait(pb.RunInput(config=config))
        self.call = host.containers.Run(self._messages())
        self.replies = aiter(self.call)

    async def _messages(self) -> AsyncIterator[pb.RunInput]:
        while (message := await self.up.get()) is not None:
            yield message

    def say(self, **fields: Any) -> None:
        self.up.put_nowait(pb.RunInput(**fields))

    async def created(self) -> str:
        message = await anext(self.replies)
        assert message.id
        return str(message.id)

    async def start(self) -> str:
        """The container's id, once it runs."""
        container = await self.created()
        self.say(start=True)
        assert (await anext(self.replies)).started
        return container

    async def rest(self) -> list[pb.RunOutput]:
        found = [message async for message in self.replies]
        self.up.put_nowait(None)
        return found


def text(messages: list[pb.RunOutput], stream: int) -> bytes:
    return b"".join(message.data for message in messages if message.stream == stream)


async def test_streams_input_and_the_exit_code_come_by_the_call_that_created(
    host: EngineHost,
) -> None:
    config = host.config(
        "echo begun; cat; echo to the other >&2; exit 3",
        attach_stdin=True, attach_stdout=True, attach_stderr=True, auto_remove=True,
        stdin_once=True,
    )  # fmt: skip
    config.spec.open_stdin = True
    running = Running(host, config)
    container = await running.start()
    running.say(stdin=b"some ")
    running.say(stdin=b"input")
    running.say(stdin_close=True)
    messages = await running.rest()
    assert text(messages[:-1], LOG_STDOUT) == b"begun\nsome input"
    assert text(messages[:-1], LOG_STDERR) == b"to the other\n"
    assert messages[-1].exit_code == 3 and messages[-1].HasField("exit_code")
    found = [c.id for c in await host.list()]
    assert container not in found, "of --rm, so the code comes once it is removed"


async def test_without_streams_it_is_started_at_once_and_its_end_is_told(host: EngineHost) -> None:
    running = Running(host, host.config("exit 4"))
    running.say(start=True)  # without a wait for its id
    messages = await running.rest()
    assert [bool(m.id) or m.started or m.exit_code for m in messages] == [True, True, 4]
    assert (await host.inspect(messages[0].id)).state.exit_code == 4


@pytest.mark.parametrize("attached", [False, True])
async def test_what_cannot_be_started_is_told_after_the_id(
    host: EngineHost, attached: bool
) -> None:
    config = host.config(attach_stdout=attached, attach_stderr=attached)
    config.spec.command.append("/no/such/program")
    running = Running(host, config)
    container = await running.created()
    running.say(start=True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.rest()
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "/no/such/program" in str(caught.value.details())
    assert (await host.inspect(container)).state.exit_code == 127
    running.up.put_nowait(None)


async def test_a_config_that_is_refused_has_no_id(host: EngineHost) -> None:
    config = host.config("true")
    config.spec.image = "no/such:image"
    running = Running(host, config)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.created()
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert not await host.list()
    running.up.put_nowait(None)


async def test_who_goes_away_leaves_it_created_or_running(host: EngineHost) -> None:
    before = Running(host, host.config("true", attach_stdout=True))
    created = await before.created()
    before.call.cancel()
    after = Running(host, host.config("read line", attach_stdout=True))
    running = await after.start()
    after.call.cancel()
    last = Running(host, host.config("true"))
    await last.created()
    last.up.put_nowait(None)  # its requests end without a word of a start
    assert not await last.rest()
    for call in (before, after):
        call.up.put_nowait(None)
    states = {c.id: c.state.status for c in await host.list()}
    assert states[created] == pb.ContainerState.CREATED
    # It has no input, so that it ends by itself: what counts is that it was let run.
    await until(lambda: _has_ended(host, running))
    assert (await host.inspect(running)).state.HasField("finished")


async def _has_ended(host: EngineHost, container: str) -> bool:
    return bool((await host.inspect(container)).state.status == pb.ContainerState.EXITED)
