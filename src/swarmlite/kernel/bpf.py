"""eBPF programs of cgroups. Source: linux/bpf.h, bpf(2)."""

from __future__ import annotations

import struct

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import call

_PROG_LOAD, _PROG_ATTACH, _PROG_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE = 5, 8, 15, 6
_F_ALLOW_MULTI = 2


def load_device_program(instructions: bytes) -> int:
    """Load a program of type CGROUP_DEVICE; its descriptor."""
    code = foreign.create_string_buffer(instructions, len(instructions))
    licence = foreign.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQIIQ", _PROG_TYPE_CGROUP_DEVICE, len(instructions) // 8,
        foreign.addressof(code), foreign.addressof(licence), 0, 0, 0,
    )  # fmt: skip
    return call("bpf", _PROG_LOAD, attributes, len(attributes))


def attach_device_program(program: int, cgroup: int) -> None:
    """Attach it to a v2 cgroup, beside what its ancestors have."""
    attributes = struct.pack("=4I", cgroup, program, _CGROUP_DEVICE, _F_ALLOW_MULTI)
    call("bpf", _PROG_ATTACH, attributes, len(attributes))
