"""The container's file system, made by the child in its own mount namespace.

No path of the image is ever used twice: a place is opened once, with openat2 inside the root
(RESOLVE_IN_ROOT), checked, and mounts are attached to that descriptor. So a link in the image, or
one that another container swaps in a shared volume meanwhile, leads nowhere but inside the root,
and /proc, /sys and /dev may hold none at all.
"""

from __future__ import annotations

import os
import stat

from swarmlite.kernel import mounting, paths
from swarmlite.kernel.mounting import AT_EMPTY_PATH, OPEN_TREE_CLONE
from swarmlite.runtime.oci.mounts import Mount
from swarmlite.runtime.supervisor.plan import Plan

IN_ROOT = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS
STRICT = IN_ROOT | paths.RESOLVE_NO_SYMLINKS
SYSTEM = (b"proc", b"sys", b"dev")
MAX_LINKS = 40
DATA_BYTES = 4000  # mount(2) passes one page
#: name, major, minor of what every container has
NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9),
         ("tty", 5, 0))  # fmt: skip
LINKS = (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
         ("stderr", "/proc/self/fd/2"), ("core", "/proc/kcore"), ("ptmx", "pts/ptmx"))  # fmt: skip


class Rootfs:
    """Descriptors of the root being made: the root itself, and of its devpts if it has one."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.root = -1
        self.devpts = -1
        self._masks = -1

    def open(self) -> None:
        """Mount the overlay, or the directory on itself, and open it."""
        plan = self.plan
        # First of all: nothing that follows may show on the host.
        mounting.mount(None, b"/", None, mounting.MS_REC | mounting.MS_SLAVE, b"")
        if plan.overlay:
            _mount_overlay(plan.overlay, plan.root)
        else:
            mounting.mount(plan.root, plan.root, None, 4096 | mounting.MS_REC, b"")  # MS_BIND
        self.root = os.open(plan.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def mount(self, mount: Mount, cgroup_binds: list[tuple[str, str]]) -> None:
        """One mount of the spec."""
        tree, is_directory = self._tree(mount)
        try:
            target = self.place(os.fsencode(mount.destination), is_directory)
            try:
                mounting.move_mount(tree, target)
            finally:
                os.close(target)
            if mount.kind == "cgroup":
                self._fill_cgroup(tree, mount, cgroup_binds)
            if mount.kind == "devpts":
                self.devpts = os.dup(tree)
        finally:
            os.close(tree)

    def _tree(self, mount: Mount) -> tuple[int, bool]:
        """The mount, made but not attached, and whether it is a directory."""
        if mount.kind == "bind":
            flags = OPEN_TREE_CLONE | (mounting.AT_RECURSIVE if mount.recursive else 0)
            tree = mounting.open_tree(mounting.AT_FDCWD, mount.source, flags)
            recursive = mounting.AT_RECURSIVE if mount.recursive else 0
            mounting.mount_setattr(
                tree, b"", AT_EMPTY_PATH | recursive, mount.attributes, mount.clear,
                mount.propagation or mounting.MS_PRIVATE,
            )  # fmt: skip
            return tree, stat.S_ISDIR(os.fstat(tree).st_mode)
        attributes = mount.attributes
        kind, data = mount.kind.encode(), mount.data
        if mount.kind == "cgroup":
            # made read-only at the end, once the hierarchies hang in it
            kind, data = b"tmpfs", [(b"mode", b"755")]
            attributes &= ~mounting.MOUNT_ATTR_RDONLY
        tree = mounting.new_filesystem(kind, data, attributes)
        if mount.destination == "/dev" and mount.kind == "tmpfs":
            self._populate_dev(tree)
        return tree, True

    def _populate_dev(self, dev: int) -> None:
        """Device nodes and links, before the image can see them."""
        for name, major, minor in NODES:
            os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(major, minor), dir_fd=dev)
        for name, target in LINKS:
            os.symlink(target, name, dir_fd=dev)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(name, 0o755, dir_fd=dev)
        for device in self.plan.devices:
            _make_device(dev, device)

    def _fill_cgroup(self, tree: int, mount: Mount, binds: list[tuple[str, str]]) -> None:
        """Show the container its own groups only: with its cgroup namespace they are the roots."""
        for name, directory in binds:
            bind = mounting.open_tree(mounting.AT_FDCWD, directory.encode(), OPEN_TREE_CLONE)
            mounting.mount_setattr(bind, b"", AT_EMPTY_PATH, mount.attributes)
            if name:
                os.mkdir(name, 0o755, dir_fd=tree)
                target = paths.openat2(tree, name.encode(), os.O_PATH, STRICT)
            else:
                target = os.dup(tree)
            mounting.move_mount(bind, target)
            os.close(target)
            os.close(bind)
        mounting.mount_setattr(tree, b"", AT_EMPTY_PATH, mount.attributes)

    def place(self, path: bytes, directory: bool) -> int:
        """Open a mount's place in the root (O_PATH), making what is missing.

        Raises OSError: ELOOP for a link in /proc, /sys or /dev, ENOTDIR or EISDIR when what is
        there is not what the mount is.
        """
        resolve = STRICT if path.split(b"/", 2)[1] in SYSTEM else IN_ROOT
        try:
            fd = paths.openat2(self.root, path, os.O_PATH, resolve)
        except FileNotFoundError:
            fd = self._make(path, directory, resolve)
        except OSError as error:
            if resolve == STRICT and error.errno == 40:
                raise OSError(
                    40, f"{os.fsdecode(path)} in the image leads through a symbolic link"
                ) from error
            raise
        if stat.S_ISDIR(os.fstat(fd).st_mode) != directory:
            os.close(fd)
            what = "a directory on a file" if directory else "a file on a directory"
            raise OSError(20 if directory else 21, f"{os.fsdecode(path)}: cannot mount {what}")
        return fd

    def _make(self, path: bytes, directory: bool, resolve: int) -> int:
        """Walk to `path`, one name at a time, making each that is missing.

        Every directory on the way stays open, so that `..` in a link is the one we came through,
        and the root's own parent is the root.
        """
        todo = [part for part in path.split(b"/") if part]
        way, links = [os.dup(self.root)], 0
        try:
            while todo:
                name = todo.pop(0)
                if name == b"..":
                    if len(way) > 1:
                        os.close(way.pop())
                    continue
                if not _exists(way[-1], name):
                    _make_entry(way[-1], name, bool(todo) or directory)
                flags = os.O_PATH | os.O_NOFOLLOW
                below = paths.openat2(way[-1], name, flags, paths.RESOLVE_BENEATH)
                if not stat.S_ISLNK(os.fstat(below).st_mode):
                    way.append(below)
                    continue
                target = os.readlink(b"", dir_fd=below)
                os.close(below)
                links += 1
                if links > MAX_LINKS or resolve == STRICT:
                    raise OSError(40, f"{os.fsdecode(path)}: a symbolic link in the way")
                todo[:0] = [part for part in target.split(b"/") if part not in (b"", b".")]
                while target.startswith(b"/") and len(way) > 1:
                    os.close(way.pop())
            return way.pop()
        finally:
            for fd in way:
                os.close(fd)

    def mask(self, path: bytes, null: int) -> None:
        """Hide a path: a file behind /dev/null, a directory behind an empty, read-only one."""
        target = self._existing(path)
        if target < 0:
            return
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            tree = mounting.open_tree(null, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH)
        elif self._masks < 0:
            options: list[tuple[bytes, bytes | None]] = [(b"size", b"0"), (b"nr_inodes", b"2")]
            tree = mounting.new_filesystem(b"tmpfs", options, mounting.MOUNT_ATTR_RDONLY)
            self._masks = os.dup(tree)
        else:
            tree = mounting.open_tree(self._masks, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH)
        mounting.move_mount(tree, target)
        os.close(tree)
        os.close(target)

    def make_readonly(self, path: bytes) -> None:
        """Put a read-only copy of a path over it."""
        target = self._existing(path)
        if target < 0:
            return
        flags = AT_EMPTY_PATH | mounting.AT_RECURSIVE
        tree = mounting.open_tree(target, b"", OPEN_TREE_CLONE | flags)
        mounting.mount_setattr(tree, b"", flags, mounting.MOUNT_ATTR_RDONLY)
        mounting.move_mount(tree, target)
        os.close(tree)
        os.close(target)

    def _existing(self, path: bytes) -> int:
        try:
            return paths.openat2(self.root, path, os.O_PATH, STRICT)
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def pivot(self) -> None:
        """Make it the root, and let the host's go."""
        if self.plan.readonly:
            mounting.mount_setattr(self.root, b"", AT_EMPTY_PATH, mounting.MOUNT_ATTR_RDONLY)
        os.fchdir(self.root)
        # The old root lands over the new one, and "." names it: no directory for it is needed.
        mounting.pivot_root(b".", b".")
        mounting.umount(b".", mounting.MNT_DETACH)
        os.chdir(b"/")


def open_null() -> int:
    """The host's own /dev/null, checked to be that."""
    fd = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.fstat(fd).st_rdev != os.makedev(1, 3):
        raise OSError(22, "the host's /dev/null is not a null device")
    return fd


def _exists(directory: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_entry(directory: int, name: bytes, is_directory: bool) -> None:
    """A directory, or an empty file to mount on."""
    if is_directory:
        os.mkdir(name, 0o755, dir_fd=directory)
        return
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    os.close(os.open(name, flags, 0o644, dir_fd=directory))


def _make_device(dev: int, device: dict[str, object]) -> None:
    """A node of `linux.devices`, below /dev only."""
    path = str(device.get("path", ""))
    parts = [part for part in path.split("/") if part]
    if len(parts) < 2 or parts[0] != "dev" or ".." in parts:
        raise OSError(22, f"linux.devices: {path!r} is not below /dev")
    kinds = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
    directory = os.dup(dev)
    for part in parts[1:-1]:
        if not _exists(directory, os.fsencode(part)):
            os.mkdir(part, 0o755, dir_fd=directory)
        below = paths.openat2(directory, os.fsencode(part), os.O_PATH, STRICT)
        os.close(directory)
        directory = below
    mode = kinds[str(device.get("type"))] | int(str(device.get("fileMode", 0o666)))
    number = os.makedev(int(str(device.get("major", 0))), int(str(device.get("minor", 0))))
    if _exists(directory, os.fsencode(parts[-1])):
        os.unlink(parts[-1], dir_fd=directory)
    os.mknod(parts[-1], mode, number, dir_fd=directory)
    owner = int(str(device.get("uid", 0))), int(str(device.get("gid", 0)))
    os.chown(parts[-1], *owner, dir_fd=directory, follow_symlinks=False)
    os.close(directory)


def _mount_overlay(options: bytes, target: bytes) -> None:
    if len(options) <= DATA_BYTES:
        mounting.mount(b"overlay", target, b"overlay", 0, options)
        return
    # More layers than fit: each by itself, which the new calls can (Linux 6.8)
    data: list[tuple[bytes, bytes | None]] = []
    for option in options.split(b","):
        key, _, value = option.partition(b"=")
        if key == b"lowerdir":
            data += [(b"lowerdir+", layer) for layer in value.split(b":")]
        else:
            data.append((key, value))
    tree = mounting.new_filesystem(b"overlay", data, 0)
    place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounting.move_mount(tree, place)
    os.close(place)
    os.close(tree)
