"""The engine's loop also beats hearts and answers names: nothing of it holds the loop for long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from engine_host import SLEEP, Busybox, EngineHost

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount
from swarmlite.testing import watchdog


async def test_what_containers_do_does_not_hold_the_loop(
    engine_images: Busybox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = watchdog.sitecustomize(tmp_path / "site")
    for name, value in remote.environment.items():
        monkeypatch.setenv(name, value)
    host = EngineHost(tmp_path / "host", engine_images)
    try:
        await host.start()
        begun = len(remote.holds())  # of the start, at which nobody waits yet
        mounts = [Mount(type=Mount.VOLUME, target="/v")]
        spec = ContainerSpec(mounts=mounts, privileged=True)
        busy = await asyncio.gather(*(host.run(SLEEP) for _ in range(6)))
        written = await host.run("for i in 1 2 3; do mkdir -p /$i/a/b; done", spec=spec)
        await host.wait(written)
        for container in (*busy, written):
            await host.inspect(container)
        await host.list()
        async for _ in host.containers.Stats(pb.StatsRequest()):
            pass
        async for _ in host.containers.Export(pb.ContainerRef(ref=written)):
            pass
        await host.containers.Changes(pb.ContainerRef(ref=written))
        await asyncio.gather(*(host.call("Remove", c, force=True) for c in busy))
        await host.call("Remove", written, volumes=True)
        holds = remote.holds()[begun:]
        assert not holds, "\n".join(str(hold) for hold in holds)
    finally:
        await host.close()
