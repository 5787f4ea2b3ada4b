"""What containers use and may use: stats, top, update, and what the disk holds."""

from __future__ import annotations

import shutil

import grpc
import pytest
from engine_host import SLEEP, EngineHost, until

from swarmlite.engine import top
from swarmlite.engine.updates import live_changes, merge
from swarmlite.errors import InvalidSpec
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import Empty
from swarmlite.proto.host_pb2 import DiskUsageRequest
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount

FAILED = grpc.StatusCode.FAILED_PRECONDITION


def test_the_lines_of_ps_that_are_a_containers() -> None:
    text = "UID PID CMD\nroot 1 init of all\nroot 20 sh -c x\nroot 21 sleep 3\n"
    found = top.parse(text, {20, 21})
    assert list(found.titles) == ["UID", "PID", "CMD"]
    assert [list(p.fields) for p in found.processes] == [
        ["root", "20", "sh -c x"],
        ["root", "21", "sleep 3"],
    ]
    with pytest.raises(InvalidSpec, match="PID"):
        top.parse("USER CMD\nroot x\n", {1})


def test_an_update_changes_what_it_names_and_only_that() -> None:
    current = pb.ContainerResources(memory_bytes=64 << 20, cpu_shares=512)
    changes = pb.ContainerResources(memory_bytes=128 << 20)
    merged = merge(current, changes)
    assert (merged.memory_bytes, merged.cpu_shares) == (128 << 20, 512)
    assert live_changes(merged, changes) == {"memory": {"limit": 128 << 20, "swap": 256 << 20}}
    current.memory_swap_bytes = 100 << 20
    with pytest.raises(InvalidSpec, match="memoryswap"):
        merge(current, changes)


async def test_the_storage_driver_is_called_as_docker_calls_it(host: EngineHost) -> None:
    assert (await host.node.engine.host.Info(Empty())).storage_driver in ("overlay2", "vfs")


async def test_limits_change_live_and_stay(host: EngineHost) -> None:
    container = await host.run(
        SLEEP, resources=pb.ContainerResources(memory_bytes=64 << 20, pids_limit=50)
    )
    found = [
        reading
        async for reading in host.containers.Stats(pb.StatsRequest(refs=[container]), timeout=20)
    ]
    assert len(found) == 1
    assert (found[0].memory_limit_bytes, found[0].pids_limit) == (64 << 20, 50)
    assert found[0].running
    assert found[0].pids_current >= 1
    assert found[0].host_cpu_usage_ns > 0
    assert [interface.name for interface in found[0].interfaces] == ["eth0"]
    await host.call(
        "Update",
        container,
        resources=pb.ContainerResources(memory_bytes=96 << 20, pids_limit=60),
        restart=pb.ContainerRestartPolicy(condition=pb.ContainerRestartPolicy.ALWAYS),
    )
    reading = await anext(aiter(host.containers.Stats(pb.StatsRequest(refs=[container]))))
    assert (reading.memory_limit_bytes, reading.pids_limit) == (96 << 20, 60)
    config = (await host.inspect(container)).config
    assert config.resources.memory_bytes == 96 << 20
    assert config.restart.condition == pb.ContainerRestartPolicy.ALWAYS
    small = host.call("Update", container, resources=pb.ContainerResources(memory_bytes=1))
    await host.refused(small, grpc.StatusCode.INVALID_ARGUMENT)
    await host.call("Stop", container)
    reading = await anext(aiter(host.containers.Stats(pb.StatsRequest(refs=[container]))))
    assert not reading.running


async def test_top_shows_a_containers_processes(host: EngineHost) -> None:
    if shutil.which("ps") is None:
        pytest.skip("there is no ps on this host")
    container = await host.run("sleep 1000 & wait")

    async def both() -> bool:
        """The shell and what it runs, as soon as it has begun to."""
        found = await host.call("Top", container, ps_args=["-eo", "pid,args"])
        commands = [process.fields[1] for process in found.processes]
        return len(commands) == 2 and "sleep 1000" in commands

    await until(both)
    await host.call("Remove", container, force=True)
    idle = await host.create("true")
    assert "is not running" in await host.refused(host.call("Top", idle), FAILED)


async def test_what_the_disk_holds(host: EngineHost) -> None:
    mounts = [Mount(type=Mount.VOLUME, source="data", target="/data")]
    container = await host.run(
        "head -c 300000 /dev/zero > /data/f; head -c 200000 /dev/zero > /g",
        spec=ContainerSpec(mounts=mounts),
    )
    await host.wait(container)
    usage = await host.node.engine.host.DiskUsage(DiskUsageRequest())
    assert [c.id for c in usage.containers] == [container]
    assert usage.containers[0].size_rw_bytes >= 200_000
    assert usage.containers[0].size_root_fs_bytes > usage.containers[0].size_rw_bytes
    assert [v.name for v in usage.volumes] == ["data"]
    assert usage.volumes[0].size_bytes >= 300_000
    assert list(usage.volumes[0].used_by) == [container]
    assert usage.layers_bytes > 0
    assert usage.images[0].containers == 1
