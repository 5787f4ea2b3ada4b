"""The supervisor's end, and what it forgets on the way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from rt_harness import Containers, connect, start_supervisor

from swarmlite import errors
from swarmlite.runtime.client import LogFile


async def test_a_shutdown_ends_also_while_containers_are_being_created(
    tmp_path: Path, busybox_root: Path
) -> None:
    process = start_supervisor(tmp_path / "s.sock", tmp_path / "state")
    try:
        client = await connect(tmp_path / "s.sock")
        made = Containers(client, tmp_path, busybox_root)
        creating = [
            asyncio.create_task(client.create(cid, bundle, log=LogFile(bundle / "log")))
            for cid, bundle in (made.bundle("sleep", "100") for _ in range(40))
        ]
        await asyncio.sleep(0)  # they are on their way
        await asyncio.wait_for(client.shutdown(), 60)
        results = await asyncio.gather(*creating, return_exceptions=True)
        assert all(
            isinstance(result, errors.SwarmliteError) or not isinstance(result, BaseException)
            for result in results
        )
        assert any(isinstance(result, errors.SwarmliteError) for result in results)
        await client.close()
        assert await asyncio.to_thread(process.wait, 30) == 0
        assert not list((tmp_path / "state").glob("*.json"))
    finally:
        process.kill()
        process.wait()


async def test_who_waits_for_a_container_whose_create_fails_is_told(
    containers: Containers,
) -> None:
    def bad(spec: dict) -> None:  # type: ignore[type-arg]
        spec["mounts"].append(
            {"type": "bind", "source": "/no/such", "destination": "/x", "options": ["rbind"]}
        )

    cid, bundle = containers.bundle("true", change=bad)
    creating = asyncio.create_task(containers.supervisor.create(cid, bundle))
    await asyncio.sleep(0)
    with pytest.raises(errors.NotFound):
        await asyncio.wait_for(containers.supervisor.wait(cid), 30)
    with pytest.raises(errors.FailedPrecondition):
        await creating


async def test_execs_of_a_client_that_is_gone_are_forgotten_at_their_end(
    containers: Containers, supervisor_dir: Path
) -> None:
    cid = await containers.start("sleep", "100")
    other = await connect(supervisor_dir / "s.sock")
    null = os.open("/dev/null", os.O_RDWR)
    try:
        command = {"env": ["PATH=/bin"], "cwd": "/"}
        done, running = [
            await other.exec(
                cid, {**command, "args": ["sh", "-c", script]},
                stdin=null, stdout=null, stderr=null,
            )
            for script in ("true", "while [ ! -e /tmp/go ]; do sleep 0.02; done")
        ]  # fmt: skip
    finally:
        os.close(null)
    await other.close()
    assert (await containers.exec(cid, "touch", "/tmp/go"))[0] == 0
    for gone in (done, running):
        gone.supervisor = containers.supervisor
        async with asyncio.timeout(30):
            with pytest.raises(errors.NotFound):
                while True:
                    await gone.kill(0)
                    await asyncio.sleep(0.02)


async def test_stats_and_processes_are_those_of_the_container(containers: Containers) -> None:
    cid = await containers.start(
        "sh", "-c", "sleep 100 & i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 100; true"
    )
    async with asyncio.timeout(60):
        while len(pids := await containers.supervisor.pids(cid)) != 3:
            await asyncio.sleep(0.02)
    assert (await containers.supervisor.state(cid)).pid in pids
    stats = await containers.supervisor.stats(cid)
    assert stats["cpu_usage_ns"] > 0 and stats["memory_bytes"] > 0
    assert stats["cpu_user_ns"] + stats["cpu_system_ns"] > 0
    assert stats["pids"] == 3
    assert {
        "throttled_periods", "cpu_throttled_ns", "memory_limit_bytes", "pids_limit",
        "memory_inactive_file_bytes", "block_read_bytes", "block_write_bytes", "oom_kills",
    } <= set(stats)  # fmt: skip
