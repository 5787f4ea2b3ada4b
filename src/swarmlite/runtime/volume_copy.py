"""Copies a directory of an image into a volume, in a process of its own (`python -I -S`).

Standard input is JSON {"lowers", "target", "destination"}. The image is mounted read-only in a
mount namespace of this process alone, so that layers merge as they do in a container, and `target`
is opened as if the image were the root: no link in it leads to the host. Then cp copies, which
follows no links. Exits with 3 where the image has no such directory.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from swarmlite.runtime.images.unpack.syscalls import open_in_root

_CLONE_NEWNS = 0x00020000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 0x1, 0x2, 0x4, 0x4000, 0x40000
_NOTHING_THERE = 3


def main() -> None:
    """Become cp."""
    job = json.load(sys.stdin)
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "unshare")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount /")
    # over the volume's folder "empty": seen by this process alone
    place = job["lowers"][-1]
    options = "lowerdir=" + ":".join(_escaped(path) for path in job["lowers"])
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV
    mounted = libc.mount(b"overlay", os.fsencode(place), b"overlay", flags, os.fsencode(options))
    _check(mounted, "mount the image")
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        source = open_in_root(root, job["target"])
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            sys.exit(_NOTHING_THERE)
        raise
    os.set_inheritable(source, True)
    os.execvp("cp", ["cp", "-a", "--", f"/proc/self/fd/{source}/.", job["destination"]])


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        sys.exit(f"{what}: {os.strerror(code)}")


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:")


if __name__ == "__main__":
    main()
