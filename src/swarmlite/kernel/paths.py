"""Opening paths with rules for links on the way. Source: linux/openat2.h, openat2(2)."""

from __future__ import annotations

import errno
import os
import struct

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import call

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 1, 2, 4
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 8, 16
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_RETRIES = 64


def openat2(directory: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """open with rules for links on the way; see openat2(2)."""
    how = struct.pack("=3Q", flags | os.O_CLOEXEC, mode, resolve)
    return call("openat2", directory, path, how, foreign.c_size_t(24))


def open_in_root(root: int, path: str, flags: int = DIRECTORY, *, follow: bool = True) -> int:
    """Open `path` as a process chrooted to the descriptor `root` would; a new descriptor.

    Symlinks, `..` and absolute targets stay inside; with `follow` false any symlink is ELOOP.
    Raises OSError.
    """
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (0 if follow else RESOLVE_NO_SYMLINKS)
    name = os.fsencode(path or ".")
    tries = _RETRIES
    while True:
        tries -= 1
        try:
            return openat2(root, name, flags, resolve)
        except OSError as error:
            # EAGAIN: a rename elsewhere raced with a "..", the kernel asks to try again
            if error.errno not in (errno.EAGAIN, errno.EINTR) or not tries:
                code = error.errno or errno.EIO
                raise OSError(code, os.strerror(code), path) from error
