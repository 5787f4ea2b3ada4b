"""What a node answers who comes by a manager: of tasks' containers only, and what it holds."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
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
from swarmlite.proto.control_pb2 import GetRequest, ListRequest, TunnelTo
from swarmlite.proto.images_pb2 import RemoveImageRequest
from swarmlite.proto.images_pb2_grpc import ImagesServicer, ImagesStub
from swarmlite.proto.objects_pb2 import Config, Secret
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.volumes_pb2 import LocalVolume, RemoveVolumeRequest
from swarmlite.proto.volumes_pb2_grpc import VolumesServicer, VolumesStub

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


async def test_who_only_reads_inspects_the_spec_and_never_a_payload_or_a_registrys_credentials(
    node: AgentNode,
) -> None:
    """The environment is of the spec, which the managers show to readers too."""
    task = node.task(SLEEP)
    container = task.spec.container
    container.env.append("COLOUR=red")
    container.pull_options.registry_auth = "bmVlZGxlOm5lZWRsZQ=="
    for kind, reference in (("s", container.secrets.add()), ("c", container.configs.add())):
        reference.file.name = f"/run/{kind}"
    container.secrets[0].secret_id = container.secrets[0].secret_name = "s1"
    container.configs[0].config_id = container.configs[0].config_name = "c1"
    data = {"data": b"needle"}
    node.manager.assign(task, Secret(id="s1", spec=data), Config(id="c1", spec=data))
    await node.manager.status(task.id, task_states.RUNNING)
    async with rpc.unix_channel(node.paths.run_dir / "tasks-read.sock") as channel:
        there: Any = ContainersStub(channel)
        found = await there.Inspect(pb.InspectContainerRequest(ref=task.id))
        assert "COLOUR=red" in found.env
        for needle in (b"needle", b"bmVlZGxl"):
            assert needle not in found.SerializeToString()
        exec_config = pb.ExecConfig(container=task.id, command=["cat", "/run/s"])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await there.CreateExec(exec_config)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_what_a_node_holds_is_listed_without_labels_and_options_and_only_listed(
    node: AgentNode,
) -> None:
    """A volume of a share has its password in its options."""
    share = {"type": "cifs", "device": "//a/b", "o": "password=needle"}
    await node.engine.volumes.Create(
        LocalVolume(name="share", driver="local", options=share, labels={"a": "needle"})
    )
    async with rpc.unix_channel(node.paths.run_dir / "held.sock") as channel:
        images: Any = ImagesStub(channel)
        volumes: Any = VolumesStub(channel)
        images_here = (await images.List(ListRequest())).images
        assert node.image in [name for each in images_here for name in each.repo_digests]
        found = await volumes.List(ListRequest())
        assert [each.name for each in found.volumes] == ["share"]
        assert b"needle" not in found.SerializeToString()
        for call in (
            volumes.Inspect(GetRequest(ref="share")),
            volumes.Remove(RemoveVolumeRequest(ref="share")),
            images.Remove(RemoveImageRequest(ref=node.image)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        containers: Any = ContainersStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await containers.Inspect(pb.InspectContainerRequest(ref="x"))
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_what_is_made_meanwhile_has_the_modes_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is the whole process's: it is as it was whenever other work has its turn."""
    nothing = ContainersServicer()  # type: ignore[abstract]
    monkeypatch.setattr(serving, "TaskContainers", lambda _: nothing)
    monkeypatch.setattr(serving, "HeldImages", lambda _: ImagesServicer())  # type: ignore[abstract]
    monkeypatch.setattr(serving, "HeldVolumes", lambda *_: VolumesServicer())  # type: ignore[abstract]
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
        held = tmp_path / "c"
        engine = cast(Engine, SimpleNamespace(storage=None, events=None))
        async with serving.serving(engine, paths, held):
            assert {path.stat().st_mode & 0o777 for path in (*paths.values(), held)} == {0o600}
        assert set(seen) == {0o022}
    finally:
        looking.cancel()
        os.umask(mask)
