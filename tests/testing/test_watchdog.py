"""The watchdog of event loops names what holds one; a busy machine is not held against it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmlite.testing import watchdog

SCHEDSTAT = pytest.mark.skipif(
    not Path("/proc/thread-self/schedstat").exists(), reason="the kernel has no schedstat"
)


def burn(cpu_s: float) -> None:
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        pass


async def burning() -> None:
    await asyncio.sleep(0)
    burn(0.1)


async def sleeping() -> None:
    time.sleep(0.3)  # noqa: ASYNC251


async def test_a_task_that_computes_is_named_with_its_stack() -> None:
    with pytest.raises(AssertionError, match="1 callbacks held the event loop") as caught:  # noqa: SIM117
        with watchdog.watching(cpu_s=0.03):
            await asyncio.create_task(burning(), name="burner")
    assert "task burner (burning): " in str(caught.value)
    assert "in burn\n" in str(caught.value)


@SCHEDSTAT
async def test_a_call_that_blocks_is_found_though_it_uses_no_cpu() -> None:
    with pytest.raises(AssertionError, match="task blocker") as caught:  # noqa: SIM117
        with watchdog.watching():
            await asyncio.create_task(sleeping(), name="blocker")
    assert "in sleeping\n" in str(caught.value)


async def test_a_plain_callback_is_found() -> None:
    with watchdog.watching(cpu_s=0.03) as found:
        asyncio.get_running_loop().call_soon(burn, 0.1)
        asyncio.get_running_loop().call_later(0.01, burn, 0.1)
        while len(found.holds) < 2:
            await asyncio.sleep(0.01)
        assert {hold.what for hold in found.holds} == {"burn"}
        found.holds.clear()


async def test_the_tests_own_steps_and_waiting_are_no_hold() -> None:
    with watchdog.watching(cpu_s=0.03) as found:
        burn(0.1)
        await asyncio.sleep(0.2)
        burn(0.1)
        await asyncio.to_thread(burn, 0.1)
    assert found.holds == []


@SCHEDSTAT
async def test_waiting_for_a_core_is_no_hold() -> None:
    """Many short steps on a core that busy processes of no niceness share raise no alarm."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]  # noqa: ASYNC220
    try:
        longest = 0.0

        async def step() -> None:
            nonlocal longest
            began = time.monotonic()
            burn(0.002)
            longest = max(longest, time.monotonic() - began)

        with watchdog.watching(cpu_s=0.02, asleep_s=0.03) as found:
            while longest < 0.03:
                await asyncio.create_task(step())
        assert found.holds == []
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        os.sched_setaffinity(0, cores)


async def test_when_it_leaves_nothing_is_watched(loop_watchdog: Callable[..., object]) -> None:
    original = asyncio.Handle._run
    with watchdog.watching():
        assert asyncio.Handle._run is not original
    assert asyncio.Handle._run is original
    assert loop_watchdog is watchdog.watching


def test_processes_that_a_test_starts_are_watched_by_their_module(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    body = """
        import asyncio, time
        async def hold():
            until = time.thread_time() + 0.1
            while time.thread_time() < until:
                pass
        asyncio.run(hold())
    """
    for name in ("watched", "other"):
        (package / f"{name}.py").write_text(textwrap.dedent(body))
    remote = watchdog.sitecustomize(tmp_path / "site", modules=("watched",), cpu_s=0.03)
    for name in ("watched", "other"):
        subprocess.run(
            [sys.executable, "-m", name],
            cwd=package,
            env={**os.environ, **remote.environment},
            check=True,
        )
    (hold,) = remote.holds()
    assert "(hold)" in hold.what
    with pytest.raises(AssertionError, match="held the event loop"):
        remote.check()
