"""cgroups v2 for real: the unified hierarchy in the place of v1, as hosts of today have it.

Of the controllers only those are there that this host has not given to v1; freezing, killing, the
device program and being born into a group are v2's own and need none.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from oci_world import Runtime, ours
from rt_harness import PARENT

from swarmlite.runtime.cgroups import base
from swarmlite.runtime.cgroups.detect import Host

__all__ = ["ours"]

#: In a mount namespace of its own, where only the unified hierarchy is mounted.
ONLY_V2 = 'umount -R -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"'


@pytest.fixture
def unified() -> str:
    """Where this host has it; skips where it has none, or hugetlb, which is limited, elsewhere."""
    found = Host().unified
    if found is None or "hugetlb" not in base.read(f"{found}/cgroup.controllers").split():
        pytest.skip("this host's unified cgroup hierarchy has no hugetlb controller to try")
    return found


class OnV2:
    """The runtime on a host of v2; `inside`: of which group it takes itself to be the root."""

    def __init__(self, runtime: Runtime, inside: str = "") -> None:
        self.runtime, self.inside = runtime, inside

    def __call__(self, *words: str | Path, code: int = 0) -> str:
        command = ["sh", "-c", ONLY_V2, "sh", *self.runtime.words(*words)]
        command = ["unshare", "--mount", *(["--cgroup"] if self.inside else []), *command]
        if self.inside:
            script = 'echo 0 > "$0/cgroup.procs"; exec "$@"'
            command = ["sh", "-c", script, self.inside, *command]
        with (self.runtime.directory / f"v2-{os.urandom(4).hex()}").open("w+") as said:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60, check=False
            )
            said.seek(0)
            text = said.read()
        assert done.returncode == code, text
        return text


def prepare(runtime: Runtime, *args: str) -> tuple[str, Path]:
    """A bundle with a limit that this host's v2 knows, and a device that no rule allows."""
    cid, bundle = runtime.bundle(*args)
    with runtime.edit(bundle) as spec:
        spec["linux"]["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 << 20}]
        spec["linux"]["devices"] = [{"path": "/dev/full2", "type": "c", "major": 1, "minor": 11}]
        spec["linux"]["cgroupsPath"] = f"{PARENT}/v2/{cid}"
    return cid, bundle


def test_a_container_lives_in_one_group_of_v2(ours: Runtime, unified: str) -> None:
    """Born into it, limited, frozen, killed with all that is in it, and gone."""
    on_v2 = OnV2(ours)
    cid, bundle = prepare(ours, "sh", "-c", "sleep 100 & sleep 100")
    group = Path(f"{unified}{PARENT}/v2/{cid}")
    on_v2("create", "--bundle", bundle, cid)
    try:
        assert (group / "hugetlb.2MB.max").read_text() == f"{4 << 20}\n"
        pid = json.loads(on_v2("state", cid))["pid"]
        assert f"0::{PARENT}/v2/{cid}" in Path(f"/proc/{pid}/cgroup").read_text()
        on_v2("start", cid)
        refused = on_v2(
            "exec", cid, "sh", "-c", "cat /dev/full2 2>&1; echo x > /dev/null && echo ok"
        )
        assert "Operation not permitted" in refused
        assert refused.endswith("ok\n")
        assert on_v2("exec", cid, "cat", "/proc/self/cgroup").splitlines()[-1] == "0::/"
        on_v2("pause", cid)
        assert json.loads(on_v2("state", cid))["status"] == "paused"
        on_v2("resume", cid)
        (bundle / "resources").write_text('{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}')
        on_v2("update", "--resources", bundle / "resources", cid)
        assert (group / "hugetlb.2MB.max").read_text() == "0\n"
        on_v2("kill", "--all", cid, "KILL")
        assert base.read_pids(str(group / "cgroup.procs")) in ([], [pid])
    finally:
        on_v2("delete", "--force", cid)
    assert not group.exists()


@pytest.fixture
def delegated(unified: str) -> Iterator[Path]:
    """A group that a manager of services, or an outer container, has handed over."""
    top = Path(f"{unified}{PARENT}-delegated")
    top.mkdir()
    # what is above hands the controller down
    base.write(f"{unified}/cgroup.subtree_control", "+hugetlb")
    yield top
    for procs in top.glob("**/cgroup.procs"):
        for pid in base.read_pids(str(procs)):
            base.write(f"{unified}/cgroup.procs", pid)
    base.remove(str(top))


def test_in_a_delegated_group_processes_move_to_a_leaf(ours: Runtime, delegated: Path) -> None:
    """The root that a container sees is a group like any other: it cannot hold both."""
    holder = subprocess.Popen(["sleep", "100"])
    try:
        base.write(f"{delegated}/cgroup.procs", holder.pid)
        cid, bundle = prepare(ours, "cat", "/proc/self/cgroup", "/sys/fs/cgroup/hugetlb.2MB.max")
        lines = OnV2(ours, str(delegated))("run", "--bundle", bundle, cid).splitlines()
        assert lines[-2:] == ["0::/", str(4 << 20)]
        leaf = delegated / "swarmlite.processes"
        assert base.read_pids(str(leaf / "cgroup.procs")) == [holder.pid]
        assert "hugetlb" in base.read(f"{delegated}/cgroup.subtree_control")
    finally:
        holder.kill()
        holder.wait()
