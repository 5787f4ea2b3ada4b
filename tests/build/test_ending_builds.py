"""Builds that are given up, killed, or run out of room: nothing of them stays."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from build_host import BuildHost, context_of

from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.control_pb2 import ListRequest


async def begun(builder: BuildHost, text: str, files: dict[str, Any] | None = None) -> Any:
    """A build whose RUN writes `running`; the call, once it has."""

    async def requests() -> Any:
        yield pb.BuildRequest(options=pb.BuildOptions(dockerfile_inline=text.encode()))
        if files:
            yield pb.BuildRequest(context=context_of(files))
        yield pb.BuildRequest(context_end={})
        await asyncio.Event().wait()

    call = builder.stub.Build(requests())
    while not (await call.read()).log.data:
        pass
    return call


async def test_a_client_that_goes_away_ends_its_build(builder: BuildHost) -> None:
    """The command is killed, and all of the build is cleared (the fixture looks)."""
    text = "FROM busybox\nCOPY f /f\nRUN echo running; sleep 3601\n"
    call = await begun(builder, text, {"f": "1"})
    assert len(await builder.node.containers()) == 1
    assert not await builder.host.list()  # nobody sees it
    call.cancel()
    await builder.nothing_left()
    assert not await builder.node.containers()
    again = await builder.build("FROM busybox\nCOPY f /f\n", {"f": "1"})
    assert again.cached == [True]


async def test_what_a_killed_agent_leaves_of_a_build_is_cleared(builder: BuildHost) -> None:
    """Container, snapshot, network, secrets and context: the next start takes them away."""
    text = "FROM busybox\nRUN --mount=target=/m echo running; sleep 3602\n"
    call = await begun(builder, text, {"f": "1"})
    await builder.host.restart_engine()
    with contextlib.suppress(grpc.aio.AioRpcError):
        await call.read()
    await builder.host.node.hang_up()
    await builder.nothing_left()
    assert not await builder.node.containers()
    assert (await builder.build("FROM busybox\nRUN true\n")).result


async def test_a_context_that_is_cut_short_builds_nothing(builder: BuildHost) -> None:
    async def requests() -> Any:
        yield pb.BuildRequest(options=pb.BuildOptions())
        yield pb.BuildRequest(context=context_of({"Dockerfile": "FROM scratch\n"})[:700])

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in builder.stub.Build(requests()):
            pass
    assert "context ended before it was whole" in str(caught.value.details())


async def test_a_full_disk_is_one_clear_error_and_leaves_nothing(builder: BuildHost) -> None:
    """A RUN that fills it fails by itself; what the builder writes says where there is no room."""
    state = builder.node.paths.state_dir
    build = state / "build" / "scratch"
    with small_disk(builder, build):
        data = os.urandom(3 << 20)
        built = await builder.build("FROM scratch\nCOPY f /f\n", {"f": data})
        assert built.error is not None
        assert built.error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, built.refusal
        assert "no space left on the disk" in built.refusal
    assert (await builder.build("FROM scratch\nCOPY f /f\n", {"f": "1"})).result


@contextlib.contextmanager
def small_disk(builder: BuildHost, place: Path) -> Any:
    """A tmpfs of one MiB over a folder of the agent's, in its mount namespace."""
    builder.node.run("mount", "-t", "tmpfs", "-o", "size=1m", "x", str(place))
    try:
        yield
    finally:
        builder.node.run("umount", "-l", str(place))


async def test_two_builds_of_the_same_do_its_steps_once(builder: BuildHost) -> None:
    """The second waits for the first one's layer."""
    text = "FROM busybox\nRUN date +%N >/at; sleep 0.3\n"
    one, other = await asyncio.gather(builder.build(text), builder.build(text))
    assert one.result.image_id == other.result.image_id
    assert sorted([*one.cached, *other.cached]) == [False, True]


async def test_images_that_a_build_needs_are_not_collected_meanwhile(builder: BuildHost) -> None:
    """A prune of all in the middle of it takes nothing that it stands on."""
    text = "FROM busybox\nRUN echo first >/first\nRUN echo running; sleep 1\nRUN cat /first\n"
    task = asyncio.ensure_future(builder.build(text, no_cache=True))
    while not task.done() and not await builder.node.containers():
        await asyncio.sleep(0.01)
    await builder.stub.PruneCache(pb.PruneBuildCacheRequest(all=True))
    await builder.node.engine.images.Prune(ListRequest())
    assert (await task).result
