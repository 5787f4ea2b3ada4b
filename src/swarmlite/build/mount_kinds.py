"""What each kind of RUN --mount provides, and takes back afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from swarmlite.build import ssh
from swarmlite.build.copying import Copying
from swarmlite.build.run_mounts import OCIMount, Provided, Wanted
from swarmlite.build.trees import looked, opened
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.model.units import parse_bytes
from swarmlite.storage.drivers import COPYING
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.snapshots.types import Root

if TYPE_CHECKING:
    from swarmlite.build.building import Build

SSH_SOCKET = "/run/buildkit/ssh_agent"
Maker = Callable[["Build", Wanted, Provided, int], AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def _bind(
    build: Build, wanted: Wanted, provided: Provided, number: int
) -> AsyncIterator[None]:
    """Files of a context, a stage or an image; what is written there is lost."""
    origin = wanted.origin
    assert origin is not None
    snapshots = build.engine.storage.snapshots
    path = wanted.options.get("source", "/")
    async with contextlib.AsyncExitStack() as stack:
        if origin.folder is not None and snapshots.driver == COPYING:
            root = Root("", directory=await in_thread(_copied, build, origin.folder, wanted))
        elif origin.folder is not None:
            root = await in_thread(_context_root, build, origin.folder, wanted.writable)
        else:
            key = stack.enter_context(build.engine.transients.held())
            root = await in_thread(snapshots.prepare, key, origin.chain)
            stack.push_async_callback(in_thread, snapshots.remove, key)
        if not root.overlay:
            provided.mounts.append(await in_thread(_directory, root, wanted, path))
        else:
            if not wanted.writable and origin.folder is None:
                below = await in_thread(_empty, build)
                lowers = tuple(snapshots.image_dirs(origin.chain))
                root = Root("", (*lowers, below), more_options=root.more_options)
            provided.mounts.append(_overlay(root, wanted, path))
        yield


def _context_root(build: Build, folder: Path, writable: bool) -> Root:
    """An overlay of a context, which itself is never changed."""
    place = build.new()
    place.mkdir(mode=0o700)
    for name in ("empty", "upper", "work"):
        (place / name).mkdir(mode=0o755)
    lowers = (folder, place / "empty")
    return Root("", lowers, place / "upper", place / "work") if writable else Root("", lowers)


def _empty(build: Build) -> Path:
    """A directory with nothing in it: an overlay wants two."""
    place = build.new()
    place.mkdir(mode=0o755)
    return place


def _overlay(root: Root, wanted: Wanted, path: str) -> OCIMount:
    options = ["nosuid", "nodev", root.overlay]
    if not wanted.writable:
        options.insert(0, "ro")
    if path.strip("/"):
        options.append(f"X-mount.subdir={path.strip('/')}")
    return {
        "destination": wanted.target, "type": "overlay", "source": "overlay", "options": options,
    }  # fmt: skip


def _directory(root: Root, wanted: Wanted, path: str) -> OCIMount:
    """Of a driver without overlays: a place of a tree that nobody else changes. Blocks."""
    assert root.directory is not None
    with opened(root.directory) as tree, looked(tree, path.strip("/")) as fd:
        place = Path(f"/proc/self/fd/{fd}").readlink()
    options = ["bind", "rprivate", "nosuid", "nodev", *([] if wanted.writable else ["ro"])]
    return {
        "destination": wanted.target, "type": "bind", "source": str(place), "options": options,
    }  # fmt: skip


def _copied(build: Build, folder: Path, wanted: Wanted) -> Path:
    """A context, or a copy of it where it may be written. Blocks."""
    if not wanted.writable:
        return folder
    place = _empty(build)
    with opened(folder) as origin, opened(place) as root:
        Copying(root, None).tree(origin, "/")
    return place


@contextlib.asynccontextmanager
async def _cache(
    build: Build, wanted: Wanted, provided: Provided, number: int
) -> AsyncIterator[None]:
    async with build.around.mounts.taken(build, wanted) as folder:
        options = ["bind", "rprivate", "nosuid", "nodev"]
        options += [] if wanted.writable else ["ro"]
        provided.mounts.append(
            {"destination": wanted.target, "type": "bind", "source": str(folder),
             "options": options}
        )  # fmt: skip
        yield


@contextlib.asynccontextmanager
async def _tmpfs(
    build: Build, wanted: Wanted, provided: Provided, number: int
) -> AsyncIterator[None]:
    options = ["nosuid", "nodev", "mode=1777", *([] if wanted.writable else ["ro"])]
    if text := wanted.options.get("size"):
        try:
            options.append(f"size={parse_bytes(text)}")
        except InvalidSpec as error:
            raise InvalidSpec(f"--mount type=tmpfs: size={text[:40]}: {error}") from error
    provided.mounts.append(
        {"destination": wanted.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    )
    yield


@contextlib.asynccontextmanager
async def _secret(
    build: Build, wanted: Wanted, provided: Provided, number: int
) -> AsyncIterator[None]:
    name = wanted.options.get("id") or os.path.basename(wanted.target)  # noqa: PTH119
    if name not in build.options.secrets:
        if wanted.truth("required"):
            raise NotFound(f"secret {name}: not found: give it with --secret id={name}")
        yield
        return
    data = build.options.secrets[name]
    if variable := wanted.options.get("env"):
        try:
            provided.environment[variable] = data.decode()
        except UnicodeDecodeError as error:
            raise InvalidSpec(f"secret {name} is no text: it cannot be {variable}") from error
    if not wanted.target:
        yield
        return
    path = build.around.secrets / f"{os.urandom(8).hex()}-{number}"
    await in_thread(_write, path, data, wanted)
    try:
        provided.mounts.append(_bound(path, wanted.target))
        yield
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, data: bytes, wanted: Wanted) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        os.fchown(fd, wanted.number("uid", 0), wanted.number("gid", 0))
        os.fchmod(fd, wanted.number("mode", 0o400))


def _bound(path: Path, target: str) -> OCIMount:
    return {
        "destination": target, "type": "bind", "source": str(path),
        "options": ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"],
    }  # fmt: skip


@contextlib.asynccontextmanager
async def _ssh(
    build: Build, wanted: Wanted, provided: Provided, number: int
) -> AsyncIterator[None]:
    name = wanted.options.get("id") or "default"
    if name not in build.options.ssh:
        if wanted.truth("required"):
            raise NotFound(f"ssh agent {name}: not found: offer it with --ssh {name}")
        yield
        return
    target = wanted.target or f"{SSH_SOCKET}.{number}"
    path = build.around.secrets / f"{os.urandom(8).hex()}-{number}"
    async with ssh.listening(build.ssh, name, path):
        os.chown(path, wanted.number("uid", 0), wanted.number("gid", 0))
        path.chmod(wanted.number("mode", 0o600))
        provided.environment["SSH_AUTH_SOCK"] = target
        mount = _bound(path, target)
        provided.mounts.append(mount)
        yield


MAKERS: dict[str, Maker] = {
    "bind": _bind, "cache": _cache, "tmpfs": _tmpfs, "secret": _secret, "ssh": _ssh,
}  # fmt: skip
