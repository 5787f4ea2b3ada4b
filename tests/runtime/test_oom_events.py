"""Kills for memory are told while the container runs on, and before its end."""

from __future__ import annotations

import asyncio
from typing import Any

from rt_harness import Containers

HOG = "dd if=/dev/zero of=/dev/null bs=64M count=1"


def limited(spec: dict[str, Any]) -> None:
    spec["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}


async def test_a_kill_for_memory_is_told_at_once_and_before_the_exit(
    containers: Containers,
) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    client = containers.supervisor
    client.on_oom = lambda container_id: heard.put_nowait(("oom", container_id))

    async def listen() -> None:
        async for state in client.exits():
            heard.put_nowait(("exit", state.id))

    listening = asyncio.create_task(listen())
    cid = await containers.start("sh", "-c", f"{HOG}; sleep 100", change=limited)
    try:
        async with asyncio.timeout(60):
            while await heard.get() != ("oom", cid):
                pass
        assert (await client.state(cid)).status == "running"
        dying = await containers.start("sh", "-c", f"exec {HOG}", change=limited)
        async with asyncio.timeout(60):
            order = []
            while ("exit", dying) not in order:
                order.append(await heard.get())
        assert [what for what, whose in order if whose == dying] == ["oom", "exit"]
        assert (await client.wait(dying)).oom_killed
    finally:
        listening.cancel()
        await asyncio.wait((listening,))


async def test_a_limit_that_came_later_is_watched_too(containers: Containers) -> None:
    client = containers.supervisor
    heard = asyncio.Event()
    client.on_oom = lambda _: heard.set()
    listening = asyncio.ensure_future(anext(client.exits(), None))
    cid = await containers.start(
        "sh", "-c", f"while [ ! -e /tmp/go ]; do sleep 0.02; done; {HOG}; sleep 100"
    )
    try:
        await client.update(cid, {"memory": {"limit": 16 << 20, "swap": 16 << 20}})
        assert (await containers.exec(cid, "touch", "/tmp/go"))[0] == 0
        await asyncio.wait_for(heard.wait(), 60)
        assert (await client.state(cid)).status == "running"
    finally:
        listening.cancel()
        await asyncio.wait((listening,))
