"""Health tests: what they answer whatever the container, or the host, does to them."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rt_harness import Containers

from swarmlite import errors
from swarmlite.engine.io.probe import run_probe


def process(*args: str) -> dict[str, Any]:
    return {"args": list(args), "env": ["PATH=/bin"], "cwd": "/"}


async def probe(containers: Containers, cid: str, *args: str, timeout_s: float = 30.0) -> Any:
    test = run_probe(containers.supervisor, cid, process(*args), timeout_s)
    return await asyncio.wait_for(test, 60)


async def test_a_probe_answers_its_exit_code_and_the_first_of_its_output(
    containers: Containers,
) -> None:
    cid = await containers.start("sleep", "100")
    assert await probe(containers, cid, "sh", "-c", "echo out; echo err >&2; exit 3") == (
        3,
        "out\nerr\n",
    )
    code, output = await probe(containers, cid, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x")
    assert (code, output) == (0, "x" * 4096)


@pytest.mark.parametrize("script", ["sleep 1000", "kill -STOP $$", "exec cat /dev/zero"])
async def test_a_probe_that_does_not_end_is_killed(containers: Containers, script: str) -> None:
    cid = await containers.start("sleep", "100")
    assert await probe(containers, cid, "sh", "-c", script, timeout_s=0.5) == (-1, "timeout")
    async with asyncio.timeout(30):
        left = 2 if "sleep" in script else 1  # of a shell only itself is killed, as in Docker
        while len(await containers.supervisor.pids(cid)) > left:
            await asyncio.sleep(0.02)


async def test_a_probe_of_a_container_that_is_frozen_meanwhile_times_out(
    containers: Containers,
) -> None:
    cid = await containers.start("sleep", "100")
    test = asyncio.create_task(
        probe(containers, cid, "sh", "-c", "touch /tmp/begun; sleep 1000", timeout_s=2.0)
    )
    async with asyncio.timeout(30):
        while (await containers.exec(cid, "ls", "/tmp/begun"))[0]:
            await asyncio.sleep(0.02)
    await containers.supervisor.pause(cid)
    assert await test == (-1, "timeout")
    await containers.supervisor.resume(cid)
    assert await probe(containers, cid, "true") == (0, "")


async def test_a_probe_whose_asker_is_gone_is_killed_by_the_supervisor(
    containers: Containers,
) -> None:
    cid = await containers.start("sleep", "100")
    null = os.open("/dev/null", os.O_RDWR)
    try:
        running = await containers.supervisor.exec(
            cid, process("sh", "-c", "kill -STOP $$"), stdin=null, stdout=null, stderr=null,
            timeout_s=0.3,
        )  # fmt: skip
        assert await asyncio.wait_for(running.wait(), 30) == 128 + signal.SIGKILL
    finally:
        os.close(null)


@contextmanager
def no_more_descriptors(pid: int) -> Iterator[None]:
    """A process that can open nothing."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    limit = min(set(range(max(used) + 2)) - used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("whose", ["ours", "supervisor"])
async def test_a_host_without_descriptors_says_nothing_of_the_container(
    containers: Containers, supervisor_dir: Path, whose: str
) -> None:
    cid = await containers.start("sleep", "100")
    pid = os.getpid() if whose == "ours" else int((supervisor_dir / "pid").read_text())
    with no_more_descriptors(pid), pytest.raises(errors.Unavailable):
        await probe(containers, cid, "true")
    assert await probe(containers, cid, "true") == (0, "")
