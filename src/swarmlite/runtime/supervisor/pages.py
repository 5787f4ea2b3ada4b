"""Pages that a child will write to, copied while nobody waits for it.

A forked child copies each page that it writes to first. Which ones is much the same for all
children of one kind, so the first of them says so at its end, and those that wait for a job have
their copies by then. That is a hint only: a page too many costs a copy, one too few a fault.
"""

from __future__ import annotations

import os
import struct

from swarmlite.kernel import memory

PAGE_BYTES = 4096
MAX_RUNS = 512
_ENTRY_BYTES = 8
_OWN = 1 << 63 | 1 << 56
"""Present and mapped by nobody else: Documentation/admin-guide/mm/pagemap.rst."""
_RUN = struct.Struct("=QQ")

Run = tuple[int, int]  # an address, and how many bytes from there


class Pages:
    """Of one kind of child; made by who forks, before the first of them. Raises no OSError."""

    def __init__(self) -> None:
        self._known: list[Run] = []
        self._told = self._pagemap = -1
        try:
            self._ranges = _writable()
            self._told = os.memfd_create("pages", os.MFD_CLOEXEC)
        except OSError:
            self._ranges = []  # then nothing is known, ever

    def hear(self) -> None:
        """Who forks, before it does: take up what a child has said."""
        if self._told < 0:
            return
        self._known = list(_RUN.iter_unpack(os.pread(self._told, MAX_RUNS * _RUN.size, 0)))
        if self._known:
            os.close(self._told)
            self._told = -1

    def copy_ahead(self) -> None:
        """A child, before it waits. Where nothing is known yet it will be asked."""
        try:
            for address, size in self._known:
                memory.populate(address, size)
            if self._told >= 0:
                self._pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._told = -1  # a kernel before 5.14, or without pagemap

    def descriptors(self) -> list[int]:
        """What a child needs until it has said which pages it has copied."""
        return [fd for fd in (self._told, self._pagemap) if fd >= 0]

    def say(self) -> None:
        """A child, as late as it can: the pages that it has copied. Closes the descriptors."""
        if self._pagemap < 0:
            return
        try:
            runs = [run for part in self._ranges for run in _own(self._pagemap, *part)]
            os.pwrite(self._told, b"".join(_RUN.pack(*run) for run in runs[:MAX_RUNS]), 0)
        except OSError:
            pass
        for fd in self.descriptors():
            os.close(fd)
        self._told = self._pagemap = -1


def _writable() -> list[Run]:
    """What children have of their parent's memory and may write to: where, and how much."""
    found = []
    with open("/proc/self/maps", "rb") as lines:  # noqa: PTH123
        for line in lines:
            place, rights, *_ = line.split()
            if rights == b"rw-p":
                start, _, end = place.partition(b"-")
                found.append((int(start, 16), int(end, 16) - int(start, 16)))
    return found


def _own(pagemap: int, start: int, size: int) -> list[Run]:
    """The pages of one range that are no other process's, side by side ones as one."""
    count = size // PAGE_BYTES
    data = os.pread(pagemap, count * _ENTRY_BYTES, start // PAGE_BYTES * _ENTRY_BYTES)
    runs: list[Run] = []
    for number, (entry,) in enumerate(struct.iter_unpack("=Q", data)):
        if entry & _OWN != _OWN:
            continue
        address = start + number * PAGE_BYTES
        if runs and sum(runs[-1]) == address:
            runs[-1] = runs[-1][0], runs[-1][1] + PAGE_BYTES
        else:
            runs.append((address, PAGE_BYTES))
    return runs
