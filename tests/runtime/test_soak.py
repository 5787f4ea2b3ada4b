"""Many short containers, one after the other, leave the supervisor as it was."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from rt_harness import PARENT, Containers, connect, start_supervisor

from swarmlite.runtime.cgroups.detect import Host
from swarmlite.runtime.client import LogFile, Supervisor


class Footprint:
    """What a supervisor holds of the host."""

    def __init__(self, pid: int, folder: Path) -> None:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        self.memory_kib = int(fields["VmRSS"].split()[0])
        self.descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        self.mounts = sum(str(folder) in line for line in mounts)
        roots = {*Host().roots.values(), *([Host().unified] if Host().unified else [])}
        self.cgroups = sum(len(list(Path(f"{root}{PARENT}").glob("*/"))) for root in roots)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.children = len(children)


async def at_rest(pid: int, folder: Path) -> Footprint:
    """What it has when nothing of it has changed for a second: the next child is parked by then."""
    seen, counts, same = Footprint(pid, folder), (0, 0), 0
    for _ in range(600):
        await asyncio.sleep(0.1)
        seen, before = Footprint(pid, folder), counts
        counts = seen.descriptors, seen.children
        same = same + 1 if counts == before else 0
        if same == 10:
            return seen
    raise AssertionError("it never rests")


async def run_many(client: Supervisor, made: Containers, count: int) -> None:
    """Four at a time, as a busy host would; each from create to delete."""
    left = iter(range(count))

    async def worker() -> None:
        cid, bundle = made.bundle("true")
        log = LogFile(bundle / "log")
        for _ in left:
            await client.create(cid, bundle, log=log)
            reader, writer = os.pipe()
            await client.attach(cid, stdout=writer)
            os.close(writer)
            await client.start(cid)
            assert (await client.wait(cid)).exit_code == 0
            os.close(reader)
            await client.delete(cid)

    await asyncio.gather(*(worker() for _ in range(4)))


@pytest.mark.parametrize(
    "count",
    [200, pytest.param(5000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
    ids=["short", "long"],
)
async def test_memory_descriptors_mounts_and_cgroups_stay_flat(
    tmp_path: Path, busybox_root: Path, count: int
) -> None:
    process = start_supervisor(tmp_path / "s.sock", tmp_path / "state")
    try:
        client = await connect(tmp_path / "s.sock")
        made = Containers(client, tmp_path, busybox_root)
        await run_many(client, made, 60)  # caches are warm then
        before = await at_rest(process.pid, tmp_path)
        await run_many(client, made, count)
        after = await at_rest(process.pid, tmp_path)
        assert after.descriptors == before.descriptors
        assert after.mounts == before.mounts == 0
        assert after.cgroups == before.cgroups == 0
        assert after.children == before.children
        assert after.memory_kib - before.memory_kib < 256
        assert not list((tmp_path / "state").iterdir())
        await client.shutdown()
        await client.close()
    finally:
        process.kill()
        process.wait()
