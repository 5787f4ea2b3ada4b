"""Tasks that join and leave all the time, while their service is asked."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter

import pytest
from network_world import Host, World

CHANGES = 20
"""The last one is on the host of the first."""
WAIT_S = 180
"""The kernel keeps a namespace for 108 s where the other end of a connection does not answer."""
CALLER = """
import socket, sys, time
while True:
    s, began = socket.socket(), time.monotonic()
    s.settimeout(5)
    try:
        s.connect((sys.argv[1], 80))
        print(began, s.recv(100).decode().split()[0], flush=True)
    except OSError as e:
        print(began, "error", type(e).__name__, flush=True)
    s.close()
    time.sleep(0.01)
"""


def held(host: Host) -> Counter[str]:
    """What a host has in the kernel and this process of descriptors, by kind."""
    place = host.paths.netns_dir / "net-front-id"
    fdb = host.run("bridge", "fdb", "show", "dev", "vx0", netns=place).splitlines()
    neighbours = host.run("ip", "neigh", "show", "nud", "permanent", netns=place).splitlines()
    return Counter(
        {
            "forwards": len(fdb),
            "neighbours": len(neighbours),
            "links": len(host.run("ip", "-o", "link").splitlines()),
            "ports": len(host.run("ip", "-o", "link", netns=place).splitlines()),
            "pins": len(list(host.paths.netns_dir.iterdir())),
            "rules": len(host.run("nft", "list", "ruleset").splitlines()),
            "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        }
    )


@pytest.mark.timeout(420)
async def test_no_request_meets_a_task_that_left_and_nothing_is_left_of_it(world: World) -> None:
    """One joins and one leaves, again and again, on this host and on another."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.200/24"))
    caller = await world.task(two, "caller", (net, "10.1.0.250/24"))

    async def join(host: Host, name: str, address: str) -> None:
        """In rotation once it serves, as managers have it."""
        await world.task(host, name, (net, address), serve=80)
        world.change(f"{net.id}/{name}", service_id=web.id, service_name="web")
        await world.tell()

    await join(one, "w0", "10.1.0.10/24")
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={caller.netns}", "python3", "-I", "-S", "-c", CALLER, "10.1.0.200",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    heard: list[tuple[float, str]] = []
    """When a request began, by the clock of all processes, and who answered."""

    async def listen() -> None:
        while line := await process.stdout.readline():  # type: ignore[union-attr]
            began, _, answer = line.decode().strip().partition(" ")
            heard.append((float(began), answer))

    listening = asyncio.create_task(listen())

    async def hear(name: str) -> float:
        """Until a request that begins from now on has met it; when that now was."""
        now = time.monotonic()
        async with asyncio.timeout(WAIT_S):
            while not any(answer == name for began, answer in heard if began >= now):
                await asyncio.sleep(0.02)
        return now

    for host in (one, two):
        await host.filled()
    left: dict[str, float] = {}
    before = [held(host) for host in (one, two)]
    try:
        for number in range(1, CHANGES + 1):
            host = (one, two)[number % 2]
            await join(host, f"w{number}", f"10.1.0.{10 + number}/24")
            await hear(f"w{number}")
            old, at = f"w{number - 1}", (one, two)[(number - 1) % 2]
            world.change(f"{net.id}/{old}", in_rotation=False)
            await world.tell()
            left[old] = await hear(f"w{number}")
            del world.endpoints[f"{net.id}/{old}"]
            del world.sandboxes[old]
            await world.tell()
            server = at.processes.pop(0)
            server.kill()
            server.communicate()
            await at.network.delete_sandbox(old)
    finally:
        process.kill()
        await process.wait()
        await listening
    assert not [answer for _, answer in heard if answer.startswith("error")]
    late = [(answer, began) for began, answer in heard if began >= left.get(answer, began + 1)]
    assert not late, "asked after they had left"
    for host in (one, two):
        await host.network.settled()
        assert not await host.network._overlays.reconcile(host.network._sandboxes.ports)

    def more() -> dict[str, tuple[list[int], list[int]]]:
        """What there is more or less of than before, on each host."""
        after = [held(host) for host in (one, two)]
        counts = {kind: ([c[kind] for c in before], [c[kind] for c in after]) for kind in before[0]}
        (descriptors, _), (now, _) = counts.pop("descriptors")
        found = {kind: pair for kind, pair in counts.items() if pair[0] != pair[1]}
        if now > descriptors + CHANGES // 3:
            found["descriptors"] = ([descriptors], [now])
        return found

    # Links go with their namespace, which the kernel takes away after all that others left before.
    deadline = time.monotonic() + WAIT_S
    while found := more():
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)
