"""What a container, or an image, tries against the host; each attack is a known one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from rt_harness import Containers

from swarmlite import errors
from swarmlite.runtime.client import State


async def test_masked_and_read_only_paths(containers: Containers) -> None:
    _, output = await containers.run(
        "sh", "-c",
        "cat /proc/timer_list /proc/keys /proc/interrupts | wc -c; ls /sys/firmware | wc -l;"
        "echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger; mkdir /sys/x;"
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    )  # fmt: skip
    lines = output.splitlines()
    # two streams have no common order
    assert [line for line in lines if line.isdigit()] == ["0", "0", "0"]
    assert sum("Read-only file system" in line for line in lines) >= 2


async def test_devices_are_refused_though_mknod_is_allowed(containers: Containers) -> None:
    _, output = await containers.run(
        "sh", "-c",
        "mknod /tmp/disk b 254 0 && echo made; dd if=/tmp/disk of=/dev/null count=1 2>&1;"
        "mknod /tmp/mem c 1 1; dd if=/tmp/mem of=/dev/null count=1 2>&1;"
        "dd if=/dev/zero of=/dev/null count=1 2>&1 && echo fine",
    )  # fmt: skip
    assert output.startswith("made\n") and output.endswith("fine\n")
    assert output.count("Operation not permitted") == 2


async def test_only_three_descriptors_are_open(containers: Containers) -> None:
    _, output = await containers.run("ls", "/proc/self/fd")
    assert output.split() == ["0", "1", "2", "3"]  # 3: the listing itself
    cid = await containers.start("sleep", "10")
    assert (await containers.exec(cid, "ls", "/proc/self/fd"))[1].split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("cwd", [f"/proc/self/fd/{fd}" for fd in range(3, 10)])
async def test_a_working_directory_outside_of_the_root_is_refused(
    containers: Containers, cwd: str
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["process"]["cwd"] = cwd

    with pytest.raises(errors.FailedPrecondition, match="working directory"):
        await containers.create("pwd", change=change)


async def test_a_missing_working_directory_is_made(containers: Containers) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["process"]["cwd"] = "/srv/new/deep"

    assert (await containers.run("pwd", change=change))[1] == "/srv/new/deep\n"


async def test_an_exec_makes_no_working_directory(containers: Containers) -> None:
    cid = await containers.start("sleep", "10")
    with pytest.raises(errors.SwarmliteError, match=r"/srv/new.*[Nn]o such file or directory"):
        await containers.exec(cid, "true", cwd="/srv/new")
    assert (await containers.exec(cid, "ls", "-d", "/srv/new"))[0] != 0


@pytest.mark.parametrize("name", ["proc", "dev", "sys"])
async def test_an_image_whose_system_directories_are_links_is_refused(
    containers: Containers, tmp_path: Path, name: str
) -> None:
    lower = tmp_path / "evil"
    (lower / "tmp/elsewhere").mkdir(parents=True)
    (lower / name).symlink_to("/tmp/elsewhere")
    with pytest.raises(errors.FailedPrecondition, match=f"mount /{name}.*symbolic link"):
        await containers.create("true", lower=lower)


async def test_links_in_the_image_lead_mounts_nowhere_else(
    containers: Containers, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    lower = tmp_path / "evil"
    lower.mkdir()
    (lower / "data").symlink_to(f"/../../../..{victim}")
    (lower / "deep").symlink_to("../../../../../../etc")
    source = tmp_path / "source"
    source.mkdir()
    (source / "secret").write_text("inside")

    def change(spec: dict[str, Any]) -> None:
        for place in ("/data/sub", "/deep/sub"):
            spec["mounts"].append(
                {"type": "bind", "source": str(source), "destination": place,
                 "options": ["rbind", "ro"]}
            )  # fmt: skip

    _, output = await containers.run(
        "sh", "-c", "cat /data/sub/secret /etc/sub/secret; echo x > /etc/sub/secret",
        change=change, lower=lower,
    )  # fmt: skip
    assert "insideinside" in output and "Read-only" in output
    assert list(victim.iterdir()) == []
    assert not Path("/etc/sub").exists()


async def test_the_hosts_python_cannot_be_overwritten_from_a_container(
    containers: Containers, supervisor_dir: Path
) -> None:
    """CVE-2019-5736: a container's program that is /proc/self/exe, and an exec into it."""
    pid = (supervisor_dir / "pid").read_text()
    with pytest.raises(OSError):
        os.close(os.open(f"/proc/{pid}/exe", os.O_WRONLY))  # the host's own root may not either
    cid = await containers.start(
        "sh", "-c",
        "while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in"
        " *python*) echo FOUND $p; echo x > $p/exe && echo WRITTEN;; esac; done; done",
    )  # fmt: skip
    for _ in range(10):
        await containers.exec(cid, "true")
    output = await containers.output(cid)
    assert "WRITTEN" not in output and "FOUND" not in output


async def test_the_init_at_pid_1_cannot_be_opened(containers: Containers) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["annotations"]["swarmlite.init"] = "true"

    state, output = await containers.run(
        "sh", "-c", "echo $$; readlink /proc/1/exe; ls /proc/1/fd; ls /proc/1/root; exit 3",
        change=change,
    )  # fmt: skip
    assert state.exit_code == 3
    assert output.splitlines()[0] != "1" and "python" not in output


async def test_the_init_reaps_zombies_by_the_hundred_and_forwards_signals(
    containers: Containers,
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["annotations"]["swarmlite.init"] = "true"

    cid = await containers.start(
        "sh", "-c",
        "trap 'exit 11' TERM; i=0; while [ $i -lt 200 ]; do (true & ) ; i=$((i+1)); done;"
        "while :; do sleep 0.05; done",
        change=change,
    )  # fmt: skip
    for _ in range(100):
        await asyncio.sleep(0.1)
        _, output = await containers.exec(cid, "sh", "-c", "cat /proc/[0-9]*/stat; true")
        zombies = sum(" Z " in line for line in output.splitlines())
        if zombies == 0 and "sleep" in output:
            break
    assert zombies == 0
    await containers.supervisor.kill(cid, 15)
    assert (await containers.supervisor.wait(cid)).exit_code == 11


async def test_a_fork_bomb_meets_its_own_limit_alone(containers: Containers) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["resources"]["pids"] = {"limit": 20}

    cid = await containers.start("sh", "-c", "(b() { b | b & }; b) & exec sleep 30", change=change)
    await asyncio.sleep(0.5)
    assert (await containers.supervisor.stats(cid))["pids"] <= 20
    state, output = await containers.run("echo", "alive")
    assert (state.exit_code, output) == (0, "alive\n")
    await containers.supervisor.delete(cid, force=True)


async def test_a_memory_hog_is_killed_and_said_to_be(containers: Containers) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}

    state: State
    state, _ = await containers.run(
        "sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=64M count=1", change=change
    )
    assert (state.exit_code, state.oom_killed) == (137, True)
    calm, _ = await containers.run("true", change=change)
    assert (calm.exit_code, calm.oom_killed) == (0, False)


async def test_users_are_looked_up_in_the_container(containers: Containers) -> None:
    async def who(username: str, **user: Any) -> str:
        def change(spec: dict[str, Any]) -> None:
            spec["process"]["user"] = {"username": username, **user}

        cid = await containers.create("sh", "-c", "id -u; id -g; id -G; echo $HOME", change=change)
        await containers.supervisor.start(cid)
        await containers.supervisor.wait(cid)
        return " ".join((await containers.output(cid)).split())

    assert await who("redis") == "999 998 998 29 /data"
    assert await who("redis:video") == "999 44 44 /data"
    assert await who("999") == "999 998 998 29 /data"
    assert await who("12345") == "12345 0 0 /"
    assert await who("4242") == "77 77 77 /"  # a name of digits
    assert await who("1000:1001", additionalGroups=["audio"]) == "1000 1001 1001 29 /"
    for wrong in ("nobodyhere", "4294967296", "99999999999999999999", "redis:nogroup"):
        with pytest.raises(errors.FailedPrecondition, match=r"unable to find |ids must be "):
            await who(wrong)


async def test_a_hostile_passwd_file_is_an_error_and_no_hang(
    containers: Containers, tmp_path: Path
) -> None:
    lower = tmp_path / "evil"
    (lower / "etc").mkdir(parents=True)
    os.mkfifo(lower / "etc/passwd")

    def change(spec: dict[str, Any]) -> None:
        spec["process"]["user"] = {"username": "redis"}

    with pytest.raises(errors.FailedPrecondition, match="is not a file"):
        await asyncio.wait_for(containers.create("true", lower=lower, change=change), 5)


async def test_the_environment_reaches_the_program_and_nothing_of_ours(
    containers: Containers,
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["process"]["env"] = [
            "PATH=/bin", "PYTHONPATH=/evil", "LD_PRELOAD=/evil.so", "PYTHONHOME=/evil",
        ]  # fmt: skip

    _, output = await containers.run("env", change=change)
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert names <= {"PATH", "PYTHONPATH", "LD_PRELOAD", "PYTHONHOME", "HOME"}
    cid = await containers.start("sleep", "10", change=change)
    assert (await containers.exec(cid, "true", env=["PYTHONHOME=/evil", "PATH=/bin"]))[0] == 0


async def test_a_log_flood_rotates_and_starves_nobody(
    containers: Containers, tmp_path: Path
) -> None:
    cid = await containers.start(
        "sh", "-c", "while :; do echo flood; done", log={"max_bytes": 100_000, "max_files": 3}
    )
    noisy = await containers.start(
        "yes", "a line that is a good deal longer than the others are",
        log={"max_bytes": 200_000, "max_files": 2},
    )  # fmt: skip
    for _ in range(5):
        state, output = await containers.run("echo", "quiet")
        assert (state.exit_code, output) == (0, "quiet\n")
    while not (tmp_path / noisy / "log.1").exists():
        await asyncio.sleep(0.02)
    for one in (cid, noisy):
        await containers.supervisor.delete(one, force=True)
    sizes = {p.name: p.stat().st_size for p in (tmp_path / noisy).glob("log*")}
    assert set(sizes) == {"log", "log.1"}
    assert all(size < 300_000 for size in sizes.values())


async def test_a_read_only_root_and_a_tmpfs_on_it(containers: Containers) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["root"]["readonly"] = True
        spec["mounts"].append(
            {"type": "tmpfs", "source": "tmpfs", "destination": "/run",
             "options": ["nosuid", "nodev", "size=64k"]}
        )  # fmt: skip

    _, output = await containers.run("sh", "-c", "echo x > /x; echo y > /run/y; cat /run/y",
                                     change=change)  # fmt: skip
    assert "Read-only file system" in output and output.endswith("y\n")


async def test_what_a_host_cannot_give_is_said_in_a_line(containers: Containers) -> None:
    if (await containers.supervisor.info())["can_raise_limits"]:
        pytest.skip("this host's root has CAP_SYS_RESOURCE")

    def limits(spec: dict[str, Any]) -> None:
        spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1 << 20, "hard": 1 << 20}]

    with pytest.raises(errors.FailedPrecondition, match=r"RLIMIT_NOFILE.*CAP_SYS_RESOURCE"):
        await containers.create("true", change=limits)


async def test_a_terminal_is_the_containers_own(containers: Containers) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["process"]["terminal"] = True

    state, output = await containers.run("sh", "-c", "tty; ls -l /dev/console; stty size",
                                         change=change)  # fmt: skip
    assert state.exit_code == 0
    assert "/dev/pts/0" in output


async def test_links_swapped_while_mounts_are_made_lead_nowhere(
    containers: Containers, tmp_path: Path
) -> None:
    """CVE-2021-30465: a volume's link changes under the feet of another container's start."""
    volume = tmp_path / "volume"
    volume.mkdir()

    def shared(spec: dict[str, Any]) -> None:
        spec["mounts"].append(
            {"type": "bind", "source": str(volume), "destination": "/vol", "options": ["rbind"]}
        )

    def with_mount(spec: dict[str, Any]) -> None:
        shared(spec)
        spec["mounts"].append(
            {"type": "tmpfs", "source": "tmpfs", "destination": "/vol/swap/in", "options": []}
        )

    before = Path("/proc/self/mountinfo").read_text()
    await containers.start(
        "sh", "-c",
        f"while :; do mkdir -p /vol/swap; rm -rf /vol/swap; ln -s /../../..{tmp_path} /vol/swap;"
        "rm -f /vol/swap; done",
        change=shared,
    )  # fmt: skip
    for _ in range(15):
        try:
            await containers.run("true", change=with_mount)
        except errors.FailedPrecondition as error:
            assert "mount /vol" in str(error)
    assert not (tmp_path / "in").exists()
    assert Path("/proc/self/mountinfo").read_text().count(str(tmp_path)) == before.count(
        str(tmp_path)
    )


async def test_the_release_agent_and_new_mounts_are_out_of_reach(containers: Containers) -> None:
    """CVE-2022-0492."""
    _, output = await containers.run(
        "sh", "-c",
        "mkdir /tmp/c; mount -t cgroup -o memory cgroup /tmp/c && echo MOUNTED;"
        "unshare -UrC true && echo UNSHARED;"
        "for f in /sys/fs/cgroup/*/release_agent; do echo /x > $f && echo WRITTEN; done;"
        "mount -o remount,rw /sys/fs/cgroup && echo REMOUNTED; cat /proc/1/status | head -1",
    )  # fmt: skip
    for word in ("MOUNTED", "UNSHARED", "WRITTEN"):
        assert word not in output


async def test_logs_are_compressed_when_asked(containers: Containers, tmp_path: Path) -> None:
    cid = await containers.start(
        "sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; sleep 0.5",
        log={"max_bytes": 20_000, "max_files": 2, "compress": True},
    )  # fmt: skip
    await containers.supervisor.wait(cid)
    # The last file too, which came while an earlier one was still being compressed.
    while {p.name for p in (tmp_path / cid).glob("log*")} != {"log", "log.1.gz"}:
        await asyncio.sleep(0.05)
    assert (await containers.output(cid)).endswith("line 2999\n")
