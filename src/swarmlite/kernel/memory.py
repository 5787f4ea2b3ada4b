"""Memory: glibc's pools of it, and pages that are copied before they are needed."""

from __future__ import annotations

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import LIBC, check

_M_ARENA_MAX = -8
_MADV_POPULATE_WRITE = 23

_madvise = LIBC.madvise
_madvise.argtypes = [foreign.c_void_p, foreign.c_size_t, foreign.c_int]


def use_one_arena() -> None:
    """One pool of memory and not one a thread."""
    LIBC.mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Give back to the kernel what is free at the ends and in the middle of the pools."""
    LIBC.malloc_trim(0)


def populate(address: int, size: int) -> None:
    """Have pages as if they were written to, for a child its own copies; OSError before 5.14."""
    check(_madvise(address, size, _MADV_POPULATE_WRITE), "madvise")
