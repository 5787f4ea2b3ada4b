"""The default filter: as a program (interpreted here for every architecture) and in a container."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from rt_harness import Containers

from swarmlite import errors
from swarmlite.runtime.oci import capabilities
from swarmlite.runtime.oci.defaults import default_spec, portable
from swarmlite.runtime.seccomp import compile as compiler
from swarmlite.runtime.seccomp import profile as rules

ALLOWED, EPERM, ENOSYS = 0x7FFF0000, 0x50001, 0x50000 | 38
TABLES: dict[str, Any] = rules.load("syscalls.json")


def interpret(program: bytes, arch: int, number: int, *args: int) -> int:
    """Classic BPF, as the kernel's own checker would run it."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *(list(args) + [0] * 6)[:6])
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = place = 0
    while True:
        op, jump_true, jump_false, k = code[place]
        place += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif op == 0x54:
            accumulator &= k
        elif op == 0x05:
            place += k
        elif op == 0x06:
            return k
        else:
            test = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[op]
            place += jump_true if test else jump_false


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_call_of_every_architecture_gets_its_answer(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rules.NATIVE, os.uname().machine, rules.NATIVE[machine])
    profile = rules.default_profile(capabilities.DEFAULT, machine)
    program = compiler.compile_profile(profile)
    for arch in profile.architectures:
        base = compiler.X32_BIT if arch == "x32" else 0
        audit = compiler.AUDIT_ARCH["x86_64" if arch == "x32" else arch]
        for name, number in TABLES[arch].items():
            if name not in profile.when:
                expected = profile.always.get(name, profile.default)
                assert interpret(program, audit, base + number) == expected, (arch, name)
        clone = base + TABLES[arch]["clone"]
        assert interpret(program, audit, clone, 0x11) == ALLOWED
        for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert interpret(program, audit, clone, flag | 0x11) == EPERM
        for name in ("unshare", "mount", "bpf", "keyctl", "io_uring_setup", "init_module"):
            assert interpret(program, audit, base + TABLES[arch][name]) == EPERM
        assert interpret(program, audit, base + TABLES[arch]["clone3"]) == ENOSYS
        socket = base + TABLES[arch]["socket"]
        for family in range(64):
            expected = ALLOWED if family < 46 and family not in (38, 40) else EPERM
            assert interpret(program, audit, socket, family) == expected
        assert interpret(program, audit, socket, (1 << 32) + 38) == EPERM
        assert interpret(program, audit, base + 0x20000) == ENOSYS
    assert interpret(program, 0xDEAD, 0) == rules.KILL_PROCESS


def test_each_operator_compares_64_bits() -> None:
    value = 5 << 32 | 7
    for operator, holds in (
        ("EQ", lambda a: a == value), ("NE", lambda a: a != value), ("LT", lambda a: a < value),
        ("LE", lambda a: a <= value), ("GT", lambda a: a > value), ("GE", lambda a: a >= value),
    ):  # fmt: skip
        oci = {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 2, "op": f"SCMP_CMP_{operator}", "value": value}]}
            ],
        }  # fmt: skip
        program = compiler.compile_profile(rules.from_oci(oci, "x86_64"))
        for high in (4, 5, 6):
            for low in (6, 7, 8):
                argument = high << 32 | low
                answer = interpret(program, compiler.AUDIT_ARCH["x86_64"], 0, 0, 0, argument)
                assert (answer == ALLOWED) == holds(argument), (operator, high, low)


def test_capabilities_open_what_they_are_for() -> None:
    profile = rules.default_profile(["CAP_SYS_ADMIN", "CAP_SYS_TIME"], "x86_64")
    for name in ("mount", "unshare", "clone3", "clock_settime", "clone"):
        assert profile.always[name] == ALLOWED
    assert "reboot" not in profile.always


def test_bad_profiles_say_where() -> None:
    for profile, words in (
        ({"defaultAction": "SCMP_ACT_X"}, r"linux.seccomp.defaultAction"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "?"}]},
         r"syscalls\[0\].action"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["?"]}, "flags"),
    ):  # fmt: skip
        with pytest.raises(errors.InvalidSpec, match=words):
            rules.from_oci(profile, "x86_64")


def test_the_portable_spec_writes_the_profile_out() -> None:
    spec = portable(default_spec())
    assert len(spec["linux"]["seccomp"]["syscalls"][0]["names"]) > 350
    assert "seccomp" not in default_spec()["linux"]


SCRIPT = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(a) for a in args])
    return 0 if result >= 0 else ctypes.get_errno()
n = json.loads(os.environ["NUMBERS"])
out = {
    "unshare_user": call(n["unshare"], 0x10000000),
    "clone_user": call(n["clone"], 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": call(n["clone3"], 0, 0),
    "af_alg": call(n["socket"], 38, 5, 0),
    "af_vsock": call(n["socket"], 40, 1, 0),
    "af_inet": call(n["socket"], 2, 1, 0),
    "keyctl": call(n["keyctl"], 0, -3, 0),
    "add_key": call(n["add_key"], 0, 0, 0, 0, 0),
    "mount": call(n["mount"], 0, 0, 0, 0, 0),
    "bpf": call(n["bpf"], 0, 0, 0),
    "io_uring": call(n["io_uring_setup"], 1, 0),
    "userfaultfd": call(n["userfaultfd"], 0),
    "personality": call(n["personality"], 0x0040000),
    "personality_ask": call(n["personality"], 0xffffffff),
    "newer": call(9999),
    "open_by_handle_at": call(n["open_by_handle_at"], 0, 0, 0),
}
print(json.dumps(out))
"""


@pytest.mark.parametrize("no_new_privs", [False, True])
async def test_real_calls_in_a_real_container(containers: Containers, no_new_privs: bool) -> None:
    python = os.path.realpath(sys.executable)

    def change(spec: dict[str, Any]) -> None:
        spec["process"]["env"] = [f"NUMBERS={json.dumps(TABLES[os.uname().machine])}", "PATH=/bin"]
        spec["process"]["noNewPrivileges"] = no_new_privs
        for path in {"/usr", "/lib", "/lib64", sys.base_prefix}:
            if Path(path).exists():
                spec["mounts"].append(
                    {"type": "bind", "source": path, "destination": path,
                     "options": ["rbind", "ro"]}
                )  # fmt: skip

    state, output = await containers.run(python, "-I", "-S", "-c", SCRIPT, change=change)
    assert state.exit_code == 0, output
    answers = json.loads(output)
    fine = {name: answers.pop(name) for name in ("af_inet", "personality_ask")}
    assert set(fine.values()) == {0}
    assert {answers.pop("clone3"), answers.pop("newer")} == {38}
    assert set(answers.values()) == {1}, answers
