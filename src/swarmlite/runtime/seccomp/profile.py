"""Profiles as rules: from our own default list or from an OCI `linux.seccomp`."""

from __future__ import annotations

import os

from swarmlite import errors
from swarmlite.runtime import lean

DATA = os.path.join(os.path.dirname(__file__), "data")  # noqa: PTH118, PTH120
ALLOW, LOG = 0x7FFF0000, 0x7FFC0000
ERRNO = 0x00050000
KILL_PROCESS = 0x80000000
ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "x86",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64",
}
NATIVE = {"x86_64": ["x86_64", "x86", "x32"], "aarch64": ["aarch64"]}
OPERATORS = ("EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ")
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}

#: One comparison: argument, operator, value, second value (of MASKED_EQ: the wanted result).
Condition = tuple[int, str, int, int]


class Profile:
    """What to answer: `default`, by name `always`, or the first of `when` whose conditions hold.

    `unknown` answers calls newer than our tables; `architectures` are names of our tables, the
    native one first; `flags` go to seccomp(2).
    """

    def __init__(self, default: int, architectures: list[str]) -> None:
        self.default = default
        self.unknown = default
        self.architectures = architectures
        self.flags = 0
        self.always: dict[str, int] = {}
        self.when: dict[str, list[tuple[list[Condition], int]]] = {}

    def allows(self, name: str, arguments: list[int]) -> bool:
        """Whether a call passes: what the compiled filter will answer."""
        for conditions, action in self.when.get(name, ()):
            if all(_holds(condition, arguments) for condition in conditions):
                return action in (ALLOW, LOG)
        return self.always.get(name, self.default) in (ALLOW, LOG)


def _holds(condition: Condition, arguments: list[int]) -> bool:
    index, operator, value, second = condition
    argument = arguments[index]
    if operator == "MASKED_EQ":
        return argument & value == second
    return {
        "EQ": argument == value, "NE": argument != value, "LT": argument < value,
        "LE": argument <= value, "GT": argument > value, "GE": argument >= value,
    }[operator]  # fmt: skip


def load(name: str) -> dict[str, object]:
    """One of our data files."""
    data: dict[str, object] = lean.load(os.path.join(DATA, name))  # noqa: PTH118
    return data


def default_profile(caps: list[str], machine: str) -> Profile:
    """The built-in list for a container whose bounding set is `caps`."""
    return from_oci(default_oci(caps), machine)


def default_oci(caps: list[str]) -> dict[str, object]:
    """The built-in list as an OCI `linux.seccomp`."""
    data: dict = load("default.json")  # type: ignore[type-arg]
    allowed = {name for group in data["allow"] for name in group["names"]}
    for cap, names in data["by_capability"].items():
        if cap in caps:
            allowed.update(names)
    syscalls: list[dict[str, object]] = [{"names": sorted(allowed), "action": "SCMP_ACT_ALLOW"}]
    for entry in data["conditional"]:
        names = [name for name in entry["names"] if name not in allowed]
        for alternative in entry["alternatives"] if names else ():
            syscalls.append(
                {
                    "names": names,
                    "action": "SCMP_ACT_ALLOW",
                    "args": [_to_oci(condition) for condition in alternative],
                }
            )
    for entry in data["errno"]:
        if entry["unless"] not in caps:
            syscalls.append(
                {
                    "names": entry["names"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": entry["errno"],
                }
            )
    tables = NATIVE.get(os.uname().machine, [])
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": data["default_errno"],
        "architectures": [word for word, table in ARCHITECTURES.items() if table in tables],
        "syscalls": syscalls,
    }


def _to_oci(condition: dict[str, object]) -> dict[str, object]:
    wire = {**condition, "op": f"SCMP_CMP_{condition['op']}"}
    if "value_two" in wire:
        wire["valueTwo"] = wire.pop("value_two")
    return wire


def from_oci(seccomp: dict, machine: str) -> Profile:  # type: ignore[type-arg]
    """Rules of an OCI profile; raises InvalidSpec with the key that is wrong.

    As runc does, conditions of one rule that name the same argument twice are alternatives.
    """
    default = _action(seccomp, "defaultAction", "defaultErrnoRet", "linux.seccomp")
    wanted = [ARCHITECTURES[a] for a in seccomp.get("architectures") or () if a in ARCHITECTURES]
    native = NATIVE.get(machine, [])
    if not native:
        raise errors.FailedPrecondition(f"seccomp: no table of system calls for {machine}")
    profile = Profile(default, [a for a in native if a == machine or a in wanted])
    if default & 0xFFFF0000 == ERRNO:
        profile.unknown = ERRNO | 38  # ENOSYS, so that libraries fall back
    if seccomp.get("listenerPath") or seccomp.get("listenerMetadata"):
        raise errors.InvalidSpec("linux.seccomp.listenerPath: notifications are not supported")
    for flag in seccomp.get("flags") or ():
        if flag not in FLAGS:
            raise errors.InvalidSpec(f"linux.seccomp.flags: {flag} is not supported")
        profile.flags |= FLAGS[flag]
    for index, rule in enumerate(seccomp.get("syscalls") or ()):
        where = f"linux.seccomp.syscalls[{index}]"
        action = _action(rule, "action", "errnoRet", where)
        conditions = [_condition(arg, where) for arg in rule.get("args") or ()]
        repeated = len({c[0] for c in conditions}) < len(conditions)
        alternatives = [[c] for c in conditions] if repeated else [conditions]
        for name in rule.get("names", ()):
            if not conditions:
                profile.always.setdefault(name, action)
            else:
                profile.when.setdefault(name, []).extend((a, action) for a in alternatives)
    return profile


def _action(holder: dict, key: str, errno_key: str, where: str) -> int:  # type: ignore[type-arg]
    word = holder.get(key)
    if word not in ACTIONS:
        raise errors.InvalidSpec(f"{where}.{key}: {word!r} is not supported")
    action = ACTIONS[word]
    if word in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        action |= int(holder.get(errno_key, 1)) & 0xFFFF
    return action


def _condition(arg: dict, where: str) -> Condition:  # type: ignore[type-arg]
    operator = str(arg.get("op", "")).removeprefix("SCMP_CMP_")
    index = arg.get("index")
    if operator not in OPERATORS or not isinstance(index, int) or not 0 <= index <= 5:
        raise errors.InvalidSpec(f"{where}.args: index {index!r} with op {arg.get('op')!r}")
    return index, operator, int(arg.get("value", 0)), int(arg.get("valueTwo", 0))
