"""What sandboxes begin with, made ahead."""

from __future__ import annotations

import os

from network_world import World, resolve

from swarmlite.network.spares import AHEAD


async def test_one_made_ahead_is_wired_as_any_other(world: World) -> None:
    """Balanced, named and, once it is taken, followed by another one."""
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    await world.task(one, "web0", (net, "10.1.0.10/24"), service=web, serve=80)
    await one.filled()
    wiring, _ = one.network._spares._ready[0]
    ahead = os.fstat(wiring.namespace).st_ino
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    assert client.netns.stat().st_ino == ahead
    said = await one.ask("tcp", "10.1.0.2", 80, 2, netns=client.netns)
    assert said == ["web0 10.1.0.20"] * 2
    assert (await resolve(one, client, "web")).addresses == ["10.1.0.2"]
    world.change(f"{net.id}/web0", in_rotation=False)
    await world.tell()
    said = await one.ask("tcp", "10.1.0.2", 80, netns=client.netns)
    assert said == ["error ConnectionRefusedError"]
    await one.filled()


async def test_nothing_of_them_is_left_when_the_network_closes(world: World) -> None:
    """Their descriptors are all that holds them."""
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    await world.task(one, "web0", (net, "10.1.0.10/24"))
    await one.filled()
    ready = list(one.network._spares._ready)
    await one.network.close()
    assert [channel.fileno() for _, sockets in ready for channel in sockets] == [-1] * 2 * AHEAD
    assert [wiring.namespace for wiring, _ in ready] == [-1] * AHEAD
    await one.start()
