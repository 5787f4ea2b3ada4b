"""The forking process and the children that it keeps ready for the next start."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rt_harness import Containers, connect, start_supervisor

from swarmlite.kernel import mounting
from swarmlite.kernel.namespaces import CLONE_NEWIPC, CLONE_NEWPID
from swarmlite.runtime.seccomp.cache import Cache
from swarmlite.runtime.supervisor import forker, jobs, kits, parking
from swarmlite.runtime.supervisor.loop import Loop
from swarmlite.runtime.supervisor.plan import HostPowers, Plan

FLAGS = CLONE_NEWPID | CLONE_NEWIPC


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_parked(pid: int) -> bool:
    """Whether it is pid 1 of a namespace, and still what it was forked from."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return status.split("NSpid:")[1].splitlines()[0].split()[-1] == "1" and (
            "python" in Path(f"/proc/{pid}/cmdline").read_text()
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


class Own:
    """A supervisor of one test's own."""

    def __init__(self, process: subprocess.Popen[bytes], containers: Containers) -> None:
        self.process, self.containers = process, containers

    def parked(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if is_parked(pid)]

    def forker(self) -> int:
        return children(self.process.pid)[0]

    async def has_parked(self) -> int:
        """Two starts one after the other, and then there is one for the third."""
        for _ in range(2):
            assert (await self.containers.run("true"))[0].exit_code == 0
        await until(lambda: bool(self.parked()))
        return self.parked()[0]


@pytest_asyncio.fixture
async def own(tmp_path: Path, busybox_root: Path) -> AsyncIterator[Own]:
    process = start_supervisor(tmp_path / "s.sock", tmp_path / "state")
    try:
        client = await connect(tmp_path / "s.sock")
        yield Own(process, Containers(client, tmp_path, busybox_root))
        await client.close()
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
    finally:
        process.kill()
        process.wait()


async def test_a_start_alone_keeps_nothing_ready_and_the_next_has_a_child_waiting(own: Own) -> None:
    forking = own.forker()
    assert (await own.containers.run("true"))[0].exit_code == 0
    assert children(own.process.pid) == [forking]
    waiting = await own.has_parked()
    cid = await own.containers.start("sleep", "100")
    assert (await own.containers.supervisor.state(cid)).pid == waiting
    await own.containers.supervisor.delete(cid, force=True)
    assert len(own.parked()) <= parking.MAX_PARKED


async def test_a_child_that_waits_makes_the_next_exec_and_none_is_needed(own: Own) -> None:
    cid = await own.containers.start("sleep", "100")
    known = {own.forker(), (await own.containers.supervisor.state(cid)).pid}

    async def run_echo() -> None:
        reader, writer = os.pipe()
        exec_ = await own.containers.supervisor.exec(
            cid, {"args": ["echo", "here"], "cwd": "/"}, stdin=0, stdout=writer, stderr=writer
        )
        os.close(writer)
        assert (await exec_.wait(), os.read(reader, 64)) == (0, b"here\n")
        os.close(reader)

    def waiting() -> set[int]:
        return set(children(own.process.pid)) - known

    for _ in range(3):
        await run_echo()
        await until(lambda: len(waiting()) == 1)
    before = waiting()
    await run_echo()
    await until(lambda: len(waiting()) == 1 and waiting() != before)
    for pid in (*waiting(), own.forker()):
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: pid not in children(own.process.pid))  # type: ignore[misc]
        await run_echo()
    await own.containers.supervisor.delete(cid, force=True)


async def test_what_is_mounted_after_a_child_was_parked_is_seen_by_its_container(
    own: Own, tmp_path: Path
) -> None:
    waiting = await own.has_parked()
    place = tmp_path / "late"
    place.mkdir()
    mounting.mount(b"late", bytes(place), b"tmpfs", 0)
    try:
        mounting.mount(None, bytes(place), None, mounting.MS_PRIVATE)
        (place / "file").write_text("of the mount")

        def bind(spec: dict[str, Any]) -> None:
            spec["mounts"].append(
                {"type": "bind", "source": str(place), "destination": "/late", "options": ["bind"]}
            )

        cid = await own.containers.create("cat", "/late/file", change=bind)
        assert (await own.containers.supervisor.state(cid)).pid == waiting
        await own.containers.supervisor.start(cid)
        await own.containers.supervisor.wait(cid)
        assert await own.containers.output(cid) == "of the mount"
    finally:
        mounting.umount(bytes(place), mounting.MNT_DETACH)


async def test_starts_go_on_when_parked_children_or_the_forking_process_are_killed(
    own: Own,
) -> None:
    for pid in (await own.has_parked(), own.forker()):
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: pid not in children(own.process.pid))  # type: ignore[misc]
        state, output = await own.containers.run("echo", "here")
        assert (state.exit_code, output) == (0, "here\n")
    for _ in range(3):
        assert (await own.containers.run("true"))[0].exit_code == 0


async def test_nothing_of_it_outlives_the_supervisor(own: Own) -> None:
    await own.has_parked()
    pids = children(own.process.pid)
    own.process.kill()
    await asyncio.to_thread(own.process.wait)
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_a_parked_child_holds_its_socket_and_new_file_systems_only(own: Own) -> None:
    waiting = await own.has_parked()
    folder = Path(f"/proc/{waiting}/fd")

    def links() -> list[str]:
        return sorted(str(fd.readlink()) for fd in folder.iterdir() if int(fd.name) > 2)

    await until(lambda: links()[-1].startswith("socket:") and links()[-2:-1] in ([], ["/"]))
    assert set(links()[:-1]) == {"/"}, "each the root of a mount that is not attached"


@pytest.fixture
def lot() -> Iterator[tuple[Loop, parking.Parking]]:
    loop = Loop()
    pid, channel = forker.begin()
    made = parking.Parking(loop, pid, channel)
    yield loop, made
    for parked in list(made._parked):
        made._dismiss(parked)
    channel.close()
    os.waitpid(pid, 0)
    gc.unfreeze()


def run_until(loop: Loop, condition: Callable[[], bool]) -> None:
    """Bounded by what a test may take."""

    def look() -> None:
        loop.stopping = condition()
        if not loop.stopping:
            loop.later(0.005, look)

    loop.stopping = False
    look()
    loop.run()


SOMETHING = 1  # a pid of something that is not ours


def test_kinds_that_alternate_have_a_parked_child_each(
    lot: tuple[Loop, parking.Parking], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "BEHIND_S", 1000.0)
    loop, made = lot
    for flags in (FLAGS, FLAGS, FLAGS, 0, FLAGS, 0):
        made.refill(flags, None, SOMETHING)
        run_until(loop, lambda: not made._asked)
    assert sorted(parked.flags for parked in made._parked) == [0, FLAGS]


def test_parked_children_are_few_of_one_kind_and_not_kept_for_long(
    lot: tuple[Loop, parking.Parking], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "BEHIND_S", 1000.0)
    loop, made = lot
    for flags in (0, 0, 0, 0, FLAGS, FLAGS, FLAGS, FLAGS):
        made.refill(flags, [], SOMETHING)
        run_until(loop, lambda: not made._asked)
    kept = list(made._parked)
    assert [parked.flags for parked in kept] == [FLAGS] * parking.MAX_PARKED
    monkeypatch.setattr(parking, "PARKED_FOR_S", 0.0)
    made._dismiss_old()
    assert not made._parked
    for parked in kept:  # children of our parent: its ends are not ours to wait for
        run_until(loop, lambda pid=parked.pid: not is_parked(pid))  # type: ignore[misc]


@pytest.mark.parametrize("ends", [True, False])
def test_a_start_by_itself_has_the_next_child_made_behind_it(
    lot: tuple[Loop, parking.Parking], monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Once what was started has ended, or after a while: it would take the processor from it."""
    monkeypatch.setattr(parking, "BEHIND_S", 1000.0 if ends else 0.0)
    loop, made = lot
    for _ in range(2):  # the first one is not known to be followed by another
        made.refill(FLAGS, [], SOMETHING)
        assert not made._asked and not made._parked
    if ends:
        assert not made.reaped(SOMETHING)
    run_until(loop, lambda: bool(made._parked))
    assert [parked.flags for parked in made._parked] == [FLAGS]
    assert not made._asked and not made._behind


def test_starts_side_by_side_have_the_next_children_made_at_once(
    lot: tuple[Loop, parking.Parking], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "BEHIND_S", 1000.0)
    loop, made = lot
    for started in range(10, 13):
        made.refill(FLAGS, [], started)
    assert [asked.flags for asked in made._asked] == [FLAGS]
    assert [*made._behind] == [11]
    run_until(loop, lambda: not made._asked)


def test_a_kit_is_taken_once_and_only_for_the_very_same() -> None:
    options = [(b"source", b"tmpfs"), (b"mode", b"755")]
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    made = kits.Kit([(True, "tmpfs", tuple(options), 2), (False, "tmpfs", ((b"no", b"x"),), 0)])
    for other in ((False, "tmpfs", options, 2), (True, "tmpfs", options, 0), (True, "x", [], 2)):
        assert made.take(*other) == -1
    dev = made.take(True, "tmpfs", options, 2)
    assert set(os.listdir(f"/proc/self/fd/{dev}")) >= {"null", "tty", "fd", "pts", "shm"}  # noqa: PTH208
    assert made.take(True, "tmpfs", options, 2) == -1
    os.close(dev)
    unused = kits.Kit([(False, "tmpfs", tuple(options), 2)])
    assert len(unused.descriptors()) == 1
    unused.close()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("device", [False, True])
async def test_file_systems_that_were_made_ahead_are_the_containers_own(
    own: Own, device: bool
) -> None:
    await own.has_parked()

    def change(spec: dict[str, Any]) -> None:
        if device:
            spec["linux"]["devices"] = [
                {"path": "/dev/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}
            ]

    script = (
        "stat -c '%A %t,%T %N' /dev/null /dev/ptmx; ls /dev; touch /dev/mine /dev/shm/mine; "
        "grep -E ' (/dev|/dev/shm|/dev/pts|/proc/acpi) ' /proc/mounts"
    )
    seen = [await own.containers.run("sh", "-c", script, change=change) for _ in range(4)]
    assert [state.exit_code for state, _ in seen] == [0] * 4
    assert len({output for _, output in seen}) == 1, "the first one found what others had left"
    assert "crw-rw-rw-" in seen[0][1]
    assert "mode=755" in seen[0][1]
    assert ("own" in seen[0][1]) == device


def test_a_plan_arrives_as_it_was_sent(tmp_path: Path, containers: Containers) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
        spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "0"}

    _, bundle = containers.bundle("true", change=change)
    spec = json.loads((bundle / "config.json").read_text())
    plan = Plan("c", str(bundle), spec, HostPowers(), Cache())
    arrived = jobs.unpack(jobs.pack(jobs.Job(plan, [("memory", "/sys/fs/cgroup/memory/x")])))
    assert isinstance(arrived, jobs.Job)
    assert arrived.cgroup_binds == [("memory", "/sys/fs/cgroup/memory/x")]
    assert _flat(arrived.plan, jobs.LEFT_OUT) == _flat(plan, jobs.LEFT_OUT)
    assert arrived.plan.process is not None
    assert arrived.plan.process.filter is not None


def _flat(value: Any, left_out: tuple[str, ...] = ()) -> Any:
    """Objects as dicts of what they hold."""
    if isinstance(value, list):
        return [_flat(item) for item in value]
    slots = getattr(type(value), "__slots__", None)
    if type(value).__module__.startswith("swarmlite"):
        names = slots or vars(value)
        return {
            name: _flat(getattr(value, name))
            for name in names
            if name not in left_out and name != "_program"
        }
    return value
