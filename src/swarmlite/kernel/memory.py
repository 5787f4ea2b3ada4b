"""glibc's allocator: how many pools it keeps, and giving back what is free."""

from __future__ import annotations

from swarmlite.kernel.libc import LIBC

_M_ARENA_MAX = -8


def use_one_arena() -> None:
    """One pool of memory and not one a thread."""
    LIBC.mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Give back to the kernel what is free at the ends and in the middle of the pools."""
    LIBC.malloc_trim(0)
