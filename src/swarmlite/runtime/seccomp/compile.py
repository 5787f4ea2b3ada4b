"""From rules to classic BPF: one binary search tree of call numbers an architecture.

The native architecture is tested first; a call costs about log2(ranges) comparisons. Runs of
numbers with one answer are one leaf. Conditional jumps reach 255 instructions, so a longer left
half is skipped by an unconditional jump. Source: the kernel's Documentation/userspace-api/
seccomp_filter.rst and linux/filter.h.
"""

from __future__ import annotations

import struct

from swarmlite import errors
from swarmlite.runtime.seccomp import profile as rules

AUDIT_ARCH = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
LOAD, AND, JA, JEQ, JGT, JGE, RET = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
NR, ARCH, ARGS = 0, 4, 16  # offsets in struct seccomp_data
MAX_INSTRUCTIONS = 4096

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k
Alternatives = list[tuple[list[rules.Condition], int]]
Leaf = tuple[int, Alternatives]  # the answer, after these alternatives were tried
Range = tuple[int, Leaf]  # from this number on


def compile_profile(profile: rules.Profile) -> bytes:
    """The filter as an array of struct sock_filter; raises InvalidSpec when it is too long."""
    tables: dict = rules.load("syscalls.json")  # type: ignore[type-arg]
    program: list[Instruction] = [(LOAD, 0, 0, ARCH)]
    for arch in profile.architectures:
        if arch == "x32":
            continue  # a range within x86_64
        ranges = _ranges(profile, tables[arch], 0)
        if arch == "x86_64" and "x32" in profile.architectures:
            ranges += _ranges(profile, tables["x32"], X32_BIT)
        block = [(LOAD, 0, 0, NR), *_tree(ranges)]
        program += [(JEQ, 1, 0, AUDIT_ARCH[arch]), (JA, 0, 0, len(block)), *block]
    program.append((RET, 0, 0, rules.KILL_PROCESS))
    if len(program) > MAX_INSTRUCTIONS:
        raise errors.InvalidSpec(f"linux.seccomp: {len(program)} instructions are too many")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _leaf(profile: rules.Profile, name: str) -> Leaf:
    return profile.always.get(name, profile.default), profile.when.get(name, [])


def _ranges(profile: rules.Profile, table: dict[str, int], base: int) -> list[Range]:
    """Numbers from `base` on, neighbours with the same answer made one."""
    leaves = {number + base: _leaf(profile, name) for name, number in table.items()}
    last = max(leaves)
    result: list[Range] = []
    for number in range(base, last + 1):
        leaf = leaves.get(number, (profile.default, []))
        if not result or result[-1][1] != leaf:
            result.append((number, leaf))
    result.append((last + 1, (profile.unknown, [])))
    return result


def _tree(ranges: list[Range]) -> list[Instruction]:
    if len(ranges) == 1:
        return _leaf_code(*ranges[0][1])
    middle = len(ranges) // 2
    left, right = _tree(ranges[:middle]), _tree(ranges[middle:])
    start = ranges[middle][0]
    if len(left) <= 255:
        return [(JGE, len(left), 0, start), *left, *right]
    return [(JGE, 0, 1, start), (JA, 0, 0, len(left)), *left, *right]


def _leaf_code(answer: int, alternatives: Alternatives) -> list[Instruction]:
    code: list[Instruction] = []
    for conditions, action in alternatives:
        # Built from the end: how far it is to what follows is then known.
        block: list[Instruction] = [(RET, 0, 0, action)]
        for condition in reversed(conditions):
            block = _condition_code(condition, len(block)) + block
        code += block
    return [*code, (RET, 0, 0, answer)]


def _condition_code(condition: rules.Condition, rest: int) -> list[Instruction]:
    """Falls through when it holds, else jumps over the `rest` of its alternative."""
    index, operator, value, second = condition
    low, high = ARGS + 8 * index, ARGS + 8 * index + 4
    value_low, value_high = value & 0xFFFFFFFF, value >> 32
    if operator == "MASKED_EQ":
        return [
            (LOAD, 0, 0, high),
            (AND, 0, 0, value_high),
            (JEQ, 0, rest + 3, second >> 32),
            (LOAD, 0, 0, low),
            (AND, 0, 0, value_low),
            (JEQ, 0, rest, second & 0xFFFFFFFF),
        ]
    if operator == "EQ":
        return [
            (LOAD, 0, 0, high),
            (JEQ, 0, rest + 2, value_high),
            (LOAD, 0, 0, low),
            (JEQ, 0, rest, value_low),
        ]
    if operator == "NE":
        return [
            (LOAD, 0, 0, high),
            (JEQ, 0, 2, value_high),
            (LOAD, 0, 0, low),
            (JEQ, rest, 0, value_low),
        ]
    if operator in ("GT", "GE"):
        test = JGT if operator == "GT" else JGE
        return [
            (LOAD, 0, 0, high),
            (JGT, 3, 0, value_high),
            (JEQ, 0, rest + 2, value_high),
            (LOAD, 0, 0, low),
            (test, 0, rest, value_low),
        ]
    test = JGE if operator == "LT" else JGT
    return [
        (LOAD, 0, 0, high),
        (JGT, rest + 3, 0, value_high),
        (JEQ, 0, 2, value_high),
        (LOAD, 0, 0, low),
        (test, rest, 0, value_low),
    ]
