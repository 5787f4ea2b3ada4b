"""Namespaces: leaving, joining, and the names of a UTS namespace."""

from __future__ import annotations

import os

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import LIBC, call, check
from swarmlite.kernel.processes import clone

CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


def unshare(flags: int) -> None:
    """Leave namespaces for new ones."""
    call("unshare", foreign.c_ulong(flags))


def setns(fd: int, flags: int) -> None:
    """Join the namespace of `fd`, or those named by `flags` of a pidfd."""
    call("setns", fd, flags)


def set_hostname(name: bytes) -> None:
    """sethostname(2)."""
    check(LIBC.sethostname(name, foreign.c_size_t(len(name))), "sethostname")


def set_domainname(name: bytes) -> None:
    """setdomainname(2)."""
    check(LIBC.setdomainname(name, foreign.c_size_t(len(name))), "setdomainname")


def make_user_namespace(uid_map: str, gid_map: str) -> int:
    """A descriptor of a new user namespace with these maps (lines of inside, outside, length).

    A child holds it until it is mapped; it is gone when this returns. Raises OSError.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    pid = clone(CLONE_NEWUSER)
    if pid == 0:
        try:
            os.close(theirs)
            os.read(ours, 1)  # until the other end is closed
        finally:
            os._exit(0)
    try:
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            except OSError as error:
                raise OSError(error.errno, f"{name} {text!r}: {error.strerror}") from error
            finally:
                os.close(fd)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(theirs)
        os.close(ours)
        os.waitpid(pid, 0)
