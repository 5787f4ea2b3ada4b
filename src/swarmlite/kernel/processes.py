"""Processes: making them, naming them by descriptor, what they are given and running programs.

Source: linux/sched.h for struct clone_args; clone(2), pidfd_open(2), close_range(2), prctl(2).
"""

from __future__ import annotations

import posix
import struct

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import LIBC, call, check, held_call

CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP = 1, 4, 8, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_SET_NAME = 36, 38, 47, 15
_CLOSE_RANGE_CLOEXEC = 4
_CLONE_PARENT, _CLONE_PARENT_SETTID = 0x8000, 0x100000
SIBLING_FLAGS = _CLONE_PARENT | _CLONE_PARENT_SETTID | SIGCHLD
SPAWN_FLAGS = 0x4100 | SIGCHLD  # CLONE_VM and CLONE_VFORK: posix_spawn's

_PAGE_BYTES = 4096
_PROT_READ_WRITE, _MAP_SHARED, _MAP_ANONYMOUS = 3, 0x01, 0x20
_MAP_FAILED = (1 << 64) - 1

_mmap = LIBC.mmap
_mmap.restype = foreign.c_void_p
_mmap.argtypes = [foreign.c_void_p, foreign.c_size_t, *[foreign.c_int] * 3, foreign.c_long]
_munmap = LIBC.munmap
_munmap.argtypes = [foreign.c_void_p, foreign.c_size_t]
_prctl = LIBC.prctl
_prctl.argtypes = [foreign.c_int, *[foreign.c_ulong] * 4]


def clone(flags: int, cgroup_fd: int = -1) -> int:
    """fork with new namespaces, into the v2 cgroup of `cgroup_fd` if given; 0 in the child."""
    return _clone(flags, SIGCHLD, cgroup_fd)


def clone_sibling(flags: int, cgroup_fd: int = -1) -> int:
    """Likewise a child of our own parent, who is told of its end as of ours."""
    return _clone(flags | _CLONE_PARENT, 0, cgroup_fd)


def _clone(flags: int, exit_signal: int, cgroup_fd: int) -> int:
    if cgroup_fd >= 0:
        flags |= CLONE_INTO_CGROUP
    # struct clone_args: flags, pidfd, two tids, exit_signal, stack (3), tid sets (2), cgroup
    arguments = struct.pack(
        "=11Q", flags, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, cgroup_fd if cgroup_fd >= 0 else 0
    )
    return held_call("clone3", arguments, foreign.c_size_t(len(arguments)))


def pidfd_open(pid: int) -> int:
    """A descriptor of a process."""
    return call("pidfd_open", pid, 0)


def close_range(first: int, last: int = 0xFFFFFFFF, *, cloexec: bool = False) -> None:
    """Close, or mark close-on-exec, every descriptor in the range."""
    flags = _CLOSE_RANGE_CLOEXEC if cloexec else 0
    call("close_range", foreign.c_uint(first), foreign.c_uint(last), flags)


def close_all_but(first: int, keep: list[int]) -> None:
    """Close every descriptor from `first` on, save these."""
    for fd in sorted(set(keep)):
        if fd > first:
            close_range(first, fd - 1)
        first = max(first, fd + 1)
    close_range(first)


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """prctl(2)."""
    return check(_prctl(option, a, b, c, d), "prctl")


def set_name(name: bytes) -> None:
    """What ps shows of this thread: at most 15 bytes."""
    buffer = foreign.create_string_buffer(name)
    prctl(PR_SET_NAME, foreign.addressof(buffer))


def die_with_parent(signal: int = 9) -> None:
    """Have the kernel send `signal` when the thread that forked us ends."""
    prctl(PR_SET_PDEATHSIG, signal)


class Handover:
    """A page that processes share: the kernel writes the pid of the last one there.

    So that pid is known before its process runs, whatever becomes of who made it. Children have it
    from their parent; who has another parent is given its `memory`.
    """

    def __init__(self, memory: int = -1) -> None:
        """`memory`: a descriptor of `handover_memory`, which may be closed then; OSError."""
        flags = _MAP_SHARED | (_MAP_ANONYMOUS if memory < 0 else 0)
        address = _mmap(None, _PAGE_BYTES, _PROT_READ_WRITE, flags, memory, 0)
        if address == _MAP_FAILED:
            check(-1, "mmap")
        self._address: int = address
        self._pid = foreign.c_int.from_address(address)

    def __del__(self) -> None:
        if hasattr(self, "_address"):
            _munmap(self._address, _PAGE_BYTES)

    @property
    def pid(self) -> int:
        """Of the grandchild, as whoever made it sees it; 0 as long as there is none."""
        return self._pid.value

    @pid.setter
    def pid(self, pid: int) -> None:
        self._pid.value = pid

    def clone_sibling(self, flags: int = 0) -> int:
        """fork a child of our own parent, in the namespaces of `flags`; 0 in the child.

        By clone(2), which seccomp filters can look into; they refuse clone3.
        """
        address = foreign.c_void_p(self._address)
        return held_call("clone", foreign.c_ulong(flags | SIBLING_FLAGS), None, address, None, None)


def handover_memory() -> int:
    """Memory for one Handover in processes that are not each other's children."""
    memory = posix.memfd_create("handover", posix.MFD_CLOEXEC)
    posix.ftruncate(memory, _PAGE_BYTES)
    return memory


def fork() -> int:
    """fork by clone(2), without Python's handlers; 0 in the child."""
    return held_call("clone", foreign.c_ulong(SIGCHLD), None, None, None, None)
