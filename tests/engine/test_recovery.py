"""The engine and the supervisor killed at every step: all is resumed or undone, nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import grpc
import pytest
from engine_host import SLEEP, EngineHost, until
from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2 import ContainerRestartPolicy as Policy
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.control_pb2 import Filter
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount, PortConfig

KILL_AT = "SWARMLITE_ENGINE_KILL_AT"
CREATE = ("folder", "root", "volumes")
PREPARE = ("mounts", "sandbox", "files", "bundle", "process")
DOING = [f"{step}.{when}" for step in (*CREATE, *PREPARE) for when in ("begun", "done")]
UNDOING = (
    "removing",
    *(f"{step}.undone" for step in ("process", "sandbox", "volumes", "root", "folder")),
)


def wanted() -> dict[str, object]:
    mounts = [
        Mount(type=Mount.VOLUME, target="/anonymous"),
        Mount(type=Mount.VOLUME, source="named", target="/named"),
    ]
    return {
        "name": "victim",
        "ports": [PortConfig(target_port=80, published_port=8777)],
        "spec": ContainerSpec(mounts=mounts),
    }


async def dies(host: EngineHost) -> None:
    """Until the engine's process has killed itself."""
    process = host.node._processes["agent"]

    async def dead() -> bool:
        return process.poll() is not None

    await until(dead)


async def only_the_named_volume_is_left(host: EngineHost) -> None:
    await host.nothing_left()

    async def alone() -> bool:
        folder = host.node.paths.volumes_dir
        return [p.name for p in folder.iterdir() if not p.name.startswith(".")] in ([], ["named"])

    await until(alone)


@pytest.mark.timeout(600)
async def test_killed_at_each_step_of_create_and_start(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.node.end("agent")
    for point in [*DOING, "started"]:
        await start_armed(host, monkeypatch, point)
        found = await host.list()
        of_create = point in DOING[: 2 * len(CREATE)]
        assert [entry.config.name for entry in found] == ([] if of_create else ["victim"]), point
        at_rest = (ContainerState.CREATED, ContainerState.EXITED)
        assert all(entry.state.status in at_rest for entry in found), point
        held = {line.split()[0] for line in await host.leftovers()}
        assert held == ({"folder", "snapshot"} if found else set()), point
        with contextlib.suppress(grpc.aio.AioRpcError):
            if of_create:
                await host.create(SLEEP, **wanted())
            await host.call("Start", "victim")
        await dies(host)
        if point == "volumes.done":  # what follows begins with a container that is whole
            await host.node.start_agent()
            await host.create(SLEEP, **wanted())
            host.node.end("agent")
        if point == "process.done":  # it has begun already
            await host.node.start_agent()
            await adopted_and_stopped(host)
            host.node.end("agent")
    await host.node.start_agent()
    await adopted_and_stopped(host)
    await host.call("Remove", "victim", volumes=True)
    await only_the_named_volume_is_left(host)


async def adopted_and_stopped(host: EngineHost) -> None:
    """It runs, and its end is heard."""
    assert (await host.inspect("victim")).state.status == ContainerState.RUNNING
    await host.call("Stop", "victim")
    assert (await host.inspect("victim")).state.exit_code == 0


async def start_armed(host: EngineHost, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Start the engine's process, which kills itself at `point`."""
    monkeypatch.setenv(KILL_AT, point)
    await host.node.start_agent()
    monkeypatch.delenv(KILL_AT)


@pytest.mark.timeout(600)
async def test_killed_at_each_step_of_a_removal(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    for point in UNDOING:
        host.node.end("agent")
        await start_armed(host, monkeypatch, point)
        container = await host.run(SLEEP, **wanted(), auto_remove=True)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await host.call("Remove", container, force=True, volumes=True)
        await dies(host)
        await host.node.start_agent()
        await host.gone(container)
        await only_the_named_volume_is_left(host)


@pytest.mark.parametrize("policy", [Policy.NO, Policy.ALWAYS])
async def test_killed_in_mid_end_the_exit_code_is_kept(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch, policy: Policy.Condition.ValueType
) -> None:
    """The supervisor forgets it while what the run had is undone."""
    host.node.end("agent")
    await start_armed(host, monkeypatch, "process.undone")
    with contextlib.suppress(grpc.aio.AioRpcError):
        await host.run("exit 3", name="ended", restart=Policy(condition=policy))
    await dies(host)
    await host.node.start_agent()
    if policy == Policy.NO:
        assert (await host.inspect("ended")).state.exit_code == 3
    else:  # started again at once: what it had ended with is told by an event
        died = [Filter(key="event", values=["die"])]
        event = (await host.events(1, since=Timestamp(seconds=1), filters=died))[0]
        assert event.attributes["exitCode"] == "3"


async def test_a_supervisor_killed_while_containers_start_leaves_nothing(host: EngineHost) -> None:
    containers = [await host.create(SLEEP) for _ in range(6)]
    starts = [asyncio.ensure_future(host.call("Start", container)) for container in containers]
    await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
    host.node.end("supervisor")
    host.node.start_supervisor()
    await asyncio.wait(starts)

    async def answers() -> bool:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await host.run("true", auto_remove=True)
            return True
        return False

    await until(answers)
    for start in starts:
        start.exception()
    for container in containers:
        await host.call("Remove", container, force=True)
    await host.nothing_left()


async def test_what_no_record_owns_is_swept_away(host: EngineHost) -> None:
    container = await host.run(SLEEP)
    (host.node.paths.containers_dir / container / "record").unlink()
    await host.restart_engine()
    assert await host.list() == []
    await host.nothing_left()


async def test_a_host_that_was_started_again_restarts_what_is_to_run(host: EngineHost) -> None:
    """All processes and the run directory are gone, as after a reboot. It is no failure of theirs,
    so that it counts as none and one that has used up its attempts comes back as well.
    """
    always = await host.run(
        "echo up; " + SLEEP, restart={"condition": pb.ContainerRestartPolicy.ALWAYS}
    )
    once = {"condition": pb.ContainerRestartPolicy.ON_FAILURE, "max_retries": 1}
    failed = await host.run("echo up; [ -e /was ] || { >/was; exit 1; }; " + SLEEP, restart=once)

    def ups(container: str, count: int) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            return host.output(container).count("up") == count

        return reached

    await until(ups(failed, 2))
    assert (await host.inspect(failed)).state.restart_count == 1
    plain = await host.run(SLEEP)
    host.node.end("agent")
    host.node.end("supervisor")
    host.node.start_supervisor()
    await host.node.start_agent()
    await until(ups(always, 2))
    await until(ups(failed, 3))
    for container in (always, failed):
        assert (await host.inspect(container)).state.restart_count == 0
    assert (await host.inspect(plain)).state.status == ContainerState.EXITED
    assert (await host.inspect(plain)).state.exit_code == 137
