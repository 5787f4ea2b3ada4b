"""Pages that a waiting child copies before its job comes."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmlite.kernel import memory, processes
from swarmlite.runtime.supervisor import pages
from swarmlite.runtime.supervisor.pages import PAGE_BYTES, Pages

COUNT = 40
TOUCHED = (3, 4, 5, 17, 39)


@pytest.fixture
def space() -> mmap.mmap:
    """Memory with something in each page, of this process; skipped on a kernel before 5.14."""
    made = mmap.mmap(-1, COUNT * PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made.write(b"x" * len(made))
    try:
        memory.populate(address(made), PAGE_BYTES)
    except OSError as error:
        pytest.skip(f"this kernel has no MADV_POPULATE_WRITE: {error}")
    return made


def address(space: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(space))


def in_child(work: Callable[[], bool]) -> bool:
    """Whether `work` was true in a child."""
    pid = processes.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def own_pages(space: mmap.mmap) -> set[int]:
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        start = address(space)
        runs = pages._own(pagemap.fileno(), start, len(space))
    return {(at - start) // PAGE_BYTES + k for at, size in runs for k in range(size // PAGE_BYTES)}


def test_a_child_has_its_own_copies_of_what_one_before_it_wrote_to(space: mmap.mmap) -> None:
    made = Pages()

    def first() -> bool:
        made.hear()
        made.copy_ahead()
        held = len(made.descriptors())
        for page in TOUCHED:
            space[page * PAGE_BYTES] = 1
        made.say()
        return held == 2 and not made.descriptors()

    def second() -> bool:
        before = own_pages(space)
        made.copy_ahead()
        after = own_pages(space)
        return not before and after == set(TOUCHED) and not made.descriptors()

    assert in_child(first)
    made.hear()
    assert not made.descriptors(), "nobody is asked twice"
    assert in_child(second)
    assert space[TOUCHED[0] * PAGE_BYTES] == ord("x"), "a copy, and its parent's is as it was"


def test_children_that_speak_at_once_leave_something_that_can_be_used(space: mmap.mmap) -> None:
    made = Pages()

    def speak() -> bool:
        made.copy_ahead()
        space[0] = 1
        made.say()
        return True

    assert in_child(speak)
    assert in_child(speak)
    made.hear()
    assert in_child(lambda: made.copy_ahead() is None and 0 in own_pages(space))
