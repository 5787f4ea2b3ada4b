"""Mounts, by paths and by descriptors. Source: linux/mount.h for structures and constants."""

from __future__ import annotations

import os
import struct

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import LIBC, call, check

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 1, 2, 4, 8, 4096
MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 14, 1 << 17, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW = -100, 0x1000, 0x8000, 0x100
OPEN_TREE_CLONE = 1
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_NODIRATIME = (
    0x70, 0x10, 0x20, 0x80,
)  # fmt: skip
MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_IDMAP = 0x200000, 0x100000
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD, FSCONFIG_CMD_CREATE = 0, 1, 5, 6
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_MOVE_F_EMPTY_PATH, _MOVE_T_EMPTY_PATH = 0x4, 0x40

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Options = Sequence[tuple[bytes, bytes | int | None]]

_mount = LIBC.mount
_mount.argtypes = [*[foreign.c_char_p] * 3, foreign.c_ulong, foreign.c_char_p]
_umount2 = LIBC.umount2
_umount2.argtypes = [foreign.c_char_p, foreign.c_int]


def mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes = b""
) -> None:
    """mount(2)."""
    check(_mount(source, target, kind, flags, data or None), "mount")


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    check(_umount2(target, flags), "umount")


def pivot_root(new: bytes, old: bytes) -> None:
    """pivot_root(2)."""
    call("pivot_root", new, old)


def open_tree(directory: int, path: bytes, flags: int) -> int:
    """With OPEN_TREE_CLONE: a detached copy of a mount, to be attached with move_mount."""
    return call("open_tree", directory, path, foreign.c_uint(flags | os.O_CLOEXEC))


def move_mount(tree: int, target: int) -> None:
    """Attach a detached mount over what the descriptor `target` names: no path, so no link."""
    flags = _MOVE_F_EMPTY_PATH | _MOVE_T_EMPTY_PATH
    call("move_mount", tree, b"", target, b"", foreign.c_uint(flags))


def mount_setattr(
    directory: int,
    path: bytes,
    flags: int,
    set_: int,
    clear: int = 0,
    propagation: int = 0,
    user_namespace: int = 0,
) -> None:
    """Change a mount's attributes; with MOUNT_ATTR_IDMAP, ids as `user_namespace` maps them."""
    attributes = struct.pack("=4Q", set_, clear, propagation, user_namespace)
    call("mount_setattr", directory, path, foreign.c_uint(flags), attributes, foreign.c_size_t(32))


def has_filesystem(kind: str) -> bool:
    """Whether the kernel has this file system, also in a module that it loads when it is asked."""
    try:
        os.close(call("fsopen", kind.encode(), _FSOPEN_CLOEXEC))
    except OSError:  # not there, or we may not ask
        with open("/proc/filesystems") as file:  # noqa: PTH123 - imported bare by the supervisor
            return f"\t{kind}\n" in file.read()
    return True


def new_filesystem(kind: bytes, options: Options, attributes: int) -> int:
    """A new, detached mount of file system `kind`.

    An option without a value is a flag, one with a number names a descriptor.
    """
    context = call("fsopen", kind, _FSOPEN_CLOEXEC)
    try:
        for key, value in options:
            try:
                if isinstance(value, int):
                    call("fsconfig", context, FSCONFIG_SET_FD, key, None, value)
                else:
                    command = FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING
                    call("fsconfig", context, command, key, value, 0)
            except OSError as error:
                words = f"{kind.decode()} option {key.decode()}: {os.strerror(error.errno or 0)}"
                raise OSError(error.errno, words) from error
        call("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)
        return call("fsmount", context, _FSMOUNT_CLOEXEC, foreign.c_uint(attributes))
    finally:
        os.close(context)
