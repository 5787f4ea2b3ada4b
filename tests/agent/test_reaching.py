"""What a node answers who comes by a manager: of tasks' containers, and of no others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from agent_node import AgentNode

from swarmlite import rpc
from swarmlite.agent.reaching import serving
from swarmlite.agent.workload import container_id_of
from swarmlite.engine.engine import Engine
from swarmlite.model import task_states
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2_grpc import ContainersServicer, ContainersStub
from swarmlite.proto.control_pb2 import TunnelTo
from swarmlite.proto.specs_pb2 import ContainerSpec

SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


async def test_commands_of_plain_containers_are_not_found_by_way_of_a_manager(
    node: AgentNode,
) -> None:
    task, here = node.task(SLEEP), node.engine.containers
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    spec = ContainerSpec(image=node.image, command=["sh", "-c"], args=[SLEEP])
    request = pb.CreateContainerRequest(config=pb.ContainerConfig(spec=spec))
    plain = (await here.Create(request)).id
    await here.Start(pb.ContainerRef(ref=plain))
    async with rpc.unix_channel(node.paths.run_dir / "tasks.sock") as channel:
        there: Any = ContainersStub(channel)
        execs = {
            ref: (await here.CreateExec(pb.ExecConfig(container=ref, command=["true"]))).id
            for ref in (plain, container_id_of(task.id))
        }
        assert (await there.InspectExec(pb.ExecRef(id=execs.pop(container_id_of(task.id))))).id
        for call in (
            there.InspectExec(pb.ExecRef(id=execs[plain])),
            there.ResizeExec(pb.ResizeRequest(ref=execs[plain], height=9, width=9)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    await here.Remove(pb.RemoveContainerRequest(ref=plain, force=True))


async def test_what_is_made_meanwhile_has_the_modes_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is the whole process's: it is as it was whenever other work has its turn."""
    nothing = ContainersServicer()  # type: ignore[abstract]
    monkeypatch.setattr(serving, "TaskContainers", lambda _: nothing)
    mask = os.umask(0o022)
    seen = []

    async def look() -> None:
        while True:
            await asyncio.sleep(0)
            now = os.umask(0o022)
            os.umask(now)
            seen.append(now)

    looking = asyncio.create_task(look())
    try:
        paths = {TunnelTo.READ: tmp_path / "a", TunnelTo.WRITE: tmp_path / "b"}
        async with serving.serving(cast(Engine, None), paths):
            assert {path.stat().st_mode & 0o777 for path in paths.values()} == {0o600}
        assert set(seen) == {0o022}
    finally:
        looking.cancel()
        os.umask(mask)
