"""The contexts of a build: known by their digests at once, unpacked where a step reads their files.

A context that came before, byte for byte, has the same Dockerfile and the same files: what the
cache knows of its digest is found without unpacking it.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import stat
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmlite.build.cache import key_of
from swarmlite.build.ignored import drop_ignored
from swarmlite.build.request import MAIN
from swarmlite.build.sources import opened_file
from swarmlite.build.trees import looked, opened
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.proto import build_pb2 as pb

if TYPE_CHECKING:
    from swarmlite.build.building import Build

MAX_DOCKERFILE_BYTES = 4 << 20
_KEPT = 64
_KEPT_BYTES = 64 << 10


class Dockerfiles:
    """Those of the contexts that came last; lost at a restart."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """What `put` was told last."""
        return self._texts.get(key)

    def put(self, key: str, text: bytes) -> None:
        """Long ones are not kept."""
        if len(text) <= _KEPT_BYTES:
            self._texts[key] = text
            self._texts.move_to_end(key)
            if len(self._texts) > _KEPT:
                self._texts.popitem(last=False)


class Sent:
    """All of a build's, which `build` owns; shared by those beside it."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._digests: dict[str, asyncio.Task[str]] = {}
        self._trees: dict[str, asyncio.Task[Path]] = {}
        self._text = b""

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """All that was begun."""
        return [*self._digests.values(), *self._trees.values()]

    async def digest(self, name: str = MAIN) -> str:
        """What a context's files are a function of, once it is whole. Raises InvalidSpec."""
        task = self._digests.get(name)
        if task is None:
            task = self._digests[name] = asyncio.create_task(self._receive(name))
        return await asyncio.shield(task)

    async def tree(self, name: str = MAIN) -> Path:
        """Its files. Raises InvalidSpec, NotFound for a Dockerfile that is to be in it and is not.

        Those that are only sent to be read (see `drop_ignored`) are not in it.
        """
        task = self._trees.get(name)
        if task is None:
            task = self._trees[name] = asyncio.create_task(self._tree(name))
        return await asyncio.shield(task)

    async def dockerfile(self) -> bytes:
        """That of the options, or of the main context. Raises NotFound, InvalidSpec."""
        options, kept = self._build.options, self._build.around.dockerfiles
        if options.HasField("dockerfile_inline"):
            return options.dockerfile_inline
        key = key_of(await self.digest(), options.dockerfile)
        text = kept.get(key)
        if text is None:
            await self.tree()
            text = self._text
            kept.put(key, text)
        return text

    async def _receive(self, name: str) -> str:
        build = self._build
        title = f"load build context {name}".strip()
        step = build.report.begin(pb.BuildStep(name=f"[internal] {title}"))
        try:
            context = await build.incoming.context(name)
            digest = await context.digest()
        except BaseException as error:
            step.done(error=str(error), canceled=isinstance(error, asyncio.CancelledError))
            raise
        size = context.size
        step.status("transferring context", current=size, total=size, done=True)
        step.done()
        options = build.options
        reads = not name and options.drop_ignored and not options.HasField("dockerfile_inline")
        return key_of(digest, options.dockerfile or "Dockerfile") if reads else digest

    async def _tree(self, name: str) -> Path:
        await self.digest(name)
        build = self._build
        context = await build.incoming.context(name)
        if context.size:
            tree = await build.unpacked(await context.path(), f"build context {name}".strip())
        else:
            tree = build.new()
            tree.mkdir(mode=0o755)
        options = build.options
        if not name and not options.HasField("dockerfile_inline"):
            self._text = await asyncio.to_thread(_read_dockerfile, tree, options.dockerfile)
            if options.drop_ignored:
                await asyncio.to_thread(drop_ignored, tree, options.dockerfile)
        return tree


def _read_dockerfile(tree: Path, name: str) -> bytes:
    path = posixpath.normpath("/" + (name or "Dockerfile"))
    name = name or "Dockerfile"
    with opened(tree) as root:
        try:
            with looked(root, path) as fd:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise InvalidSpec(f"failed to read dockerfile: {name} is no file")
                with opened_file(fd) as file:
                    data = os.pread(file, MAX_DOCKERFILE_BYTES + 1, 0)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(
                f"failed to read dockerfile: open {name}: no such file or directory"
            ) from error
        except OSError as error:
            raise InvalidSpec(f"failed to read dockerfile: {name}: {error.strerror}") from error
    if len(data) > MAX_DOCKERFILE_BYTES:
        raise InvalidSpec(f"{name}: it is longer than {MAX_DOCKERFILE_BYTES} bytes")
    return data
