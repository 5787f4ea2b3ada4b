"""Builds on a real engine, in few words."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from engine_host import Busybox, EngineHost

from swarmlite.build.context.packing import packed
from swarmlite.build.context.patterns import Patterns
from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.build_pb2_grpc import BuildsStub

TIMEOUT_S = 60.0
Files = Mapping[str, bytes | str | tarfile.TarInfo]


def context_of(files: Files) -> bytes:
    """A tar of files by name; a TarInfo stands for itself, without data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, 1_600_000_000
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Outcome:
    """All that a build said."""

    events: list[pb.BuildEvent] = field(default_factory=list)
    error: grpc.aio.AioRpcError | None = None
    together: int = 0
    """How many of them came with another."""

    @property
    def result(self) -> pb.BuildResult:
        assert self.error is None, f"{self.error.code()}: {self.error.details()}\n{self.logs}"
        return next(e.result for e in self.events if e.HasField("result"))

    @property
    def config(self) -> dict[str, Any]:
        """The image's whole configuration."""
        found: dict[str, Any] = json.loads(self.result.config_json)
        return found

    @property
    def inner(self) -> dict[str, Any]:
        found: dict[str, Any] = self.config["config"]
        return found

    @property
    def logs(self) -> str:
        return b"".join(e.log.data for e in self.events if e.HasField("log")).decode()

    @property
    def refusal(self) -> str:
        assert self.error is not None, "it was built"
        return str(self.error.details())

    @property
    def problems(self) -> list[str]:
        found = [e.problem for e in self.events if e.HasField("problem")]
        return [f"{p.file}:{p.line}: {p.text}" for p in found]

    @property
    def warnings(self) -> list[str]:
        return [e.warning.text for e in self.events if e.HasField("warning")]

    @property
    def steps(self) -> dict[int, pb.BuildStep]:
        return {e.step.id: e.step for e in self.events if e.HasField("step")}

    @property
    def done(self) -> list[tuple[str, bool]]:
        """Steps that make a layer, and whether the cache had it, in the order of their ends."""
        steps = self.steps
        return [
            (steps[e.step_done.id].instruction, e.step_done.cached)
            for e in self.events
            if e.HasField("step_done") and steps[e.step_done.id].number > 1
        ]

    @property
    def cached(self) -> list[bool]:
        return [cached for _, cached in self.done]

    def output(self, number: int = 0) -> bytes:
        return b"".join(
            e.output.data for e in self.events if e.HasField("output") and e.output.output == number
        )

    def tree(self, number: int = 0) -> dict[str, tarfile.TarInfo]:
        """The files of an output that is a tar of them."""
        with tarfile.open(fileobj=io.BytesIO(self.output(number))) as archive:
            return {member.name: member for member in archive}

    def text(self, name: str, number: int = 0) -> str:
        with tarfile.open(fileobj=io.BytesIO(self.output(number))) as archive:
            member = archive.extractfile(name)
            assert member is not None
            return member.read().decode()


class BuildHost:
    """One host's builder."""

    def __init__(self, host: EngineHost) -> None:
        self.host, self.node = host, host.node

    @property
    def stub(self) -> Any:
        _ = self.node.engine  # connects
        return BuildsStub(self.node._channel)

    async def build(
        self,
        dockerfile: str = "",
        files: Files | Path | None = None,
        *,
        heard: Callable[[pb.BuildEvent], None] = lambda _: None,
        more: AsyncIterator[pb.BuildRequest] | None = None,
        tree: bool = False,
        **options: Any,
    ) -> Outcome:
        """Build a Dockerfile with a context; `tree`: its files come too, as an output."""
        if dockerfile:
            options["dockerfile_inline"] = dockerfile.encode()
        message = pb.BuildOptions(**{"takes_more": True, **options})
        if tree:
            message.outputs.add(type=pb.BuildOutput.IMAGE)
            message.outputs.add(type=pb.BuildOutput.TREE)

        async def requests() -> AsyncIterator[pb.BuildRequest]:
            yield pb.BuildRequest(options=message)
            if isinstance(files, Path):
                for piece in packed(files, Patterns(()), lambda _: None):
                    yield pb.BuildRequest(context=piece)
            elif files:
                data = context_of(files)
                for start in range(0, len(data), 1 << 20):
                    yield pb.BuildRequest(context=data[start : start + (1 << 20)])
            yield pb.BuildRequest(context_end={})
            if more is not None:
                async for request in more:
                    yield request

        outcome = Outcome()
        try:
            async for message in self.stub.Build(requests(), timeout=TIMEOUT_S):
                outcome.together += len(message.more)
                for event in (message, *message.more):
                    outcome.events.append(event)
                    heard(event)
        except grpc.aio.AioRpcError as error:
            outcome.error = error
        return outcome

    async def nothing_left(self) -> None:
        """Neither containers, folders, snapshots, networks nor mounts, once all has ended."""
        await self.host.nothing_left()
        scratch = self.node.paths.state_dir / "build" / "scratch"
        for _ in range(400):
            if not list(scratch.iterdir()):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(list(scratch.iterdir()))


class Kept:
    """The host of a module, started when it is first asked for."""

    def __init__(self, images: Busybox, root: Path) -> None:
        self.host = EngineHost(root, images)
        self.started = False

    async def ready(self) -> BuildHost:
        if not self.started:
            await self.host.start()
            self.started = True
        return BuildHost(self.host)
