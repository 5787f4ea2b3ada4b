"""The engine's services on the node's own socket, and nodes that are in no swarm any longer."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import grpc
import pytest
from agent_node import AgentNode

from swarmlite.agent.workload import container_id_of
from swarmlite.model import task_states
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import Empty, ListRequest
from swarmlite.proto.images_pb2 import RemoveImageRequest
from swarmlite.proto.types_pb2 import Mount
from swarmlite.proto.volumes_pb2 import LocalVolume, RemoveVolumeRequest

SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


async def refused(call: Any, code: grpc.StatusCode) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == code
    return str(caught.value.details())


async def test_info_images_containers_and_volumes(node: AgentNode) -> None:
    task = node.task(SLEEP)
    task.spec.container.mounts.append(Mount(type=Mount.VOLUME, source="used", target="/v"))
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    engine = node.engine
    info = await engine.host.Info(Empty())
    assert (info.swarm_state, info.node_id) == ("active", node.node_id)
    assert (info.containers_running, info.images) == (1, 1)
    assert info.description.resources.nano_cpus >= 10**9

    listed = (await engine.containers.List(pb.ListContainersRequest())).containers
    assert [entry.id for entry in listed] == [container_id_of(task.id)]
    assert listed[0].config.name == f"web.1.{task.id}"
    assert listed[0].labels["com.docker.swarm.service.name"] == "web"

    image = (await engine.images.List(ListRequest())).images[0]
    said = await refused(
        engine.images.Remove(RemoveImageRequest(ref=image.id)),
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    assert "in use" in said

    volumes = (await engine.volumes.List(ListRequest())).volumes
    assert [volume.name for volume in volumes] == ["used"]
    await refused(
        engine.volumes.Remove(RemoveVolumeRequest(ref="used")), grpc.StatusCode.FAILED_PRECONDITION
    )
    await engine.volumes.Create(LocalVolume(name="mine", labels={"a": "b"}))
    await engine.volumes.Remove(RemoveVolumeRequest(ref="mine"))
    await refused(engine.volumes.Remove(RemoveVolumeRequest(ref="mine")), grpc.StatusCode.NOT_FOUND)


async def test_exec_passes_input_and_keeps_streams_apart(node: AgentNode) -> None:
    task = node.task(SLEEP)
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)

    async def inputs() -> Any:
        command = ["sh", "-c", "read line; echo got $line; echo bad >&2; exit 4"]
        ref = f"web.1.{task.id}"
        start = pb.ExecConfig(container=ref, command=command, attach_stdin=True)
        yield pb.ExecInput(config=start)
        yield pb.ExecInput(stdin=b"hello\n")
        yield pb.ExecInput(stdin_close=True)

    messages = [message async for message in node.engine.containers.Exec(inputs(), timeout=20)]
    assert b"".join(m.data for m in messages if m.stream == 1) == b"got hello\n"
    assert b"".join(m.data for m in messages if m.stream == 2) == b"bad\n"
    assert messages[-1].exit_code == 4

    async def unknown() -> Any:
        yield pb.ExecInput(config=pb.ExecConfig(container="nope", command=["true"]))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in node.engine.containers.Exec(unknown(), timeout=20):
            pass
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_the_socket_is_its_owners_alone(node: AgentNode) -> None:
    assert node.paths.agent_socket.stat().st_mode & 0o777 == 0o600


async def test_a_node_removed_from_the_swarm_stops_its_tasks_and_says_so(node: AgentNode) -> None:
    task = node.task(SLEEP)
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    node.manager.refusal = (grpc.StatusCode.PERMISSION_DENIED, "node was removed")
    node.manager.end_session()
    await gone(node)
    info = await node.engine.host.Info(Empty())
    assert info.swarm_state == "error"
    assert "removed from the swarm" in info.error


async def test_a_node_that_left_keeps_nothing_of_the_swarm(node: AgentNode) -> None:
    task = node.task(SLEEP)
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    node.end("agent", signal.SIGTERM)
    assert len(await node.containers()) == 1  # the agent's end touches no container
    node.paths.node_file.unlink()
    await node.start_agent()
    await gone(node)
    assert (await node.engine.host.Info(Empty())).swarm_state == "inactive"


async def test_a_frozen_manager_is_noticed_and_left(node: AgentNode) -> None:
    node.send_signal("forwarder", signal.SIGSTOP)
    while (await node.engine.host.Info(Empty())).swarm_state == "active":
        await asyncio.sleep(0.2)
    node.send_signal("forwarder", signal.SIGCONT)
    await node.manager.session(2)


async def gone(node: AgentNode) -> None:
    deadline = time.monotonic() + 10
    while await node.containers() or list(node.paths.containers_dir.iterdir()):
        assert time.monotonic() < deadline, "something is left"
        await asyncio.sleep(0.05)
