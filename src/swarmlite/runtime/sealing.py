"""Running the interpreter from a read-only mount of itself.

What forks into containers may be seen there as /proc/PID/exe, and an image can have that run as its
program: then it cannot be opened for writing (CVE-2019-5736).

Who is not sealed yet does nothing but this: so it loads as little as that takes, and `os` is not in
it.
"""

from __future__ import annotations

import posix
import sys

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import call

SEALED = "--sealed"
_AT_FDCWD, _AT_EMPTY_PATH, _OPEN_TREE_CLONE = -100, 0x1000, 1
_RDONLY = (1).to_bytes(8, sys.byteorder) + bytes(24)  # struct mount_attr: attr_set


def seal(main: str, arguments: list[str], environment: list[bytes]) -> None:
    """Run `main` again with `--sealed` before its arguments; raises OSError when it cannot.

    `environment`: entries NAME=VALUE.
    """
    flags = foreign.c_uint(_OPEN_TREE_CLONE | posix.O_CLOEXEC)
    # the venv's interpreter is a link: the mount is of what it leads to
    tree = call("open_tree", _AT_FDCWD, _encode(sys.executable), flags)
    size = foreign.c_size_t(len(_RDONLY))
    call("mount_setattr", tree, b"", foreign.c_uint(_AT_EMPTY_PATH), _RDONLY, size)
    words = [sys.executable, "-I", "-S", main, SEALED, *arguments]
    argv = (foreign.c_char_p * (len(words) + 1))(*(_encode(word) for word in words), None)
    envp = (foreign.c_char_p * (len(environment) + 1))(*environment, None)
    call("execveat", tree, b"", argv, envp, _AT_EMPTY_PATH)


def _encode(text: str) -> bytes:
    return text.encode(sys.getfilesystemencoding(), "surrogateescape")
