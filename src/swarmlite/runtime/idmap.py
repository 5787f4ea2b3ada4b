"""Whether this host can give a container ids of its own: user namespaces and idmapped mounts.

Standard library only. Who asks first hears why not; nothing is left behind by asking.
"""

from __future__ import annotations

import contextlib
import os
import tempfile

from swarmlite.kernel import mounting, namespaces
from swarmlite.kernel.libc import NUMBERS

_MAP = "0 1000000 65536\n"


def why_not(path: str) -> str:
    """Why the files of a path cannot be shown under other ids; empty when they can.

    The path is that of the store: it is its file system that counts.
    """
    if "mount_setattr" not in NUMBERS:
        return "this machine's system calls are not known"
    try:
        user_namespace = namespaces.make_user_namespace(_MAP, _MAP)
    except OSError as error:
        return f"user namespaces cannot be made on this host: {error.strerror}"
    try:
        with contextlib.closing(_Fd(path)) as directory:
            tree = mounting.open_tree(
                directory.fd, b"", mounting.OPEN_TREE_CLONE | mounting.AT_EMPTY_PATH
            )
            with contextlib.closing(_Fd(tree)):
                flags, attribute = mounting.AT_EMPTY_PATH, mounting.MOUNT_ATTR_IDMAP
                mounting.mount_setattr(tree, b"", flags, attribute, user_namespace=user_namespace)
    except OSError as error:
        return f"{path}: no idmapped mounts here: {error.strerror}"
    finally:
        os.close(user_namespace)
    return ""


def why_no_overlay(path: str) -> str:
    """The same for a whole overlay with its layers below `path`, a directory that can be written.

    An overlay is tried in a mount namespace of a child: older kernels map binds and not layers.
    """
    reason = why_not(path)
    if reason:
        return reason
    with tempfile.TemporaryDirectory(dir=path) as folder:
        return _try_overlay(folder)


def _try_overlay(folder: str) -> str:
    from swarmlite.runtime.supervisor import layers

    for name in ("lower", "upper", "work", "at"):
        os.mkdir(f"{folder}/{name}")  # noqa: PTH102
    reader, writer = os.pipe2(os.O_CLOEXEC)
    user_namespace = namespaces.make_user_namespace(_MAP, _MAP)
    pid = os.fork()
    if pid == 0:
        try:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mounting.mount(None, b"/", None, mounting.MS_REC | mounting.MS_PRIVATE)
            at = f"{folder}/at".encode()
            options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
            layers.mount_overlay(layers.idmapped(options.encode(), at, user_namespace), at)
        except OSError as error:
            os.write(writer, f"an overlay of idmapped layers: {error.strerror}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.close(user_namespace)
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


class _Fd:
    """A descriptor that is closed at the end; a path is opened first."""

    def __init__(self, what: str | int) -> None:
        self.fd = what if isinstance(what, int) else os.open(what, os.O_PATH | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.fd)
