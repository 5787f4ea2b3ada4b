"""Create, start, kill, delete; exit codes; what survives whom; nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rt_harness import PARENT, Containers, connect, start_supervisor

from swarmlite import errors
from swarmlite.runtime.cgroups.detect import Host
from swarmlite.runtime.client import LogFile, Supervisor
from swarmlite.runtime.supervisor.container import start_time_ticks


async def test_a_container_goes_through_the_states_of_oci(containers: Containers) -> None:
    sv = containers.supervisor
    cid = await containers.create("sleep", "100")
    state = await sv.state(cid)
    assert state.status == "created" and state.pid > 0
    assert b"sleep" not in Path(f"/proc/{state.pid}/cmdline").read_bytes()
    running = await sv.start(cid)
    assert running.status == "running" and running.pid == state.pid
    assert Path(f"/proc/{state.pid}/cmdline").read_bytes() == b"sleep\x00100\x00"
    assert start_time_ticks(state.pid) == running.start_time_ticks
    with pytest.raises(errors.FailedPrecondition, match="is running"):
        await sv.delete(cid)
    await sv.kill(cid, signal.SIGKILL)
    stopped = await sv.wait(cid)
    assert (stopped.status, stopped.exit_code) == ("stopped", 137)
    with pytest.raises(errors.NotFound):
        await sv.kill(cid, signal.SIGTERM)
    await sv.delete(cid)
    with pytest.raises(errors.NotFound):
        await sv.state(cid)


async def test_exit_codes_are_the_programs_or_128_and_the_signal(containers: Containers) -> None:
    state, output = await containers.run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (state.exit_code, output) == (7, "out\nerr\n")
    # pid 1 ignores what it does not handle, so that the stop signal must be trapped
    waits = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    cid = await containers.start("sh", "-c", waits)
    while "ready" not in await containers.output(cid):
        await asyncio.sleep(0.01)
    await containers.supervisor.kill(cid, signal.SIGTERM)
    assert (await containers.supervisor.wait(cid)).exit_code == 9


async def test_a_program_that_is_missing_fails_the_start_in_dockers_words(
    containers: Containers,
) -> None:
    for program, code, words in (
        ("nosuch", 127, r'exec: "nosuch": executable file not found in \$PATH'),
        ("/no/such", 127, r'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 126, r'exec: "/etc/passwd": permission denied'),
    ):
        cid = await containers.create(program)
        with pytest.raises(errors.FailedPrecondition, match=words):
            await containers.supervisor.start(cid)
        state = await containers.supervisor.wait(cid)
        assert (state.status, state.exit_code) == ("stopped", code)
        assert state.error


async def test_a_create_that_is_a_start_too_waits_for_no_word(containers: Containers) -> None:
    sv = containers.supervisor
    cid, bundle = containers.bundle("sh", "-c", "echo out; exec sleep 100")
    containers.ids.append(cid)
    state = await sv.create(cid, bundle, log=LogFile(bundle / "log"), start=True)
    assert (state.status, state.started_at > 0) == ("running", True)
    with pytest.raises(errors.FailedPrecondition, match="is running, not created"):
        await sv.start(cid)
    await sv.delete(cid, force=True)

    cid, bundle = containers.bundle("nosuch")
    containers.ids.append(cid)
    with pytest.raises(errors.FailedPrecondition, match=r'exec: "nosuch": executable file not'):
        await sv.create(cid, bundle, start=True)
    stopped = await sv.wait(cid)
    assert (stopped.status, stopped.exit_code) == ("stopped", 127)


def wrong_bind(spec: dict) -> None:  # type: ignore[type-arg]
    spec["mounts"].append(
        {"type": "bind", "source": "/nosuch", "destination": "/x", "options": ["rbind"]}
    )


@pytest.mark.parametrize("start", [False, True])
async def test_a_create_that_fails_names_its_step_and_leaves_nothing(
    containers: Containers, start: bool
) -> None:
    cid, bundle = containers.bundle("true", change=wrong_bind)
    with pytest.raises(errors.FailedPrecondition, match="mount /x"):
        await containers.supervisor.create(cid, bundle, start=start)
    assert not await traces(cid)
    with pytest.raises(errors.InvalidSpec, match=r"process.args"):
        await containers.create(change=lambda spec: None)
    with pytest.raises(errors.NotFound):
        await containers.supervisor.create("nobundle", Path("/nosuch"))


async def traces(container_id: str) -> list[str]:
    """Whatever of a container is left: cgroups, mounts, state."""
    host = Host()
    left = [r for r in host.roots.values() if Path(f"{r}{PARENT}/{container_id}").exists()]
    left += [m for m in Path("/proc/self/mountinfo").read_text().splitlines() if container_id in m]
    return left


async def test_delete_leaves_no_cgroup_mount_process_or_state(
    containers: Containers, supervisor_dir: Path
) -> None:
    cid = await containers.start("sh", "-c", "sleep 100 & sleep 100")
    state = await containers.supervisor.state(cid)
    assert await traces(cid)
    await containers.supervisor.delete(cid, force=True)
    assert not await traces(cid)
    assert not Path(f"/proc/{state.pid}").exists()
    assert not list((supervisor_dir / "state").glob(f"{cid}*"))


async def test_containers_outlive_a_client_that_is_killed(
    containers: Containers, supervisor_dir: Path
) -> None:
    cid, bundle = containers.bundle("sleep", "100")
    containers.ids.append(cid)
    code = (
        "import asyncio, os, sys\nfrom pathlib import Path\n"
        "from swarmlite.runtime.client import LogFile, Supervisor\n"
        "async def main():\n"
        "    sv = await Supervisor.connect(Path(sys.argv[1]))\n"
        "    await sv.create(sys.argv[2], Path(sys.argv[3])); await sv.start(sys.argv[2])\n"
        "    os.kill(os.getpid(), 9)\nasyncio.run(main())\n"
    )
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code, supervisor_dir / "s.sock", cid, bundle],
        check=False,
    )
    assert killed.returncode == -9
    state = await containers.supervisor.state(cid)
    assert state.status == "running"
    assert start_time_ticks(state.pid) == state.start_time_ticks


async def test_exits_come_to_every_subscriber_and_the_stopped_ones_first(
    containers: Containers,
) -> None:
    early, _ = await containers.run("true")
    exits = containers.supervisor.exits()
    seen = {(await asyncio.wait_for(anext(exits), 5)).id}
    while early.id not in seen:
        seen.add((await asyncio.wait_for(anext(exits), 5)).id)
    late = await containers.start("sh", "-c", "exit 4")
    while True:
        state = await asyncio.wait_for(anext(exits), 5)
        if state.id == late:
            break
    assert state.exit_code == 4
    await exits.aclose()  # type: ignore[attr-defined]


async def test_descriptors_are_kept_for_whoever_comes_next(
    containers: Containers, supervisor_dir: Path
) -> None:
    reader, writer = os.pipe()
    await containers.supervisor.keep_fds("dns", [writer, reader])
    os.close(writer)
    os.close(reader)
    again = await connect(supervisor_dir / "s.sock")
    kept = await again.kept_fds("dns")
    os.write(kept[0], b"hello")
    assert os.read(kept[1], 10) == b"hello"
    for fd in kept:
        os.close(fd)
    await again.drop_fds("dns")
    with pytest.raises(errors.NotFound):
        await again.kept_fds("dns")
    await again.close()


async def test_descriptors_without_room_for_them_are_an_error(containers: Containers) -> None:
    """The kernel drops them without a word, one or all."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    await containers.supervisor.keep_fds("dns", [0, 1, 2])
    filling = [os.dup(0)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (filling[0] + 8, before[1]))
        with contextlib.suppress(OSError):  # bounded by the limit
            while True:
                filling.append(os.dup(0))
        os.close(filling.pop())  # room for one of three
        with pytest.raises(
            errors.ResourceExhausted, match="3 descriptors were handed over, and no room"
        ):
            await containers.supervisor.kept_fds("dns")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in filling:
            os.close(fd)
    for fd in await containers.supervisor.kept_fds("dns"):
        os.close(fd)


async def test_a_hundred_containers_at_once(containers: Containers) -> None:
    async def one(number: int) -> None:
        state, output = await containers.run("echo", str(number))
        assert (state.exit_code, output) == (0, f"{number}\n")

    await asyncio.gather(*(one(number) for number in range(100)))
    await asyncio.gather(*(containers.supervisor.delete(cid) for cid in containers.ids))
    for cid in containers.ids:
        assert not await traces(cid)
    containers.ids.clear()


async def test_exec_joins_and_reports(containers: Containers) -> None:
    cid = await containers.start("sleep", "100")
    code, output = await containers.exec(cid, "sh", "-c", "hostname; cat /proc/self/cgroup; exit 5")
    assert code == 5
    assert output.startswith(cid)
    assert PARENT not in output  # the cgroup namespace is joined too
    assert await containers.exec(cid, "id", "-u", user={"uid": 999, "gid": 998}) == (0, "999\n")
    with pytest.raises(errors.FailedPrecondition, match="not found in"):
        await containers.exec(cid, "nosuch")
    pids = [int(p) for p in (await containers.exec(cid, "ls", "/proc"))[1].split() if p.isdigit()]
    assert min(pids) == 1 and len(pids) <= 2


async def test_a_paused_container_stands_still_and_can_be_killed(containers: Containers) -> None:
    cid = await containers.start("sh", "-c", "while :; do echo x; sleep 0.02; done")
    while not await containers.output(cid):
        await asyncio.sleep(0.01)
    await containers.supervisor.pause(cid)
    await asyncio.sleep(0.1)  # what was in the pipe may still come
    before = await containers.output(cid)
    await asyncio.sleep(0.2)
    assert await containers.output(cid) == before
    await containers.supervisor.kill(cid, signal.SIGKILL)
    assert (await asyncio.wait_for(containers.supervisor.wait(cid), 5)).exit_code == 137


async def test_a_second_supervisor_is_refused_and_a_stale_socket_replaced(
    supervisor_dir: Path, tmp_path: Path
) -> None:
    second = start_supervisor(supervisor_dir / "s.sock", tmp_path / "state")
    assert second.wait(10) == 1
    (tmp_path / "stale.sock").touch()
    process = start_supervisor(tmp_path / "stale.sock", tmp_path / "state")
    client = await connect(tmp_path / "stale.sock")
    await client.shutdown()
    await client.close()
    assert process.wait(10) == 0


async def test_after_a_killed_supervisor_its_containers_are_stopped_with_a_reason(
    tmp_path: Path, busybox_root: Path
) -> None:
    socket, state_dir = tmp_path / "s.sock", tmp_path / "state"
    process = start_supervisor(socket, state_dir)
    client: Supervisor | None = await connect(socket)
    assert client is not None
    made = Containers(client, tmp_path, busybox_root)
    ended, _ = await made.run("sh", "-c", "exit 6")
    cid = await made.start("sleep", "1000")
    pid = (await client.state(cid)).pid
    process.kill()
    process.wait()
    with contextlib.suppress(errors.Unavailable):
        await client.wait(cid)
    await client.close()
    process = start_supervisor(socket, state_dir)
    try:
        client = await connect(socket)
        assert (await client.state(ended.id)).exit_code == 6
        state = await client.state(cid)
        assert (state.status, state.exit_code) == ("stopped", 137)
        assert "supervisor ended" in state.error
        await client.delete(cid)
        with contextlib.suppress(FileNotFoundError):  # else a zombie that its new parent must reap
            assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        assert not await traces(cid)
        await client.shutdown()
        await client.close()
    finally:
        process.kill()
        process.wait()


async def test_groups_of_creates_that_a_killed_supervisor_was_at_are_known_to_the_next(
    tmp_path: Path, busybox_root: Path
) -> None:
    """A group is made long before its process is ready; nothing but the record names it."""
    socket, state_dir = tmp_path / "s.sock", tmp_path / "state"
    process = start_supervisor(socket, state_dir)
    client = await connect(socket)
    made = Containers(client, tmp_path, busybox_root)
    creates = [asyncio.ensure_future(made.create("sleep", "1000")) for _ in range(12)]
    try:
        await asyncio.wait(creates, return_when=asyncio.FIRST_COMPLETED)
        process.kill()
        process.wait()
        await asyncio.gather(*creates, return_exceptions=True)
        await client.close()
        assert any([await traces(name) for name in made.ids])
        process = start_supervisor(socket, state_dir)
        client = await connect(socket)
        for state in await client.list():
            await client.delete(state.id, force=True)
        assert [left for name in made.ids for left in await traces(name)] == []
        await client.shutdown()
        await client.close()
    finally:
        process.kill()
        process.wait()


async def test_the_supervisor_stays_small(supervisor_dir: Path, containers: Containers) -> None:
    await containers.start("sleep", "10")
    pid = int((supervisor_dir / "pid").read_text())
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert int(fields["VmRSS"].split()[0]) < 20_000  # kB, half of it shared with other Pythons


async def test_a_network_namespace_is_joined_by_its_path(
    containers: Containers, tmp_path: Path
) -> None:
    sandbox = tmp_path / "netns"
    sandbox.touch()
    made = await asyncio.to_thread(
        subprocess.run, ["unshare", f"--net={sandbox}", "true"], check=False
    )
    if made.returncode:
        pytest.skip("unshare cannot keep a network namespace here")

    def change(spec: dict[str, Any]) -> None:
        for namespace in spec["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = str(sandbox)

    try:
        inode = sandbox.stat().st_ino
        cid = await containers.start("sleep", "10", change=change)
        assert Path(f"/proc/{(await containers.supervisor.state(cid)).pid}/ns/net").readlink() == (
            Path(f"net:[{inode}]")
        )
        assert (await containers.exec(cid, "readlink", "/proc/self/ns/net"))[
            1
        ] == f"net:[{inode}]\n"
        await containers.supervisor.delete(cid, force=True)
        assert sandbox.stat().st_ino == inode
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", str(sandbox)], check=False)


async def test_a_client_that_is_cancelled_leaves_the_connection_whole(
    containers: Containers,
) -> None:
    cid = await containers.start("sleep", "100")
    waiting = asyncio.create_task(containers.supervisor.wait(cid))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await containers.supervisor.kill(cid, signal.SIGKILL, everything=True)
    assert (await containers.supervisor.wait(cid)).exit_code == 137
    readable = os.pipe()
    keeping = asyncio.create_task(containers.supervisor.keep_fds("mid-air", list(readable)))
    await asyncio.sleep(0)
    keeping.cancel()
    for fd in readable:
        os.close(fd)
    assert (await containers.supervisor.state(cid)).status == "stopped"
    await containers.supervisor.drop_fds("mid-air")
