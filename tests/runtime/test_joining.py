"""What a process that joins a container shows on the way, to a container that looks for it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from rt_harness import PARENT, Containers

from swarmlite import errors
from swarmlite.kernel.libc import MACHINE
from swarmlite.runtime.cgroups.detect import Host
from swarmlite.runtime.oci.capabilities import mask
from swarmlite.runtime.seccomp import profile as rules

#: Looks at every process that appears, as soon as it does, and writes what it finds.
WATCHER = """
import json, os, sys
def of(pid, what):
    try:
        return what(f"/proc/{pid}")
    except OSError:
        return None
def fds(folder):
    return sorted(os.readlink(f"{folder}/fd/{n}").split(":")[0] for n in os.listdir(folder + "/fd"))
def status(folder):
    lines = dict(l.split(":", 1) for l in open(folder + "/status").read().splitlines())
    return [int(lines["CapPrm"], 16), int(lines["Seccomp"])]
seen = set(os.listdir("/proc"))
found = []
print("watching", flush=True)
while not os.path.exists("/tmp/stop"):
    now = os.listdir("/proc")
    for pid in now:
        if pid not in seen and pid.isdigit():
            places = [of(pid, lambda f: os.readlink(f + name)) for name in ("/root", "/cwd")]
            found.append([of(pid, status), *places, of(pid, fds)])
    seen = set(now)
json.dump(found, open("/tmp/found", "w"))
"""


def with_python(spec: dict[str, Any]) -> None:
    """Show the container the interpreter of these tests, and let it trace."""
    for path in {"/usr", "/lib", "/lib64", sys.base_prefix}:
        if Path(path).exists():
            spec["mounts"].append(
                {"type": "bind", "source": path, "destination": path, "options": ["rbind", "ro"]}
            )
    for names in spec["process"]["capabilities"].values():
        names.append("CAP_SYS_PTRACE")


async def until(containers: Containers, cid: str, words: str) -> None:
    while words not in await containers.output(cid):
        await asyncio.sleep(0.01)


async def test_a_tracing_container_never_sees_more_than_its_own(containers: Containers) -> None:
    """Its own capabilities, its filter, its root, and the descriptors that the exec brings."""
    python = os.path.realpath(sys.executable)
    cid = await containers.start(python, "-I", "-S", "-c", WATCHER, change=with_python)
    await until(containers, cid, "watching")
    for _ in range(40):
        assert await containers.exec(cid, "true") == (0, "")
    assert await containers.exec(cid, "touch", "/tmp/stop") == (0, "")
    await containers.supervisor.wait(cid)
    found = json.loads((containers.directory / cid / "upper/tmp/found").read_text())
    assert len(found) > 10  # an exec is short: not each is seen
    spec = json.loads((containers.directory / cid / "config.json").read_text())
    own = mask(spec["process"]["capabilities"]["bounding"])
    for status, root, cwd, fds in found:
        if status is not None:
            assert status[0] & ~own == 0
            assert status[1] == 2
        assert root in (None, "/")
        assert cwd in (None, "/")
        # pipes and null for stdio, and the channel by which a failure would be told
        assert set(fds or ()) <= {"/dev/null", "pipe", "socket"}


async def test_the_init_holds_no_more_than_the_program(containers: Containers) -> None:
    """pid 1 never execs: what it had to install the filter would stay in reach."""

    def change(spec: dict[str, Any]) -> None:
        spec["annotations"]["swarmlite.init"] = "true"

    cid = await containers.start("sleep", "100", change=change)
    _, output = await containers.exec(cid, "cat", "/proc/1/status")
    lines = dict(line.split(":", 1) for line in output.splitlines())
    spec = json.loads((containers.directory / cid / "config.json").read_text())
    assert int(lines["CapPrm"], 16) & ~mask(spec["process"]["capabilities"]["bounding"]) == 0
    assert int(lines["Seccomp"]) == 2


async def test_what_does_not_exec_in_time_is_given_up(containers: Containers) -> None:
    """Frozen from outside, as a container can stop what has just appeared in it."""
    cid = await containers.start("sleep", "100")
    group = Host().cgroup(f"{PARENT}/{cid}")
    null = os.open("/dev/null", os.O_RDWR)
    group.freeze(True)
    try:
        with pytest.raises(errors.FailedPrecondition, match=r"did not start within 0\.2 s"):
            await containers.supervisor.exec(
                cid, {"args": ["true"]}, stdin=null, stdout=null, stderr=null, start_timeout_s=0.2
            )
    finally:
        group.freeze(False)
        os.close(null)
    assert await containers.exec(cid, "echo", "again") == (0, "again\n")
    await containers.supervisor.delete(cid, force=True)


def narrow(*names: str) -> dict[str, Any]:
    """A profile in which these calls are refused."""
    refused = {"names": list(names), "action": "SCMP_ACT_ERRNO"}
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}


async def test_a_filter_without_fork_is_loaded_late_or_refused(containers: Containers) -> None:
    """Late where the container cannot trace; where it can, neither order is safe."""

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["seccomp"] = narrow("clone", "capset")

    cid = await containers.start("sleep", "100", change=change)
    assert await containers.exec(cid, "echo", "fine") == (0, "fine\n")

    def tracing(spec: dict[str, Any]) -> None:
        change(spec)
        spec["process"]["capabilities"]["bounding"].append("CAP_SYS_PTRACE")

    cid = await containers.start("sleep", "100", change=tracing)
    with pytest.raises(errors.FailedPrecondition, match="CAP_SYS_PTRACE"):
        await containers.exec(cid, "true")


def test_what_a_profile_allows_is_known_before_it_is_loaded() -> None:
    """By name, and by the conditions on arguments."""
    no_namespaces = {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    profile = rules.from_oci(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["capset"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespaces]},
            ],
        },
        MACHINE,
    )  # fmt: skip
    assert profile.allows("capset", [0] * 6)
    assert not profile.allows("mount", [0] * 6)
    assert profile.allows("clone", [17, 0, 0, 0, 0, 0])
    assert not profile.allows("clone", [0x10000000 | 17, 0, 0, 0, 0, 0])
