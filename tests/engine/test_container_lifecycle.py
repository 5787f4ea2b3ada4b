"""Plain containers through the engine's socket: created, started, stopped, renamed, removed."""

from __future__ import annotations

import asyncio

import grpc
from engine_host import SLEEP, EngineHost, until

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount

NOT_FOUND = grpc.StatusCode.NOT_FOUND
FAILED = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def test_a_container_runs_ends_and_is_removed(host: EngineHost) -> None:
    container = await host.create("echo hello; exit 3", name="one")
    found = await host.inspect("one")
    assert (found.id, found.state.status) == (container, ContainerState.CREATED)
    await host.call("Start", container[:12])
    assert (await host.wait("one")).exit_code == 3
    found = await host.inspect(container)
    assert found.state.status == ContainerState.EXITED
    assert found.state.finished.ToNanoseconds() >= found.state.started.ToNanoseconds() > 0
    assert host.output(container) == "hello\n"
    await host.call("Remove", "one")
    assert "No such container: one" in await host.refused(host.inspect("one"), NOT_FOUND)
    await host.nothing_left()


async def test_what_it_wrote_stays_from_one_start_to_the_next(host: EngineHost) -> None:
    container = await host.run("echo x >> /count; wc -l < /count")
    await host.wait(container)
    await host.call("Start", container)
    await host.wait(container)
    assert host.output(container) == "1\n2\n"


async def test_stop_asks_then_kills_and_kill_kills(host: EngineHost) -> None:
    polite = await host.run("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done")
    deaf = await host.run("trap '' TERM; echo up; while :; do sleep 0.1; done")
    for container in (polite, deaf):
        await until(lambda container=container: _written(host, container, "up"))
    await host.call("Stop", polite)
    await host.call("Stop", deaf, timeout_s=1)
    assert (await host.inspect(polite)).state.exit_code == 5
    assert "bye" in host.output(polite)
    assert (await host.inspect(deaf)).state.exit_code == 137
    await host.call("Stop", deaf)  # again is no error
    assert "is not running" in await host.refused(host.call("Kill", deaf), FAILED)
    await host.call("Start", deaf)
    await host.call("Kill", deaf)
    assert (await host.wait(deaf)).exit_code == 137


async def _written(host: EngineHost, container: str, text: str) -> bool:
    return text in host.output(container)


async def test_names_are_unique_generated_and_changed(host: EngineHost) -> None:
    await host.create("true", name="taken")
    said = await host.refused(host.create("true", name="/taken"), grpc.StatusCode.ALREADY_EXISTS)
    assert said.startswith('Conflict. The container name "/taken" is already in use by container')
    await host.refused(host.create("true", name="no spaces"), INVALID)
    other = await host.create("true")
    name = (await host.inspect(other)).config.name
    adjective, _, surname = name.partition("_")
    assert adjective.isalpha()
    assert surname.isalnum()
    await host.refused(host.call("Rename", other, name="taken"), grpc.StatusCode.ALREADY_EXISTS)
    await host.call("Rename", other, name="mine")
    assert (await host.inspect("mine")).id == other
    await host.refused(host.inspect(name), NOT_FOUND)
    await host.restart_engine()
    assert (await host.inspect("mine")).id == other


async def test_a_running_container_is_removed_by_force_only(host: EngineHost) -> None:
    container = await host.run(SLEEP, name="busy")
    said = await host.refused(host.call("Remove", "busy"), FAILED)
    assert "container is running: stop the container before removing or force remove" in said
    removed = asyncio.ensure_future(host.wait("busy", pb.WaitContainerRequest.REMOVED))
    await host.call("Remove", container, force=True)
    assert (await removed).exit_code == 137
    await host.nothing_left()


async def test_a_command_that_is_not_there_says_127_and_one_that_may_not_run_126(
    host: EngineHost,
) -> None:
    missing = await host.create(spec=ContainerSpec(command=["no-such-program"]))
    said = await host.refused(host.call("Start", missing), FAILED)
    assert 'exec: "no-such-program": executable file not found in $PATH' in said
    state = (await host.inspect(missing)).state
    assert (state.exit_code, state.status) == (127, ContainerState.CREATED)
    assert "no-such-program" in state.error
    refused = await host.create(spec=ContainerSpec(command=["/etc"]))
    await host.refused(host.call("Start", refused), FAILED)
    assert (await host.inspect(refused)).state.exit_code == 126
    await host.call("Remove", missing)
    await host.call("Remove", refused)
    await host.nothing_left()


async def test_a_container_of_rm_goes_with_its_end_and_its_volumes(host: EngineHost) -> None:
    mounts = [Mount(type=Mount.VOLUME, target="/v"), Mount(type=Mount.TMPFS, target="/t")]
    container = await host.run(SLEEP, auto_remove=True, spec=ContainerSpec(mounts=mounts))
    point = next(m for m in (await host.inspect(container)).mounts if m.destination == "/v")
    gone = asyncio.ensure_future(host.wait(container, pb.WaitContainerRequest.REMOVED))
    await host.call("Stop", container)
    await gone
    await host.nothing_left()
    assert not (host.node.paths.volumes_dir / point.name).exists()
    failing = await host.create(auto_remove=True, spec=ContainerSpec(command=["no-such-program"]))
    removed = asyncio.ensure_future(host.wait(failing, pb.WaitContainerRequest.REMOVED))
    await host.refused(host.call("Start", failing), FAILED)
    assert (await removed).exit_code == 127
    await host.nothing_left()


async def test_pause_stops_time_and_unpause_goes_on(host: EngineHost) -> None:
    container = await host.run(SLEEP)
    await host.call("Pause", container)
    assert (await host.inspect(container)).state.status == ContainerState.PAUSED
    assert "already paused" in await host.refused(host.call("Pause", container), FAILED)
    await host.refused(host.call("Start", container), FAILED)
    await host.restart_engine()
    assert (await host.inspect(container)).state.status == ContainerState.PAUSED
    await host.call("Unpause", container)
    assert "is not paused" in await host.refused(host.call("Unpause", container), FAILED)
    await host.call("Pause", container)
    await host.call("Stop", container)
    assert (await host.inspect(container)).state.status == ContainerState.EXITED


async def test_lists_and_their_filters(host: EngineHost) -> None:
    running = await host.run(SLEEP, name="runs", spec=ContainerSpec(labels={"a": "1"}))
    ended = await host.run("exit 4", name="ended")
    await host.wait(ended)

    async def ids(**filters: str) -> list[str]:
        return [entry.id for entry in await host.list(**filters)]

    assert await ids() == [ended, running]
    assert [entry.id for entry in await host.list(all=False)] == [running]
    for filters, expected in (
        ({"name": "run"}, [running]),
        ({"name": "^/ended$"}, [ended]),
        ({"status": "exited"}, [ended]),
        ({"exited": "4"}, [ended]),
        ({"exited": "0"}, []),
        ({"label": "a=1"}, [running]),
        ({"label": "a=2"}, []),
        ({"id": running[:10]}, [running]),
        ({"before": ended}, [running]),
        ({"since": running}, [ended]),
        ({"ancestor": host.image}, [ended, running]),
        ({"is_task": "true"}, []),
        ({"health": "none"}, [ended, running]),
    ):
        assert await ids(**filters) == expected, filters
    await host.refused(host.list(status="odd"), INVALID)
    await host.refused(host.list(no_such="x"), INVALID)


async def test_prune_removes_what_does_not_run(host: EngineHost) -> None:
    running = await host.run(SLEEP)
    ended = await host.run("echo 0123456789 > /file")
    await host.wait(ended)
    pruned = await host.containers.Prune(pb.PruneRequest())
    assert list(pruned.deleted) == [ended]
    assert pruned.reclaimed_bytes > 0
    assert [entry.id for entry in await host.list()] == [running]


async def test_an_image_that_is_not_here_and_limits_that_cannot_be(host: EngineHost) -> None:
    missing = host.create("true", spec=ContainerSpec(image="no-such-image:1"))
    assert "No such image: no-such-image:1" in await host.refused(missing, NOT_FOUND)
    small = pb.ContainerResources(memory_bytes=1 << 20)
    said = await host.refused(host.create("true", resources=small), INVALID)
    assert "Minimum memory limit allowed is 6MB" in said
    both = host.create("true", auto_remove=True, restart={"condition": 2})
    assert "--restart and --rm" in await host.refused(both, INVALID)
    await host.nothing_left()
