"""Cgroups: v1 on this kernel, v2 on files as the kernel documents them, and on its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rt_harness import PARENT, Containers, connect

from swarmlite import errors
from swarmlite.runtime.cgroups import base, devices, v2
from swarmlite.runtime.cgroups.detect import Host
from swarmlite.runtime.oci.defaults import DEVICE_RULES
from swarmlite.runtime.supervisor import __main__ as program


def test_hosts_are_told_apart_by_their_mounts(tmp_path: Path) -> None:
    v1 = "30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    unified = "31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    for text, kind in ((v1, "v1"), (v1 + unified, "hybrid"), (unified, "v2")):
        (tmp_path / "mountinfo").write_text(text)
        assert Host(str(tmp_path / "mountinfo")).kind == kind
    (tmp_path / "mountinfo").write_text("")
    with pytest.raises(errors.FailedPrecondition):
        Host(str(tmp_path / "mountinfo"))


@pytest.fixture
def v2_root(tmp_path: Path) -> Path:
    """A root as a v2 kernel shows it, in plain files."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu\n")
    return tmp_path


def test_v2_hands_controllers_down_and_writes_its_own_units(v2_root: Path) -> None:
    group = v2_root / "a/b"
    (v2_root / "a").mkdir()
    (v2_root / "a/cgroup.controllers").write_text("cpu memory pids\n")
    (v2_root / "a/cgroup.subtree_control").write_text("")
    cgroup = v2.V2(str(v2_root), "/a/b", device_programs=False)
    cgroup._enable_controllers()
    assert (v2_root / "cgroup.subtree_control").read_text() == "+cpuset +io +memory +hugetlb +pids"
    assert (v2_root / "a/cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    group.mkdir()
    for name in ("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "memory.low",
                 "cgroup.freeze", "cgroup.kill"):  # fmt: skip
        (group / name).write_text("")
    cgroup.update(
        {
            "memory": {"limit": 1 << 20, "swap": 3 << 20, "reservation": 4096},
            "cpu": {"quota": 50000, "period": 100000, "shares": 1024},
            "pids": {"limit": 7},
        }
    )
    wrote = {path.name: path.read_text() for path in group.iterdir()}
    assert wrote["memory.max"] == str(1 << 20) and wrote["memory.swap.max"] == str(2 << 20)
    assert wrote["cpu.max"] == "50000 100000" and wrote["cpu.weight"] == "39"
    assert wrote["pids.max"] == "7" and wrote["memory.low"] == "4096"
    cgroup.freeze(True)
    cgroup.kill(9)
    assert (group / "cgroup.freeze").read_text() == "1"
    assert (group / "cgroup.kill").read_text() == "1"
    (group / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    (group / "cpu.stat").write_text("usage_usec 12\nthrottled_usec 3\n")
    (group / "memory.current").write_text("99\n")
    stats = cgroup.stats()
    assert (stats["oom_kills"], stats["cpu_usage_ns"], stats["memory_bytes"]) == (2, 12000, 99)
    cgroup.update({"blockIO": {"weight": 10}, "memory": {"swappiness": 3}})
    assert cgroup.warnings == [
        "blockIO.weight: not supported by this host's kernel",
        "memory.swappiness: cgroups v2 have no such limit",
    ]
    with pytest.raises(errors.FailedPrecondition, match=r"hugetlb\.2MB\.max"):
        cgroup.update({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})


def test_a_path_may_not_leave_the_hierarchy() -> None:
    for path in ("", "/", "/a/../b", "a//b", "/a/."):
        with pytest.raises(errors.InvalidSpec):
            base.check_path(path)


def test_v1_limits_are_the_kernels(containers: Containers) -> None:
    host = Host()
    if not host.roots:
        pytest.skip("this host has no v1 controllers")
    cgroup = host.cgroup(f"{PARENT}/limits")
    resources: dict[str, Any] = {
        "memory": {"limit": 64 << 20, "swap": 64 << 20},
        "cpu": {"quota": 50000, "period": 100000, "shares": 512},
        "pids": {"limit": 9},
        "devices": DEVICE_RULES,
    }
    cgroup.create(resources)
    try:
        with pytest.raises(errors.AlreadyExists):
            host.cgroup(f"{PARENT}/limits").create(resources)
        at = {name: f"{root}{PARENT}/limits" for name, root in host.roots.items()}
        assert base.read_int(f"{at['memory']}/memory.limit_in_bytes") == 64 << 20
        assert base.read_int(f"{at['cpu']}/cpu.cfs_quota_us") == 50000
        assert base.read(f"{at['devices']}/devices.list").count("\n") == 11
        cgroup.update({"memory": {"limit": 128 << 20, "swap": 128 << 20}, "pids": {"limit": 5}})
        assert cgroup.stats()["memory_limit_bytes"] == 128 << 20
        assert cgroup.stats()["pids_limit"] == 5
        cgroup.update({"memory": {"limit": 32 << 20, "swap": 32 << 20}})
        assert cgroup.stats()["memory_limit_bytes"] == 32 << 20
    finally:
        assert cgroup.delete()


def interpret(code: bytes, access: int, major: int, minor: int) -> int:
    """The few eBPF instructions that the device program uses."""
    context = {0: access, 4: major, 8: minor}
    registers = [0] * 11
    place = 0
    instructions = [code[i : i + 8] for i in range(0, len(code), 8)]
    while True:
        raw = instructions[place]
        op, dst, src = raw[0], raw[1] & 15, raw[1] >> 4
        offset = int.from_bytes(raw[2:4], "little", signed=True)
        immediate = int.from_bytes(raw[4:8], "little")
        place += 1
        match op:
            case 0x61:
                registers[dst] = context[offset]
            case 0xBC:
                registers[dst] = registers[src]
            case 0x54:
                registers[dst] &= immediate
            case 0x74:
                registers[dst] >>= immediate
            case 0xB4:
                registers[dst] = immediate
            case 0x56:
                place += offset if registers[dst] != immediate else 0
            case 0x16:
                place += offset if registers[dst] == immediate else 0
            case 0x95:
                return registers[0]


def test_the_device_program_answers_as_the_rules_say() -> None:
    code = devices.program(devices.rules(DEVICE_RULES))
    block, char, mknod, read, write = 1, 2, 1 << 16, 2 << 16, 4 << 16
    assert interpret(code, char | read | write, 1, 3) == 1
    assert interpret(code, char | read, 136, 99) == 1
    assert interpret(code, block | mknod, 8, 0) == 1
    assert interpret(code, block | read, 8, 0) == 0
    assert interpret(code, block | mknod | read, 8, 0) == 0
    assert interpret(code, char | write, 1, 1) == 0
    open_ended = devices.program(devices.rules(DEVICE_RULES[1:]))
    assert interpret(open_ended, block | read, 8, 0) == 0


async def test_containers_run_on_pure_v2(tmp_path: Path, busybox_root: Path) -> None:
    """In a mount namespace without v1: clone3 into the cgroup, eBPF devices, kill and delete."""
    host = Host()
    if host.unified is None:
        pytest.skip("this host has no unified hierarchy")
    umount = "; ".join(f"umount {path}" for path in sorted(set(host.roots.values())))
    script = f'{umount}; umount /sys/fs/cgroup/systemd 2>/dev/null; exec "$@"'
    process = subprocess.Popen(  # noqa: ASYNC220
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh",
         sys.executable, "-I", "-S", program.__file__, "--socket", str(tmp_path / "s.sock"),
         "--state-dir", str(tmp_path / "state")],
    )  # fmt: skip
    try:
        client = await connect(tmp_path / "s.sock")
        assert (await client.info())["cgroup"] == "v2"
        made = Containers(client, tmp_path, busybox_root)
        _, output = await made.run(
            "sh", "-c",
            "mknod /tmp/d b 254 0; dd if=/tmp/d of=/dev/null count=1; echo ok > /dev/null && "
            "cat /proc/self/cgroup | tail -1; ls /sys/fs/cgroup/cgroup.procs",
        )  # fmt: skip
        assert "Operation not permitted" in output and "0::/\n" in output
        assert "/sys/fs/cgroup/cgroup.procs" in output
        cid = await made.start("sh", "-c", "sleep 100 & sleep 100")
        group = Path(f"{host.unified}{PARENT}/{cid}")
        pid = (await client.state(cid)).pid
        assert pid in base.read_pids(str(group / "cgroup.procs"))
        assert (await made.exec(cid, "cat", "/proc/self/cgroup"))[1].endswith("0::/\n")
        await client.pause(cid)
        await client.resume(cid)
        await client.delete(cid, force=True)
        assert not group.exists()
        await client.shutdown()
        await client.close()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
