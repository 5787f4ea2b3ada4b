"""What a process that joins a container shows on the way, to a container that looks for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
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


#: Stops every process that appears, as soon as it does.
STOPPER = """
import os, signal
seen = set(os.listdir("/proc"))
print("watching", flush=True)
while True:
    now = os.listdir("/proc")
    for pid in now:
        if pid not in seen and pid.isdigit():
            try:
                os.kill(int(pid), signal.SIGSTOP)
            except ProcessLookupError:
                pass
    seen = set(now)
"""


def with_python(spec: dict[str, Any]) -> None:
    """Show the container the interpreter of these tests."""
    for path in {"/usr", "/lib", "/lib64", sys.base_prefix}:
        if Path(path).exists():
            spec["mounts"].append(
                {"type": "bind", "source": path, "destination": path, "options": ["rbind", "ro"]}
            )


def that_traces(spec: dict[str, Any]) -> None:
    with_python(spec)
    for names in spec["process"]["capabilities"].values():
        names.append("CAP_SYS_PTRACE")


async def until(containers: Containers, cid: str, words: str) -> None:
    while words not in await containers.output(cid):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("change", [that_traces, with_python])
async def test_a_container_that_looks_never_sees_more_than_its_own(
    containers: Containers, change: Callable[[dict[str, Any]], None]
) -> None:
    """Its own capabilities, its filter, its root, and the descriptors that the exec brings."""
    python = os.path.realpath(sys.executable)
    cid = await containers.start(python, "-I", "-S", "-c", WATCHER, change=change)
    await until(containers, cid, "watching")
    for _ in range(40):
        assert await containers.exec(cid, "true") == (0, "")
    assert await containers.exec(cid, "mkdir", "/tmp/stop") == (0, "")  # opens nothing itself
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


async def test_an_exec_that_is_stopped_before_its_program_leaves_nobody(
    containers: Containers,
) -> None:
    """Wherever it is stopped: it is killed, and so is who makes it."""
    python = os.path.realpath(sys.executable)
    cid = await containers.start(python, "-I", "-S", "-c", STOPPER, change=with_python)
    await until(containers, cid, "watching")
    null = os.open("/dev/null", os.O_RDWR)
    try:
        for _ in range(8):
            with contextlib.suppress(errors.FailedPrecondition):
                running = await containers.supervisor.exec(
                    cid, {"args": ["sleep", "100"]}, stdin=null, stdout=null, stderr=null,
                    start_timeout_s=0.3, timeout_s=0.3,
                )  # fmt: skip
                assert await running.wait() == 137
    finally:
        os.close(null)
    while len(await containers.supervisor.pids(cid)) > 1:
        await asyncio.sleep(0.01)
    await containers.supervisor.delete(cid, force=True)


async def test_an_exec_leads_a_session_and_is_told_of_what_it_cannot_run(
    containers: Containers,
) -> None:
    """The same whether its process is born with its maker's memory or with a copy."""
    for change in (None, that_traces):
        cid = await containers.start("sleep", "100", change=change)
        script = (
            "read -r pid _ _ _ _ session _ </proc/self/stat; test $pid = $session && kill -9 $$"
        )
        code, _ = await containers.exec(cid, "sh", "-c", script)
        assert code == 137
        with pytest.raises(errors.FailedPrecondition, match=r'exec: "nothing": .* not found'):
            await containers.exec(cid, "nothing")
        with pytest.raises(errors.FailedPrecondition, match=r'exec: "/tmp": '):
            await containers.exec(cid, "/tmp")


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

    def without_spawn(spec: dict[str, Any]) -> None:
        spec["linux"]["seccomp"] = narrow("wait4", "setsid")

    cid = await containers.start("sleep", "100", change=without_spawn)
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
