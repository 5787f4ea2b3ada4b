"""Floods and full disks: their own container suffers, for a while, and nothing else does."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rt_harness import Containers, connect, sweep

from swarmlite.runtime import logs
from swarmlite.runtime.client import Log, LogFile, Supervisor
from swarmlite.runtime.supervisor import __main__ as program


@pytest.mark.parametrize("compress", [False, True])
async def test_a_flood_fills_no_disk_and_starves_nobody(
    containers: Containers, compress: bool
) -> None:
    flood = await containers.start(
        "sh", "-c", "while :; do echo; done & exec yes some words",
        log={"max_bytes": 100_000, "max_files": 3, "compress": compress},
    )  # fmt: skip
    log = containers.directory / flood / "log"
    async with asyncio.timeout(60):
        while not list(log.parent.glob("log.2*")):
            await asyncio.sleep(0.02)
    for number in range(5):
        state, output = await containers.run("echo", f"{number}")
        assert (state.exit_code, output) == (0, f"{number}\n")
        # a file may be a share of a stream above its limit, as lines of the file
        kept = [path for path in log.parent.glob("log*") if path.suffix not in (".tmp",)]
        assert sum(_size(path) for path in kept) < 3 * (100_000 + 300_000) + 100_000
    await containers.supervisor.kill(flood, signal.SIGKILL, everything=True)
    assert (await asyncio.wait_for(containers.supervisor.wait(flood), 30)).exit_code == 137
    assert [line.data async for line in logs.read(log, tail=1)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", disk], check=False)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


async def test_a_full_disk_drops_lines_says_so_once_and_recovers(
    tmp_path: Path, small_disk: Path, busybox_root: Path
) -> None:
    said = tmp_path / "said"
    with said.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-I", "-S", program.__file__, "--socket", str(tmp_path / "s.sock"),
             "--state-dir", str(tmp_path / "state")],
            stderr=stderr,
        )  # fmt: skip
    try:
        client: Supervisor = await connect(tmp_path / "s.sock")
        made = Containers(client, tmp_path, busybox_root)
        cid, bundle = made.bundle(
            "sh", "-c", "seq 1 20000; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo last"
        )
        await client.create(cid, bundle, log=Log(LogFile(small_disk / "log")))
        await client.start(cid)
        async with asyncio.timeout(60):
            while b"output is being lost" not in said.read_bytes():
                await asyncio.sleep(0.02)
        await asyncio.to_thread(
            subprocess.run, ["mount", "-o", "remount,size=16m", small_disk], check=True
        )
        assert (await made.exec(cid, "touch", "/tmp/go"))[0] == 0
        assert (await asyncio.wait_for(client.wait(cid), 30)).exit_code == 0
        found = [line.data async for line in logs.read(small_disk / "log")]
        assert found[0] == b"1\n" and found[-1] == b"last\n"
        text = said.read_text()
        assert text.count("output is being lost: No space left on device") == 1
        assert text.count("bytes of output were lost") == 1
        await client.shutdown()
        await client.close()
    finally:
        process.kill()
        process.wait()
        sweep()
