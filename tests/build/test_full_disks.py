"""A disk that fills at each step of a build, a commit, a load: one line, and all of it is back.

The host's state lies on a tmpfs. Each piece of work gets ever more room until it goes well, so that
each time another step of it finds the disk full; what failed needs nothing but room to go well.
"""

from __future__ import annotations

import asyncio
import lzma
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from build_host import BuildHost, Kept, context_of
from engine_host import Busybox

from swarmlite.proto import build_pb2 as pb
from swarmlite.proto import images_pb2
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.testing.oci import BuiltImage, TarWriter, docker_archive, layer

pytestmark = pytest.mark.timeout(300)
ROOMY = "remount,size=256m,nr_inodes=99999"
ROOMS = [
    *((f"{kib}k", 5000) for kib in (0, 12, 60, 124, 188, 252, 508, 1020)),
    *(("32m", inodes) for inodes in (0, 1, 2, 3, 4, 6, 8, 10, 13, 20, 40)),
]
WAIT_S = 20.0
BIG = os.urandom(180_000)
MANY = {f"many/{number}": f"{number}" * 40 for number in range(9)}
Work = Callable[["Disk"], Awaitable[str]]


class Disk:
    """Of a host that builds: how much room it has, and what is on it."""

    def __init__(self, builder: BuildHost) -> None:
        self.builder, self.engine = builder, builder.node.engine
        self.state = builder.node.paths.state_dir
        self.container = ""

    async def filled(self) -> None:
        """Make a container that has changed some files, and ended."""
        host = self.builder.host
        self.container = await host.run("head -c 150000 /dev/urandom >/r; mkdir -p /d/e/f")
        await host.wait(self.container)

    def room(self, size: str, inodes: int) -> None:
        """Beyond what is used now."""
        disk = os.statvfs(self.state)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024
        files = disk.f_files - disk.f_ffree
        kib = int(size[:-1]) * (1024 if size.endswith("m") else 1)
        remount(self.state, f"remount,size={used + kib}k,nr_inodes={files + inodes}")

    def roomy(self) -> None:
        remount(self.state, ROOMY)

    async def emptied(self) -> None:
        """Without what a build may leave for the next one, and what nobody needs."""
        await self.builder.stub.PruneCache(pb.PruneBuildCacheRequest(all=True))
        await self.engine.images.Prune(ListRequest())

    async def holds(self, expected: set[str], when: str) -> None:
        """Wait until no more than that is on it, and no less."""
        deadline = time.monotonic() + WAIT_S
        while differing := self.held() ^ expected:  # files go in the background
            assert time.monotonic() < deadline, (when, differing)
            await asyncio.sleep(0.02)

    def held(self) -> set[str]:
        """Everything but journals, whose length may differ."""
        images, build = self.state / "images", self.state / "build"
        folders = [images / name for name in ("layers", "l", "tmp", "blobs/sha256", "ingest")]
        folders += [build / "scratch", build / "mounts", self.state / "snapshots"]
        return {
            str(path.relative_to(self.state))
            for folder in folders
            if folder.exists()
            for path in folder.iterdir()
        }


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", options, place], check=True)


@pytest.fixture(scope="module")
def kept_builder(build_images: Busybox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """In the place of the other modules': its state directory is a disk of its own."""
    root = tmp_path_factory.mktemp("full")
    state = root / "state"
    state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", state], check=True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SWARMLITE_IMAGE_LIMITS", "free_bytes=1,free_inodes=1")
            kept = Kept(build_images, root)
            yield kept
            asyncio.run(kept.host.close())
    finally:
        subprocess.run(["umount", "-l", state], check=True)


@pytest.fixture
async def disk(builder: BuildHost) -> AsyncIterator[Disk]:
    """Roomy, before and after."""
    disk = Disk(builder)
    await disk.emptied()
    try:
        yield disk
    finally:
        disk.roomy()
        if disk.container:
            await disk.builder.host.call("Remove", disk.container, force=True)


class Failed(Exception):
    """What a piece of work says of a full disk."""


async def answered(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise Failed(f"{error.code().name}: {error.details()}") from error


def building(text: str, files: dict[str, Any] | None = None, **options: Any) -> Work:
    async def work(disk: Disk) -> str:
        built = await disk.builder.build(text, files, **options)
        if built.error is not None:
            raise Failed(f"{built.error.code().name}: {built.refusal}", built)
        return built.result.image_id

    return work


def archive() -> bytes:
    return lzma.compress(context_of({**MANY, "random": os.urandom(150_000)}))


def of_outputs(*kinds: pb.BuildOutput.Type.ValueType) -> Work:
    outputs = [pb.BuildOutput(type=kind) for kind in kinds]
    return building("FROM busybox\nCOPY big /big\n", {"big": BIG}, outputs=outputs)


async def commit(disk: Disk) -> str:
    """Of a container that was made while there was room."""
    request = images_pb2.CommitRequest(container=disk.container, reference="committed:1")
    return str((await answered(disk.engine.images.Commit(request))).id)


def loaded() -> BuiltImage:
    tar = TarWriter()
    for name, text in MANY.items():
        tar.file(name, text.encode())
    first = TarWriter()
    first.file("big", BIG)
    return BuiltImage("loaded:1", (layer(first.tar(), "none"), layer(tar.tar(), "gzip")))


LOADED = docker_archive([loaded()])


async def load(disk: Disk) -> str:
    async def chunks() -> Any:
        yield images_pb2.LoadImageRequest(chunk=LOADED)

    async def take() -> str:
        found = [reply async for reply in disk.engine.images.Load(chunks())]
        return str(found[-1].image.id or found[-2].image.id)

    return str(await answered(take()))


async def import_(disk: Disk) -> str:
    async def chunks() -> Any:
        options = images_pb2.ImportOptions(reference="imported:1")
        yield images_pb2.ImportImageRequest(options=options)
        yield images_pb2.ImportImageRequest(chunk=context_of({**MANY, "big": BIG}))

    return str((await answered(disk.engine.images.Import(chunks()))).id)


WORKS: dict[str, Work] = {
    "copy": building("FROM busybox\nCOPY big /big\nCOPY many /many\n", {"big": BIG, **MANY}),
    "long context": building("FROM scratch\nCOPY big /big\n", {"big": BIG * 13}),
    "add": building("FROM busybox\nADD a.tar.xz /there/\n", {"a.tar.xz": archive()}),
    "run": building("FROM busybox\nRUN head -c 150000 /dev/urandom >/r && mkdir -p /d/e/f && ls\n"),
    "run of few files": building("FROM busybox\nRUN date >/now\nRUN date >/then\nWORKDIR /w\n"),
    "cache mount": building(
        "FROM busybox\nRUN --mount=type=cache,target=/c,from=busybox,source=/bin date >/c/d\n"
    ),
    "documents": building("FROM busybox\nCOPY <<E /e\nsome\nE\nRUN <<R\n#!/bin/sh\ndate >/d\nR\n"),
    "tree": of_outputs(pb.BuildOutput.TREE),
    "archives": of_outputs(pb.BuildOutput.OCI, pb.BuildOutput.DOCKER),
    "cache": of_outputs(pb.BuildOutput.IMAGE, pb.BuildOutput.CACHE),
    "commit": commit,
    "load": load,
    "import": import_,
}


RUNS = ("run", "run of few files", "cache mount", "documents")
"""What has a command, which may be the first to meet the full disk."""


@pytest.mark.parametrize("name", WORKS)
async def test_a_disk_that_fills_at_any_step(disk: Disk, name: str) -> None:
    work, failed = WORKS[name], 0
    if name == "commit":
        await disk.filled()
    before = disk.held()
    for size, inodes in ROOMS:
        disk.room(size, inodes)
        try:
            made = await work(disk)
        except Failed as error:
            failed += 1
            one_line_of_room(error, name)
        else:
            disk.roomy()
            await gone(disk, made)
        disk.roomy()
        if not disk.container:
            await disk.builder.nothing_left()
        await disk.emptied()
        await disk.holds(before, f"after {name} with {size} and {inodes}")
    await gone(disk, await work(disk))
    assert failed > 3


def one_line_of_room(error: Failed, name: str) -> None:
    assert "\n" not in error.args[0] and "Errno" not in error.args[0]
    of_the_command = name in RUNS and "did not complete successfully" in error.args[0]
    assert of_the_command or "no space left" in error.args[0].lower(), error.args
    assert "/scratch/build-" not in error.args[0] and "/tmp/make" not in error.args[0]


async def gone(disk: Disk, image_id: str) -> None:
    if image_id:
        request = images_pb2.RemoveImageRequest(ref=image_id, force=True)
        with suppress(grpc.aio.AioRpcError):  # one for an archive only has gone
            await disk.engine.images.Remove(request)
