"""Namespaces: leaving, joining, and the names of a UTS namespace."""

from __future__ import annotations

import ctypes

from swarmlite.kernel.libc import LIBC, call, check

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
    call("unshare", ctypes.c_ulong(flags))


def setns(fd: int, flags: int) -> None:
    """Join the namespace of `fd`, or those named by `flags` of a pidfd."""
    call("setns", fd, flags)


def set_hostname(name: bytes) -> None:
    """sethostname(2)."""
    check(LIBC.sethostname(name, ctypes.c_size_t(len(name))), "sethostname")


def set_domainname(name: bytes) -> None:
    """setdomainname(2)."""
    check(LIBC.setdomainname(name, ctypes.c_size_t(len(name))), "setdomainname")
