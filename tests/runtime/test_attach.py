"""Attaching to containers: output from now on, whole, to everyone; input; terminals."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Iterator
from typing import Any

import pytest
from rt_harness import Containers

from swarmlite import errors
from swarmlite.runtime.client import Attached, Log


class Reader:
    """One attached client's pipe."""

    def __init__(self) -> None:
        self.ours, self.theirs = os.pipe2(os.O_CLOEXEC)

    def done(self) -> None:
        """Its other end was handed over."""
        os.close(self.theirs)

    async def all(self) -> bytes:
        return await asyncio.to_thread(self._all)

    def _all(self) -> bytes:
        with os.fdopen(self.ours, "rb") as file:
            return file.read()

    async def until(self, text: bytes) -> bytes:
        """What comes up to and with `text`."""
        return await asyncio.wait_for(asyncio.to_thread(self._until, text), 30)

    def _until(self, text: bytes) -> bytes:
        data = b""
        while text not in data:
            block = os.read(self.ours, 65536)
            assert block, data
            data += block
        return data


async def attach(containers: Containers, cid: str, **options: Any) -> tuple[Reader, Attached]:
    reader = Reader()
    attached = await containers.supervisor.attach(cid, stdout=reader.theirs, **options)
    reader.done()
    return reader, attached


@pytest.fixture
def held() -> Iterator[list[int]]:
    """Descriptors to be closed at the end."""
    fds: list[int] = []
    yield fds
    for fd in fds:
        os.close(fd)


async def test_everyone_attached_gets_everything_from_then_on(containers: Containers) -> None:
    cid = await containers.create("sh", "-c", "seq 1 20000; echo bad >&2")
    readers = [(await attach(containers, cid))[0] for _ in range(3)]
    problems = Reader()
    await containers.supervisor.attach(cid, stderr=problems.theirs)
    problems.done()
    outputs = [asyncio.create_task(reader.all()) for reader in (*readers, problems)]
    await containers.supervisor.start(cid)
    expected = "".join(f"{number}\n" for number in range(1, 20001)).encode()
    seen = await asyncio.wait_for(asyncio.gather(*outputs), 30)
    assert seen == [expected, expected, expected, b"bad\n"]
    assert (await containers.supervisor.wait(cid)).exit_code == 0
    logged = (await containers.output(cid)).splitlines(keepends=True)
    assert "".join(line for line in logged if line != "bad\n").encode() == expected
    assert logged.count("bad\n") == 1


async def test_attaching_works_without_any_log(containers: Containers) -> None:
    cid, bundle = containers.bundle("sh", "-c", "head -c 300000 /dev/zero; echo end")
    containers.ids.append(cid)
    await containers.supervisor.create(cid, bundle, log=Log())
    reader, _ = await attach(containers, cid)
    await containers.supervisor.start(cid)
    assert await asyncio.wait_for(reader.all(), 30) == bytes(300000) + b"end\n"
    unread, bundle = containers.bundle("sh", "-c", "head -c 300000 /dev/zero; exit 3")
    containers.ids.append(unread)
    await containers.supervisor.create(unread, bundle, log=Log())
    await containers.supervisor.start(unread)
    assert (await asyncio.wait_for(containers.supervisor.wait(unread), 30)).exit_code == 3


async def test_a_slow_reader_slows_the_container_and_a_gone_one_does_not(
    containers: Containers,
) -> None:
    cid = await containers.create("sh", "-c", "head -c 1000000 /dev/zero; touch /tmp/done; echo 1")
    slow, _ = await attach(containers, cid)
    quick, _ = await attach(containers, cid)
    await containers.supervisor.start(cid)
    first = asyncio.create_task(quick.all())
    # 64 KiB of a pipe each, one share, and the container's own pipe: then everything stands still
    await asyncio.sleep(0.3)
    assert (await containers.supervisor.state(cid)).status == "running"
    assert (await containers.exec(cid, "ls", "/tmp/done"))[0] != 0
    os.close(slow.ours)
    assert await asyncio.wait_for(first, 30) == bytes(1000000) + b"1\n"
    assert (await containers.supervisor.wait(cid)).exit_code == 0


async def test_what_a_reader_has_left_at_the_end_still_comes(containers: Containers) -> None:
    cid = await containers.create("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo end")
    reader, _ = await attach(containers, cid)
    await containers.supervisor.start(cid)
    state = await asyncio.wait_for(containers.supervisor.wait(cid), 30)
    assert state.status == "stopped"
    assert await asyncio.wait_for(reader.all(), 30) == b"x" * 100000 + b"end\n"


async def test_input_is_held_open_between_clients_and_ends_with_the_first_where_asked(
    containers: Containers,
) -> None:
    for once in (False, True):
        cid, bundle = containers.bundle("cat")
        containers.ids.append(cid)
        await containers.supervisor.create(cid, bundle, log=Log(), stdin=True, stdin_once=once)
        await containers.supervisor.start(cid)
        reader, attached = await attach(containers, cid, stdin=True)
        assert attached.stdin is not None
        os.write(attached.stdin, b"first\n")
        await reader.until(b"first\n")
        os.close(attached.stdin)
        if once:
            assert (await asyncio.wait_for(containers.supervisor.wait(cid), 30)).exit_code == 0
            continue
        second, attached = await attach(containers, cid, stdin=True)
        assert attached.stdin is not None
        os.write(attached.stdin, b"second\n")
        await second.until(b"second\n")
        os.close(attached.stdin)
        assert (await containers.supervisor.state(cid)).status == "running"


async def test_a_container_without_input_reads_its_end_at_once(containers: Containers) -> None:
    cid = await containers.create("cat")
    _, attached = await attach(containers, cid, stdin=True)
    assert attached.stdin is None
    await containers.supervisor.start(cid)
    assert (await asyncio.wait_for(containers.supervisor.wait(cid), 30)).exit_code == 0


async def test_a_terminal_has_its_size_at_the_start_and_follows_resizes(
    containers: Containers, held: list[int]
) -> None:
    def terminal(spec: dict[str, Any]) -> None:
        spec["process"]["terminal"] = True
        spec["process"]["consoleSize"] = {"height": 41, "width": 123}

    script = "stty size; trap 'stty size' WINCH; echo set; while :; do sleep 0.05; done"
    cid = await containers.create("sh", "-c", script, change=terminal)
    reader, attached = await attach(containers, cid, stdin=True)
    assert attached.stdin is not None
    held.append(attached.stdin)
    await containers.supervisor.start(cid)
    assert b"41 123\r\n" in await reader.until(b"set\r\n")
    await containers.supervisor.resize(cid, 99, 33)
    assert b"33 99\r\n" in await reader.until(b"33 99\r\n")
    size = fcntl.ioctl(attached.stdin, termios.TIOCGWINSZ, bytes(8))
    assert struct.unpack("4H", size)[:2] == (33, 99)
    os.write(attached.stdin, b"\x03")  # the terminal turns it into SIGINT
    assert (await asyncio.wait_for(containers.supervisor.wait(cid), 30)).exit_code == 130
    assert await reader.all() is not None
    assert "41 123\r\n" in await containers.output(cid)


async def test_a_user_may_open_the_streams_by_name(containers: Containers) -> None:
    def user(spec: dict[str, Any]) -> None:
        spec["process"]["user"] = {"uid": 999, "gid": 998}

    state, output = await containers.run("sh", "-c", "echo named > /proc/self/fd/2", change=user)
    assert (state.exit_code, output) == (0, "named\n")


async def test_what_has_ended_cannot_be_attached_to(containers: Containers) -> None:
    state, _ = await containers.run("true")
    reader = Reader()
    with pytest.raises(errors.FailedPrecondition, match="stopped"):
        await containers.supervisor.attach(state.id, stdout=reader.theirs)
    reader.done()
    assert await reader.all() == b""
