"""openat2(2) through ctypes; glibc has no wrapper for it, and Python none either."""

from __future__ import annotations

import ctypes
import errno
import os

_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_IN_ROOT = 0x10
_RETRIES = 64

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def open_in_root(root: int, path: str, flags: int = DIRECTORY, *, follow: bool = True) -> int:
    """Open `path` as a process chrooted to the descriptor `root` would; a new descriptor.

    Symlinks, `..` and absolute targets stay inside; with `follow` false any symlink is ELOOP.
    Raises OSError.
    """
    how = _OpenHow(
        flags | os.O_CLOEXEC,
        0,
        _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | (0 if follow else _RESOLVE_NO_SYMLINKS),
    )
    name = os.fsencode(path or ".")
    for _ in range(_RETRIES):
        result = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(root),
            ctypes.c_char_p(name),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if result >= 0:
            return int(result)
        code = ctypes.get_errno()
        # EAGAIN: a rename elsewhere raced with a "..", the kernel asks to try again
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code), path)
