"""Running the interpreter from a read-only mount of itself.

What forks into containers may be seen there as /proc/PID/exe, and an image can have that run as its
program: then it cannot be opened for writing (CVE-2019-5736).
"""

from __future__ import annotations

import os
import sys

from swarmlite.kernel import mounting, processes

SEALED = "--sealed"


def seal(main: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Run `main` again with `--sealed` before its arguments; raises OSError when it cannot."""
    path = os.path.realpath(sys.executable).encode()
    tree = mounting.open_tree(mounting.AT_FDCWD, path, mounting.OPEN_TREE_CLONE)
    mounting.mount_setattr(tree, b"", mounting.AT_EMPTY_PATH, mounting.MOUNT_ATTR_RDONLY)
    argv = [sys.executable, "-I", "-S", main, SEALED, *arguments]
    variables = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    processes.execveat(tree, [os.fsencode(word) for word in argv], variables)
