"""Namespaces of every kind: new ones, those that others have made, and the host's own."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from rt_harness import Containers

from swarmlite.kernel import mounting
from swarmlite.runtime import idmap
from swarmlite.runtime.oci.defaults import use_user_namespace

BASE, SIZE = 1_000_000, 65536


def add_users(spec: dict[str, Any]) -> None:
    use_user_namespace(spec, BASE, SIZE)


def replace(spec: dict[str, Any], kind: str, path: str | None) -> None:
    """A namespace joined by its path, or with None the host's own."""
    kinds = [n for n in spec["linux"]["namespaces"] if n["type"] != kind]
    spec["linux"]["namespaces"] = kinds + ([{"type": kind, "path": path}] if path else [])


def own(link: str) -> str:
    return str(Path(f"/proc/self/ns/{link}").readlink())


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def needs_idmap(folder: Path) -> None:
    reason = idmap.why_no_overlay(str(folder))
    if reason:
        pytest.skip(reason)


async def test_a_user_namespace_maps_its_root_to_nobody_of_the_host(
    containers: Containers, tmp_path: Path
) -> None:
    """Root inside, a large number outside, and all the usual mounts are there."""
    needs_idmap(tmp_path)

    script = (
        "cat /proc/self/uid_map; id -u; touch /data/made; stat -c %u /data/made /bin;"
        "echo x > /dev/null; ls -d /sys/class/net/lo; stat -c %t:%T /dev/null;"
        "readlink /proc/self/ns/user"
    )
    state, output = await containers.run("sh", "-c", script, change=add_users)
    assert state.exit_code == 0, output
    lines = output.splitlines()
    assert lines[0].split() == ["0", str(BASE), str(SIZE)]
    assert lines[1:6] == ["0", "0", "0", "/sys/class/net/lo", "1:3"]
    assert lines[6] != own("user")
    made = containers.directory / containers.ids[-1] / "upper/data/made"
    assert made.stat().st_uid == BASE


async def test_exec_joins_the_user_namespace(containers: Containers, tmp_path: Path) -> None:
    """As root of it, with its capabilities and no more."""
    needs_idmap(tmp_path)

    cid = await containers.start("sleep", "100", change=add_users)
    state = await containers.supervisor.state(cid)
    status = Path(f"/proc/{state.pid}/status").read_text()
    assert f"Uid:\t{BASE}" in status
    code, output = await containers.exec(
        cid, "sh", "-c", "id -u; touch /data/x; stat -c %u /data/x"
    )
    assert (code, output) == (0, "0\n0\n")
    code, output = await containers.exec(cid, "stat", "-c", "%u", "/proc/1")
    assert (code, output) == (0, "0\n")


async def test_a_joined_pid_namespace_shows_the_other_containers_processes(
    containers: Containers,
) -> None:
    """Its own end leaves the other running; nothing of the host shows in its /proc."""
    first = await containers.start("sleep", "100")
    pid = (await containers.supervisor.state(first)).pid

    def change(spec: dict[str, Any]) -> None:
        replace(spec, "pid", f"/proc/{pid}/ns/pid")
        replace(spec, "ipc", f"/proc/{pid}/ns/ipc")

    script = "cat /proc/1/cmdline | tr '\\0' ' '; ls -d /proc/[0-9]* | wc -l; exit 7"
    state, output = await containers.run("sh", "-c", script, change=change)
    assert state.exit_code == 7, output
    lines = output.splitlines()
    assert lines[0].startswith("sleep 100")
    assert int(lines[0].split()[-1]) <= 5
    assert (await containers.supervisor.state(first)).status == "running"
    # and an exec into one whose first process is not pid 1
    second = await containers.start("sleep", "101", change=change)
    assert await containers.exec(second, "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline") == (
        0, "sleep 100 ",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "network", "cgroup"])
async def test_a_namespace_that_the_spec_does_not_name_is_the_hosts(
    containers: Containers, kind: str
) -> None:
    """As `--pid host` and the like ask for."""

    def change(spec: dict[str, Any]) -> None:
        replace(spec, kind, None)
        spec["linux"]["sysctl"] = {}

    link = {"network": "net"}.get(kind, kind)
    state, output = await containers.run("readlink", f"/proc/self/ns/{link}", change=change)
    assert state.exit_code == 0, output
    assert output.strip() == own(link)
    assert bool(state.warnings) == (kind == "uts")  # its host name cannot be set


async def test_clocks_of_a_time_namespace_are_offset(containers: Containers) -> None:
    """The container has been up for longer than its host."""

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["namespaces"].append({"type": "time"})
        spec["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000, "nanosecs": 0}}

    state, output = await containers.run("cat", "/proc/uptime", change=change)
    assert state.exit_code == 0, output
    assert float(output.split()[0]) - 1_000_000 >= time.clock_gettime(time.CLOCK_BOOTTIME) - 60


async def test_a_mount_namespace_of_others_is_entered_as_it_is(containers: Containers) -> None:
    """Its root is the container's then, and nothing of the spec is mounted."""
    first = await containers.start("sleep", "100")
    await containers.exec(first, "touch", "/data/theirs")
    pid = (await containers.supervisor.state(first)).pid

    def change(spec: dict[str, Any]) -> None:
        replace(spec, "mount", f"/proc/{pid}/ns/mnt")

    state, output = await containers.run("ls", "/data", change=change)
    assert (state.exit_code, output) == (0, "theirs\n")


async def test_propagation_goes_the_ways_that_are_asked_for(
    containers: Containers, tmp_path: Path
) -> None:
    """shared in both, slave from the host to the container, private in none."""
    shared = tmp_path / "shared"
    shared.mkdir()
    mount("-t", "tmpfs", "tmpfs", shared)
    try:
        mount("--make-shared", shared)
        for name in ("in", "out"):
            (shared / name).mkdir()

        def change(spec: dict[str, Any]) -> None:
            for kind in ("rshared", "rslave", "rprivate"):
                spec["mounts"].append(
                    {"type": "bind", "source": str(shared), "destination": f"/{kind}",
                     "options": ["rbind", kind]}
                )  # fmt: skip
            for names in spec["process"]["capabilities"].values():
                names.append("CAP_SYS_ADMIN")
            spec["annotations"]["swarmlite.seccomp"] = "unconfined"

        cid = await containers.start("sleep", "100", change=change)
        mount("-t", "tmpfs", "tmpfs", shared / "in")
        (shared / "in/file").touch()
        seen = [(await containers.exec(cid, "ls", f"/{k}/in"))[1] for k in
                ("rshared", "rslave", "rprivate")]  # fmt: skip
        assert seen == ["file\n", "file\n", ""]
        code, output = await containers.exec(cid, "mount", "-t", "tmpfs", "x", "/rshared/out")
        assert code == 0, output
        assert (shared / "out").is_mount()
    finally:
        for cid in containers.ids:
            await containers.supervisor.delete(cid, force=True)
        mounting.umount(os.fsencode(shared), mounting.MNT_DETACH)
