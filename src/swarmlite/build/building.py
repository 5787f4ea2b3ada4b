"""One build: its stages side by side, each once, and what comes of the target."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmlite.build import archives
from swarmlite.build.cache import Cache, Pins
from swarmlite.build.cache_mounts import CacheMounts
from swarmlite.build.dockerfile.parsing import Dockerfile, Stage, parse
from swarmlite.build.progress import Report, Step, platform_message
from swarmlite.build.request import Incoming
from swarmlite.build.sent import Dockerfiles, Sent
from swarmlite.build.ssh import Channels
from swarmlite.build.state import State
from swarmlite.build.variables import EPOCH, platform_arguments
from swarmlite.engine.engine import Engine
from swarmlite.errors import InvalidSpec
from swarmlite.proto import build_pb2 as pb
from swarmlite.storage.images.types import Image, Platform


@dataclass(frozen=True)
class Surroundings:
    """What all builds of a host share."""

    engine: Engine
    cache: Cache
    running: asyncio.Semaphore
    """Steps of all builds that run at a time."""
    mounts: CacheMounts
    secrets: Path
    """A folder on a tmpfs."""
    dockerfiles: Dockerfiles


class Build:
    """One; `run` is its whole life. Nothing of it stays but the cache and what it was to make."""

    def __init__(
        self,
        around: Surroundings,
        options: pb.BuildOptions,
        incoming: Incoming,
        report: Report,
        pins: Pins,
        folder: Path,
        owner: str,
    ) -> None:
        """`folder` is its own, for scratch, once it needs one; `owner` holds its images."""
        self.around, self.options, self.report = around, options, report
        self.engine, self.cache, self.pins = around.engine, around.cache, pins
        self.incoming, self.folder, self.owner = incoming, folder, owner
        self.ssh = Channels(report)
        incoming.ssh = self.ssh.heard
        self.host = Platform.of_host()
        self.platform = _platform(options) or self.host
        self.dockerfile = Dockerfile(())
        self.before: dict[str, str] = {}
        self.arguments = dict(options.build_args)
        self.epoch = self._epoch()
        self.used_arguments: set[str] = set()
        self._stages: dict[int, asyncio.Task[State]] = {}
        self.sent = Sent(self)
        self._images: dict[tuple[str, Platform], asyncio.Task[Image]] = {}
        self._layouts: dict[tuple[str, Platform], asyncio.Task[Image]] = {}
        self._entered = contextlib.AsyncExitStack()
        self._scratch = 0
        self.digests: dict[tuple[object, str], str] = {}
        """What bound files come to: a mount of the context is hashed once."""
        self.label = ""
        """What its steps' names begin with: the platform, of several."""
        self.unwanted: list[str] = []
        """Ids of images that were made for an archive only."""

    def take_platform(self, several: Sequence[Platform]) -> None:
        """That of the options, or the first of several."""
        self.platform = _platform(self.options) or self.host
        if several:
            self.platform, self.label = several[0], str(several[0])

    def beside(self, platform: Platform) -> Build:
        """The same for another platform: Dockerfile, contexts and ssh agents are shared."""
        other = Build(
            self.around, self.options, self.incoming, self.report, self.pins, self.new(), self.owner
        )
        other.platform, other.label = platform, str(platform)
        other.dockerfile, other.sent = self.dockerfile, self.sent
        other.ssh = self.ssh
        self.incoming.ssh = self.ssh.heard
        return other

    def _epoch(self) -> int | None:
        if self.options.HasField("source_date_epoch"):
            return self.options.source_date_epoch
        text = self.options.build_args.get(EPOCH, "")
        if text and not (text.isascii() and text.isdigit()):
            raise InvalidSpec(f"{EPOCH}={text[:40]}: expected seconds since 1970")
        return int(text) if text else None

    @property
    def file_name(self) -> str:
        """How messages call the Dockerfile."""
        return self.options.dockerfile_name or self.options.dockerfile or "Dockerfile"

    # reading
    async def read(self) -> Dockerfile:
        """The Dockerfile, of the options or the context. Raises BadDockerfile, NotFound."""
        text = await self.sent.dockerfile()
        try:
            self.dockerfile = await asyncio.to_thread(parse, text.decode(), self.file_name)
        except UnicodeDecodeError as error:
            raise InvalidSpec(f"{self.file_name}: it is not UTF-8") from error
        return self.dockerfile

    def target(self) -> Stage:
        """The stage that is wanted. Raises InvalidSpec."""
        try:
            return self.dockerfile.stage(self.options.target)
        except KeyError as error:
            known = ", ".join(stage.name or str(stage.number) for stage in self.dockerfile.stages)
            raise InvalidSpec(
                f"target stage {self.options.target!r} could not be found: there is {known}"
            ) from error

    async def solve(self) -> State:
        """What the target comes to, and all that it stands on, side by side.

        Raises BadDockerfile, StepFailed, and what a step raises: the first, and then no other runs.
        """
        stages = self.dockerfile.needed(self.options.target)
        tasks = [self._begun(stage.number) for stage in stages]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            if error := task.exception():
                raise error
        return tasks[-1].result()

    # what stages ask for
    async def stage(self, number: int) -> State:
        """What a stage has come to; it is built once, whoever waits for it."""
        return await asyncio.shield(self._begun(number))

    def finished(self) -> list[State]:
        """What its stages have come to, in the order of the file."""
        tasks = [task for _, task in sorted(self._stages.items())]
        return [task.result() for task in tasks if task.done() and not task.cancelled()]

    def _begun(self, number: int) -> asyncio.Task[State]:
        from swarmlite.build.stage import StageBuild  # which knows this one

        task = self._stages.get(number)
        if task is None:
            work = StageBuild(self, self.dockerfile.stages[number]).run()
            task = self._stages[number] = asyncio.create_task(work)
        return task

    async def unpacked(self, path: Path, name: str) -> Path:
        """The files of an archive, until the build ends."""
        layers = self.engine.storage.images.layers
        work = archives.unpacked(layers, path, name, self.new())
        return await self._entered.enter_async_context(work)

    def new(self) -> Path:
        """A new name in the build's folder."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._scratch += 1
        return self.folder / f"scratch-{self._scratch}"

    async def image(self, reference: str, platform: Platform, step: Step | None) -> Image:
        """An image of this host, pulled where it is not here; held until the build ends."""
        from swarmlite.build.bases import find

        key = (reference, platform)
        task = self._images.get(key)
        if task is None:
            task = self._images[key] = asyncio.create_task(find(self, reference, platform, step))
        return await asyncio.shield(task)

    async def layout_image(self, name: str, platform: Platform) -> Image:
        """The image of a context that is an OCI layout; held until the build ends."""
        from swarmlite.build.bases import of_layout

        key = (name, platform)
        task = self._layouts.get(key)
        if task is None:
            task = self._layouts[key] = asyncio.create_task(of_layout(self, name, platform))
        return await asyncio.shield(task)

    def named_context(self, name: str) -> str | None:
        """How the options name a context; None where they do not."""
        return self.options.named_contexts.get(name)

    # life
    @contextlib.asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """All that it has begun ends with the block."""
        try:
            yield
        finally:
            begun = (self._stages, self._images, self._layouts)
            tasks: list[asyncio.Task[Any]] = [task for kind in begun for task in kind.values()]
            tasks += self.sent.tasks
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._entered.aclose()

    def announce(self) -> None:
        """The plan, as an event."""
        stages = self.dockerfile.needed(self.options.target)
        plan = pb.BuildPlan()
        for stage in stages:
            plan.stages.add(name=stage.name or str(stage.number), steps=1 + len(stage.steps))
            plan.steps += 1 + len(stage.steps)
        self.report.tell(pb.BuildEvent(plan=plan))

    def prepare_arguments(self) -> None:
        """Those before the first FROM. Raises BadDockerfile."""
        from swarmlite.build.stage import arguments_before

        stage = self.target().name or f"stage-{self.target().number}"
        given = platform_arguments(self.host, self.platform, stage)
        self.before = arguments_before(self, given)

    def begin(self, **fields: Any) -> Step:
        """A step begins."""
        message = pb.BuildStep(platform=platform_message(self.platform), **fields)
        return self.report.begin(message)


def _platform(options: pb.BuildOptions) -> Platform | None:
    wanted = options.platform
    if not (wanted.os or wanted.architecture):
        return None
    return Platform(wanted.os or "linux", wanted.architecture, wanted.variant)
