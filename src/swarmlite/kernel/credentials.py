"""Capabilities. Source: linux/capability.h, capabilities(7)."""

from __future__ import annotations

import struct

from swarmlite.kernel.libc import call
from swarmlite.kernel.processes import PR_CAP_AMBIENT, PR_CAPBSET_DROP, prctl

PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
_VERSION_3 = 0x20080522


def drop_bounding(keep: int, last: int) -> None:
    """Drop from the bounding set what is not in the mask `keep`, up to capability `last`."""
    for number in range(last + 1):
        if not keep >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def clear_ambient() -> None:
    """Empty the ambient set."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def raise_ambient(number: int) -> None:
    """Add one capability, which must be permitted and inheritable, to the ambient set."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets of this thread."""
    header = struct.pack("=Ii", _VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "=6I", effective & low, permitted & low, inheritable & low,
        effective >> high, permitted >> high, inheritable >> high,
    )  # fmt: skip
    call("capset", header, data)
