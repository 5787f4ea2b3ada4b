"""Logs of a container as its clients get them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rt_harness import Containers

from swarmlite import errors
from swarmlite.engine.io import logs
from swarmlite.engine.io.log_drivers import log_of, log_path
from swarmlite.proto.containers_pb2 import Container, ContainerLogsRequest, ContainerState
from swarmlite.proto.control_pb2 import LogMessage, LogOptions


async def started(
    containers: Containers, *args: str, driver: str = "", **options: str
) -> tuple[Container, Any]:
    container_id, bundle = containers.bundle(*args)
    (bundle / "logs").mkdir()
    message = Container(id=container_id, env=["OS=linux", "X=1"], labels={"app": "web", "b": "c"})
    message.config.name = "name"
    message.config.log_driver.name = driver
    message.config.log_driver.options.update(
        {name.replace("_", "-"): value for name, value in options.items()}
    )
    log = await log_of(message, bundle)
    await containers.supervisor.create(container_id, bundle, log=log)
    containers.ids.append(container_id)
    await containers.supervisor.start(container_id)
    message.state.status = ContainerState.RUNNING
    return message, bundle


async def read(
    containers: Containers, started: tuple[Container, Any], **request: Any
) -> list[LogMessage]:
    options = LogOptions(tail=request.pop("tail", -1), **request.pop("options", {}))
    wanted = ContainerLogsRequest(options=options, **request)
    found = logs.read(lambda: containers.supervisor, *started, wanted)
    return [message async for response in found for message in response.messages]


async def test_a_long_line_is_one_line_and_tail_counts_lines(containers: Containers) -> None:
    script = "echo first; head -c 50000 /dev/zero | tr '\\0' x; echo; echo last"
    made = await started(containers, "sh", "-c", script)
    await containers.supervisor.wait(made[0].id)
    made[0].state.status = ContainerState.EXITED
    everything = [message.data for message in await read(containers, made)]
    assert everything == [b"first\n", b"x" * 50000 + b"\n", b"last\n"]
    for tail in (0, 1, 2, 3):
        assert [m.data for m in await read(containers, made, tail=tail)] == everything[3 - tail :]
    plain = await read(containers, made, plain=True)
    assert [message.data for message in plain] == [b"".join(everything)]
    assert not plain[0].HasField("timestamp")


async def test_streams_times_and_attributes_are_as_asked_for(containers: Containers) -> None:
    made = await started(
        containers, "sh", "-c", "echo out; echo err >&2",
        labels="app", env="OS,NONE", tag="{{.Name}}",
    )  # fmt: skip
    await containers.supervisor.wait(made[0].id)
    made[0].state.status = ContainerState.EXITED
    [only] = await read(containers, made, options={"stderr": True}, details=True)
    assert only.data == b"err\n"
    assert dict(only.attributes) == {"app": "web", "OS": "linux", "tag": "name"}
    after = Timestamp()
    after.FromNanoseconds(only.timestamp.ToNanoseconds() + 1)
    assert [m.data for m in await read(containers, made, options={"since": after})] in (
        [], [b"out\n"],
    )  # fmt: skip
    assert len(await read(containers, made, options={"until": after})) >= 1


@pytest.mark.parametrize("driver", ["json-file", "local"])
async def test_several_follow_over_rotations_and_end_with_the_container(
    containers: Containers, driver: str
) -> None:
    made = await started(
        containers, "sh", "-c",
        "for n in $(seq 1 400); do echo line $n; [ $((n % 20)) = 0 ] && sleep 0.05; done",
        driver=driver, max_size="8k", max_file="5",
    )  # fmt: skip
    readers = [
        asyncio.create_task(read(containers, made, options={"follow": True})) for _ in range(3)
    ]
    seen = await asyncio.wait_for(asyncio.gather(*readers), 60)
    expected = [f"line {number}\n".encode() for number in range(1, 401)]
    assert log_path(made[1]).with_name("container.log.1").exists() or driver == "local"
    for messages in seen:
        assert [message.data for message in messages] == expected


async def test_what_keeps_no_lines_says_so(containers: Containers) -> None:
    made = await started(containers, "echo", "hi", driver="none")
    with pytest.raises(errors.FailedPrecondition, match="driver none keeps nothing"):
        await read(containers, made)
