"""The builds of one host: what they share, and each one's life from first message to end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from swarmlite.build import checks, known_layers, platforms
from swarmlite.build.building import Build, Surroundings
from swarmlite.build.cache import Cache
from swarmlite.build.cache_mounts import CacheMounts
from swarmlite.build.dockerfile.problems import BadDockerfile, Problem
from swarmlite.build.export import export
from swarmlite.build.failures import failed_by
from swarmlite.build.progress import Report
from swarmlite.build.request import Incoming, taken_in
from swarmlite.build.sent import Dockerfiles
from swarmlite.build.stage import unused
from swarmlite.build.upkeep import Upkeep
from swarmlite.engine.engine import Engine
from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError
from swarmlite.kernel import mounting
from swarmlite.paths import Paths
from swarmlite.proto import build_pb2 as pb
from swarmlite.storage import trees
from swarmlite.storage.drivers import COPYING

log = logging.getLogger(__name__)
OWNER = "pull/build-"
"""Begins a build's name as an owner of leases: a start of the agent releases it."""
MAX_STEPS = max(2, os.cpu_count() or 2)


class Builder:
    """Makes images of Dockerfiles. `start` first."""

    def __init__(self, paths: Paths, engine: Engine) -> None:
        """What earlier builds left half-done is cleared."""
        folder = paths.state_dir / "build"
        self._scratch = folder / "scratch"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        trees.sweep(self._scratch)
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        self._engine = engine
        layering = engine.storage.images.layering
        self.cache = Cache(
            folder / "cache",
            lambda chain_id: layering.layer(chain_id) is not None,
            remember=engine.storage.snapshots.driver != COPYING,
        )
        layering.keep(self.cache.used)
        self._around = Surroundings(
            engine,
            self.cache,
            asyncio.Semaphore(MAX_STEPS),
            CacheMounts(folder / "mounts"),
            _tmpfs(paths.run_dir / "build"),
            Dockerfiles(),
        )
        self.upkeep = Upkeep(self.cache, self._around.mounts, engine.storage.images)
        self._numbers = itertools.count(1)

    async def build(
        self, messages: AsyncIterator[pb.BuildRequest], report: Report
    ) -> pb.BuildResult | None:
        """One build; None of a check. Raises InvalidSpec, FailedPrecondition, SwarmliteError.

        Problems of the Dockerfile are told, each as an event, before BadDockerfile is raised.
        Cancelled: nothing of it stays.
        """
        name = f"{next(self._numbers)}-{secrets.token_hex(4)}"
        folder, owner = self._scratch / f"build-{name}", f"{OWNER}{name}"
        limits = self._engine.storage.images.limits
        incoming = Incoming(messages, folder, limits.archive_bytes)
        try:
            options = await incoming.options()
            report.together = options.takes_more
            async with taken_in(incoming):
                with self.cache.pins() as pins:
                    build = Build(self._around, options, incoming, report, pins, folder, owner)
                    async with build.living():
                        return await self._carried_out(build)
        except BadDockerfile as error:
            for problem in error.problems:
                report.tell(
                    pb.BuildEvent(
                        problem=pb.BuildProblem(
                            file=error.name, line=problem.line, text=problem.text
                        )
                    )
                )
            raise
        except OSError as error:
            raise failed_by(error, self._scratch) from error
        finally:
            self._engine.storage.images.leases.release(owner)
            if folder.exists():
                trees.discard(folder)
            self.upkeep.wake()

    async def _carried_out(self, build: Build) -> pb.BuildResult | None:
        _check_options(build.options)
        several = platforms.wanted(build.options)
        build.take_platform(several)
        await build.read()
        build.target()
        build.prepare_arguments()
        _warn(build)
        if build.options.check:
            return None
        if several:
            try:
                return await platforms.build_all(build, several)
            finally:
                await self._drop(build)
        build.announce()
        await known_layers.learn(build)
        state = await build.solve()
        names = unused(build)
        if names:
            build.report.warn(
                build.file_name, 0,
                f"one or more build-args [{' '.join(names)}] were not consumed",
            )  # fmt: skip
        try:
            return await export(build, state)
        finally:
            await self._drop(build)

    async def _drop(self, build: Build) -> None:
        """An image that was made for an archive only."""
        self._engine.storage.images.leases.release(build.owner)
        for image_id in build.unwanted:
            with contextlib.suppress(SwarmliteError):
                image = self._engine.storage.images.get(image_id)
                if not image.repo_tags and not image.repo_digests:
                    await self._engine.storage.images.remove(image_id)


def _warn(build: Build) -> None:
    """Say what is better otherwise. Raises BadDockerfile where the file wants that as errors."""
    found = checks.warnings(build.dockerfile)
    if found and checks.Checks.of(build.dockerfile.directives.get("check", "")).as_errors:
        problems = [Problem(one.line, f"{one.rule}: {one.text}") for one in found]
        raise BadDockerfile(build.file_name, problems)
    syntax = build.dockerfile.directives.get("syntax", "")
    if syntax and not syntax.removeprefix("docker.io/").startswith("docker/dockerfile"):
        build.report.warn(
            build.file_name, 1, f"# syntax={syntax} is not run: it is read as a Dockerfile"
        )
    for one in found:
        build.report.warn(build.file_name, one.line, f"{one.rule}: {one.text}", one.rule)


def _check_options(options: pb.BuildOptions) -> None:
    for name in options.build_args:
        if not name or "=" in name or "\0" in name:
            raise InvalidSpec(f"build argument {name[:40]!r} is not a name")
    for entry in options.extra_hosts:
        if ":" not in entry and "=" not in entry:
            raise InvalidSpec(f"invalid extra host {entry[:60]!r}: expected NAME:IP")


def _tmpfs(place: Path) -> Path:
    """A tmpfs for secrets, unless an earlier start has mounted it; what is in it goes."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not place.is_mount():
        flags = mounting.MS_NOSUID | mounting.MS_NODEV | mounting.MS_NOEXEC
        try:
            mounting.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, b"mode=0700,size=64m")
        except OSError as error:
            raise FailedPrecondition(
                f"cannot mount a tmpfs for secrets of builds on {place}: {error.strerror}"
            ) from error
    for leftover in place.iterdir():
        trees.sweep(leftover)
    return place
