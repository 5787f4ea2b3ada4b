"""A host for tests of the engine: what a client of its socket does, in few words."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from agent_node import AgentNode

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import Filter, ListRequest
from swarmlite.proto.host_pb2 import EventsRequest, HostEvent
from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksStub
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.volumes_pb2 import RemoveVolumeRequest

SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Busybox:
    folder: Path
    ref: str


class EngineHost:
    """One host outside of a swarm; `close` leaves nothing behind."""

    def __init__(self, root: Path, busybox: Busybox) -> None:
        self.node = AgentNode(root, busybox.folder, busybox.ref)
        self.image = busybox.ref

    async def start(self) -> None:
        await self.node.start(in_swarm=False)

    async def close(self) -> None:
        await self.node.close()

    @property
    def containers(self) -> Any:
        return self.node.engine.containers

    async def wipe(self) -> None:
        """Remove what a test has made. Raises what the engine refuses."""
        for container in await self.list():
            with contextlib.suppress(grpc.aio.AioRpcError):  # one of --rm may be gone
                await self.call("Remove", container.id, force=True, volumes=True)
        volumes = self.node.engine.volumes
        for volume in (await volumes.List(ListRequest())).volumes:
            await volumes.Remove(RemoveVolumeRequest(ref=volume.name), timeout=TIMEOUT_S)
        await self.nothing_left()

    async def state(self) -> list[str]:
        """The images and networks of the host, as compared before and after."""
        images = await self.node.engine.images.List(ListRequest())
        assert self.node._channel is not None
        networks = await HostNetworksStub(self.node._channel).List(ListRequest())
        return [
            *(str(image) for image in images.images),
            *(found.network.spec.annotations.name for found in networks.networks),
        ]

    # asking
    def config(self, *args: str, **fields: Any) -> pb.ContainerConfig:
        """Of `sh -c ARGS`, or of a config's fields."""
        spec = ContainerSpec(image=self.image)
        if args:
            spec.command.extend(["sh", "-c"])
            spec.args.extend(args)
        spec.stop_grace_period.FromSeconds(2)
        spec.MergeFrom(fields.pop("spec", ContainerSpec()))
        return pb.ContainerConfig(spec=spec, **fields)

    async def create(self, *args: str, **fields: Any) -> str:
        request = pb.CreateContainerRequest(config=self.config(*args, **fields))
        response = await self.containers.Create(request, timeout=TIMEOUT_S)
        return str(response.id)

    async def run(self, *args: str, **fields: Any) -> str:
        container = await self.create(*args, **fields)
        await self.call("Start", container)
        return container

    async def call(self, verb: str, ref: str, **fields: Any) -> Any:
        requests = {
            "Stop": pb.StopContainerRequest,
            "Restart": pb.StopContainerRequest,
            "Kill": pb.KillContainerRequest,
            "Remove": pb.RemoveContainerRequest,
            "Rename": pb.RenameContainerRequest,
            "Inspect": pb.InspectContainerRequest,
            "Update": pb.UpdateContainerRequest,
            "Top": pb.TopRequest,
            "StatPath": pb.PathRequest,
        }
        request = requests.get(verb, pb.ContainerRef)(ref=ref, **fields)
        return await getattr(self.containers, verb)(request, timeout=TIMEOUT_S)

    async def exec(self, ref: str, *command: str, user: str = "") -> int:
        """The exit code of a command in a running container."""

        async def inputs() -> Any:
            yield pb.ExecInput(config=pb.ExecConfig(container=ref, command=command, user=user))
            yield pb.ExecInput(stdin_close=True)

        code = -1
        async for message in self.containers.Exec(inputs(), timeout=TIMEOUT_S):
            if message.HasField("exit_code"):
                code = message.exit_code
        return code

    async def inspect(self, ref: str) -> pb.Container:
        return await self.call("Inspect", ref)

    async def list(self, *, all: bool = True, **filters: str) -> list[pb.Container]:
        wanted = [Filter(key=key.replace("_", "-"), values=[v]) for key, v in filters.items()]
        request = pb.ListContainersRequest(all=all, filters=wanted)
        return list((await self.containers.List(request)).containers)

    async def wait(
        self, ref: str, condition: Any = pb.WaitContainerRequest.NOT_RUNNING
    ) -> pb.WaitContainerResponse:
        request = pb.WaitContainerRequest(ref=ref, condition=condition)
        return await self.containers.Wait(request, timeout=TIMEOUT_S)

    async def refused(self, call: Awaitable[Any], code: grpc.StatusCode) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == code, caught.value.details()
        details = str(caught.value.details())
        assert "\n" not in details
        return details

    def output(self, container: str) -> str:
        """What it has written."""
        import json

        path = self.node.paths.containers_dir / container / "logs" / "container.log"
        if not path.exists():
            return ""
        return "".join(json.loads(line)["log"] for line in path.read_text().splitlines())

    async def status(self, ref: str, status: Any) -> pb.Container:
        """The container once it has this status."""

        async def reached() -> pb.Container | None:
            found = await self.inspect(ref)
            return found if found.state.status == status else None

        return await until(reached)

    async def gone(self, ref: str) -> None:
        """Until the engine knows it no longer."""

        async def absent() -> bool:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self.inspect(ref)
                return False
            return True

        await until(absent)

    async def events(self, count: int, **fields: Any) -> list[HostEvent]:
        """The first so many that an EventsRequest of these fields gives, or all until its end."""
        call = self.node.engine.host.Events(EventsRequest(**fields), timeout=30)
        found = []
        async for event in call:
            found.append(event)
            if len(found) == count:
                break
        call.cancel()
        return found

    async def restart_engine(self) -> None:
        """The agent's process is killed, and started again."""
        self.node.end("agent")
        await self.node.start_agent()

    async def leftovers(self) -> list[str]:
        """What there is beyond running containers."""
        paths = self.node.paths
        found = [f"supervised {state.id[:12]}" for state in await self.node.containers()]
        found += [
            f"folder {path.name}"
            for path in paths.containers_dir.iterdir()
            if not path.name.startswith(".")
        ]
        bundles = Path(f"/proc/{self.node.init}/root{paths.bundles_dir}")
        found += [f"bundle {path.name}" for path in bundles.iterdir()]
        found += [f"netns {path.name}" for path in paths.netns_dir.iterdir() if path.name != "host"]
        found += [
            f"snapshot {path.name}"
            for path in paths.snapshots_dir.iterdir()
            if not path.name.startswith(".")
        ]
        veths = self.node.run("ip", "-br", "link", "show", "type", "veth").stdout
        found += [f"veth {line.split()[0]}" for line in veths.splitlines() if line]
        mounts = self.node.run("cat", "/proc/self/mountinfo").stdout.splitlines()
        found += [f"mount {m.split()[4]}" for m in mounts if str(paths.containers_dir) in m]
        return found

    async def nothing_left(self) -> None:
        """Until nothing is left."""
        deadline = time.monotonic() + TIMEOUT_S
        while left := await self.leftovers():
            assert time.monotonic() < deadline, left
            await asyncio.sleep(0.05)


async def until(probe: Callable[[], Awaitable[Any]]) -> Any:
    """What `probe` returns, once that is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := await probe()):
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.05)
    return found


class KeptHost:
    """One host for many tests, each of which finds it as the first one did."""

    def __init__(self, busybox: Busybox, folders: pytest.TempPathFactory) -> None:
        self._busybox, self._folders = busybox, folders
        self._host: EngineHost | None = None
        self._state: list[str] = []

    async def ready(self) -> EngineHost:
        if self._host is None:
            self._host = EngineHost(self._folders.mktemp("host"), self._busybox)
            await self._host.start()
            self._state = await self._host.state()
        return self._host

    async def wipe(self, *, again: bool) -> None:
        """Clean the host for the next test, or drop it if not `again` or if it is not as it was."""
        assert self._host is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                clean = again and self._host.node.runs() and await self._is_clean(self._host)
        except (grpc.aio.AioRpcError, AssertionError, TimeoutError):
            clean = False
        if clean:
            await self._host.node.hang_up()
        else:
            await self.drop()

    async def _is_clean(self, host: EngineHost) -> bool:
        await host.wipe()
        return await host.state() == self._state

    async def drop(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            await host.close()
