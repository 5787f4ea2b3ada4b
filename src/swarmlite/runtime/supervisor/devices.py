"""Device nodes of a container: what every one has, and what its spec names.

Where nodes cannot be made, as in a user namespace, the host's own are shown in their places.
"""

from __future__ import annotations

import errno
import os
import stat

from swarmlite.kernel import mounting, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STRICT = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS | paths.RESOLVE_NO_SYMLINKS
#: name, major, minor of what every container has
NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9),
         ("tty", 5, 0))  # fmt: skip
LINKS = (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
         ("stderr", "/proc/self/fd/2"), ("core", "/proc/kcore"), ("ptmx", "pts/ptmx"))  # fmt: skip
KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def populate(dev: int, spec_devices: list[dict[str, object]]) -> list[dict[str, object]]:
    """Nodes, links and folders of a new /dev, before the image can see it.

    Returns the spec's devices that lie elsewhere, or need a folder: for `make_at`.
    """
    for name, major, minor in NODES:
        _make_default(dev, name, major, minor)
    for name, target in LINKS:
        os.symlink(target, name, dir_fd=dev)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(name, 0o755, dir_fd=dev)
    left = []
    for device in spec_devices:
        parts = _parts(device)
        if len(parts) == 2 and parts[0] == "dev":
            _make(dev, parts[1], device)
        else:
            left.append(device)
    return left


def complete(dev: int) -> None:
    """What every container has, in a /dev that the image or a mount brings, where it is missing."""
    for name, major, minor in NODES:
        if not _exists(dev, name):
            _make_default(dev, name, major, minor)
    for name, target in LINKS:
        if not _exists(dev, name):
            os.symlink(target, name, dir_fd=dev)


def make_at(device: dict[str, object], place: Callable[[bytes, bool], int]) -> None:
    """A node of the spec at any path; `place` opens a folder in the root, made if missing."""
    parts = _parts(device)
    directory = place(os.fsencode("/" + "/".join(parts[:-1])), True) if parts[:-1] else -1
    if directory < 0:
        raise OSError(errno.EINVAL, f"linux.devices: {device.get('path')!r} has no directory")
    try:
        _make(directory, parts[-1], device)
    finally:
        os.close(directory)


def _parts(device: dict[str, object]) -> list[str]:
    path = str(device.get("path", ""))
    parts = [part for part in path.split("/") if part]
    if not path.startswith("/") or not parts or ".." in parts or "." in parts:
        raise OSError(errno.EINVAL, f"linux.devices: {path!r} is not an absolute path")
    return parts


def _make_default(dev: int, name: str, major: int, minor: int) -> None:
    try:
        os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(major, minor), dir_fd=dev)
    except PermissionError:
        _show_hosts(dev, name, f"/dev/{name}", os.makedev(major, minor))


def _make(directory: int, name: str, device: dict[str, object]) -> None:
    where = f"linux.devices: {device.get('path')}"
    kind = KINDS.get(str(device.get("type")))
    if kind is None:
        raise OSError(errno.EINVAL, f"{where}: unknown type {device.get('type')!r}")
    if kind != stat.S_IFIFO and (device.get("major") is None or device.get("minor") is None):
        raise OSError(errno.EINVAL, f"{where}: major and minor are missing")
    mode = device.get("fileMode")
    bits = 0o666 if mode is None else int(str(mode)) & 0o7777
    number = os.makedev(int(str(device.get("major") or 0)), int(str(device.get("minor") or 0)))
    if _exists(directory, name):
        os.unlink(name, dir_fd=directory)
    try:
        # With its mode, the umask being 0: a chmod could be led away by a link put in its place.
        os.mknod(name, kind | bits, number, dir_fd=directory)
    except PermissionError:
        _show_hosts(directory, name, str(device.get("path")), number)
        return
    owner = int(str(device.get("uid") or 0)), int(str(device.get("gid") or 0))
    os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)


def _show_hosts(directory: int, name: str, path: str, number: int) -> None:
    """The host's node of the same path in the place of one that we may not make."""
    tree = mounting.open_tree(mounting.AT_FDCWD, os.fsencode(path), mounting.OPEN_TREE_CLONE)
    try:
        if os.fstat(tree).st_rdev != number:
            raise OSError(errno.EPERM, f"{path} cannot be made, and is another device on this host")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o666, dir_fd=directory))
        place = paths.openat2(directory, os.fsencode(name), os.O_PATH, STRICT)
        mounting.move_mount(tree, place)
        os.close(place)
    finally:
        os.close(tree)


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
