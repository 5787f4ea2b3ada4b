"""Copies a directory of an image into a volume, in a process of its own (`python -I -S`).

Standard input is JSON {"lowers", "target", "destination"}. The image is mounted read-only in a
mount namespace of this process only, so that layers merge as they do in a container, and `target`
is opened as if the image were the root: no link in it leads to the host. Then cp copies, which
follows no links. Exits with 3 where the image has no such directory.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from swarmlite.kernel import mounting, namespaces
from swarmlite.kernel.paths import open_in_root

_NOTHING_THERE = 3


def main() -> None:
    """Become cp."""
    job = json.load(sys.stdin)
    try:
        root = _mount_image(job["lowers"])
    except OSError as error:
        sys.exit(f"mount the image: {error.strerror}")
    try:
        source = open_in_root(root, job["target"])
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            sys.exit(_NOTHING_THERE)
        raise
    os.set_inheritable(source, True)
    os.execvp("cp", ["cp", "-a", "--", f"/proc/self/fd/{source}/.", job["destination"]])


def _mount_image(lowers: list[str]) -> int:
    """A descriptor of its root, in a mount namespace of this process."""
    if len(lowers) == 2:  # one layer, or a whole tree: nothing to put together
        return os.open(lowers[0], os.O_RDONLY | os.O_DIRECTORY)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounting.mount(b"none", b"/", None, mounting.MS_REC | mounting.MS_PRIVATE)
    # over the volume's folder "empty": seen by this process only
    place = lowers[-1]
    options = "lowerdir=" + ":".join(_escaped(path) for path in lowers)
    flags = mounting.MS_RDONLY | mounting.MS_NOSUID | mounting.MS_NODEV
    mounting.mount(b"overlay", os.fsencode(place), b"overlay", flags, os.fsencode(options))
    return os.open(place, os.O_RDONLY | os.O_DIRECTORY)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:")


if __name__ == "__main__":
    main()
