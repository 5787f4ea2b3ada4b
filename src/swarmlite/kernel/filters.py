"""Installing seccomp filters. Source: linux/filter.h, seccomp(2)."""

from __future__ import annotations

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import call

_SET_MODE_FILTER = 1


class _Program(foreign.Structure):
    """struct sock_fprog: the length in instructions and where they lie."""

    _fields_ = (("length", foreign.c_ushort), ("filter", foreign.c_void_p))


class FilterProgram:
    """An array of struct sock_filter, kept in memory for the kernel to read."""

    def __init__(self, code: bytes) -> None:
        self._code = foreign.create_string_buffer(code, len(code))
        self._program = _Program(len(code) // 8, foreign.addressof(self._code))

    def install(self, flags: int) -> None:
        """For this thread and what it makes, for ever."""
        call("seccomp", _SET_MODE_FILTER, flags, foreign.byref(self._program))
