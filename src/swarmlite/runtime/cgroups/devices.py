"""Device rules: checking an OCI list, and the eBPF program that enforces it on v2.

The kernel calls the program with struct bpf_cgroup_dev_ctx {access_type, major, minor}: the low 16
bits of access_type are the type (1 block, 2 character), the high ones the access (1 mknod, 2 read,
4 write). It returns 1 to allow. Source: linux/bpf.h and Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import struct

from swarmlite import errors

TYPES = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}

#: allow, type ("a", "b" or "c"), major and minor (None for any), access (letters of "rwm").
Rule = tuple[bool, str, int | None, int | None, str]


#: What the runtime itself makes in every container, so that no list of a spec may keep it from it:
#: mknod of anything, and use of the devices that the specification names.
NEEDED: list[Rule] = [
    (True, "c", None, None, "m"),
    (True, "b", None, None, "m"),
    *(
        (True, "c", major, minor, "rwm")
        for major, minor in [
            (1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None),
        ]
    ),
]  # fmt: skip


def rules(devices: list[dict]) -> list[Rule]:  # type: ignore[type-arg]
    """The rules of `linux.resources.devices`, in order; raises InvalidSpec."""
    result: list[Rule] = []
    for index, device in enumerate(devices):
        kind, access = device.get("type") or "a", device.get("access") or "rwm"
        if kind not in ("a", "b", "c") or set(access) - set(ACCESS):
            raise errors.InvalidSpec(
                f"linux.resources.devices[{index}]: type {kind!r}, access {access!r}"
            )
        major, minor = (
            None if device.get(key) in (None, -1) else int(device[key])
            for key in ("major", "minor")
        )
        # "a" is every device: with a number it means both kinds
        kinds = ("b", "c") if kind == "a" and (major, minor) != (None, None) else (kind,)
        result += [(bool(device.get("allow")), k, major, minor, access) for k in kinds]
    return result


def with_needed(ordered: list[Rule]) -> list[Rule]:
    """The rules, and after them what the runtime needs and they refuse without naming it."""
    return [*ordered, *(rule for rule in NEEDED if not _settled(ordered, rule))]


def _settled(ordered: list[Rule], needed: Rule) -> bool:
    """Whether the last rule that touches it allows all of it, or refuses it by its very number."""
    _, kind, major, minor, access = needed
    left = set(access)
    for allow, other, other_major, other_minor, letters in reversed(ordered):
        covers = (
            other in ("a", kind) and other_major in (None, major) and other_minor in (None, minor)
        )
        if covers and left & set(letters):
            exact = (other, other_major, other_minor) == (kind, major, minor)
            if not allow:
                return exact
            left -= set(letters)
            if not left:
                return True
    return not ordered


def program(ordered: list[Rule]) -> bytes:
    """The program for the rules, of which the last that matches decides; refuses by default."""
    code: list[tuple[int, int, int, int, int]] = [  # opcode, dst, src, offset, immediate
        (0x61, 2, 1, 0, 0),  # r2 = access_type
        (0xBC, 3, 2, 0, 0),  # w3 = w2
        (0x54, 2, 0, 0, 0xFFFF),  # w2 &= 0xffff: the type
        (0x74, 3, 0, 0, 16),  # w3 >>= 16: the access
        (0x61, 4, 1, 4, 0),  # r4 = major
        (0x61, 5, 1, 8, 0),  # r5 = minor
    ]
    for allow, kind, major, minor, access in reversed(ordered):
        block: list[tuple[int, int, int, int, int]] = []
        bits = sum(ACCESS[letter] for letter in set(access))
        tests: list[tuple[int, int]] = []
        if kind != "a":
            tests.append((2, TYPES[kind]))
        tests += [(reg, number) for reg, number in ((4, major), (5, minor)) if number is not None]
        body_length = 2 + len(tests) + (3 if bits != 7 else 0)
        for register, number in tests:
            # 32-bit "jump if not equal", over the rest of this rule
            block.append((0x56, register, 0, body_length - len(block) - 1, number))
        if bits != 7:
            block.append((0xBC, 1, 3, 0, 0))  # w1 = access
            if allow:  # all that is asked must be allowed
                block.append((0x54, 1, 0, 0, 7 & ~bits))
                block.append((0x56, 1, 0, 2, 0))
            else:  # any that is asked is refused
                block.append((0x54, 1, 0, 0, bits))
                block.append((0x16, 1, 0, 2, 0))
        code += [*block, (0xB4, 0, 0, 0, int(allow)), (0x95, 0, 0, 0, 0)]  # return allow
        if not block:
            break  # it decides everything: the kernel refuses programs with unreachable ends
    else:
        code += [(0xB4, 0, 0, 0, 0), (0x95, 0, 0, 0, 0)]
    return b"".join(
        struct.pack("=BBhI", op, dst | src << 4, offset, immediate)
        for op, dst, src, offset, immediate in code
    )
