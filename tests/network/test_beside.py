"""Beside others on one host: Docker's engine, and the user's own rules."""

from __future__ import annotations

import pytest
from network_world import World, outside

from swarmlite.proto.types_pb2 import PortConfig

# As Docker's engine leaves a host: what it does not know of is not forwarded.
DOCKER = """
add table ip filter
add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
add chain ip filter DOCKER-USER
add rule ip filter FORWARD jump DOCKER-USER
"""
USERS = """
add table inet mine
add chain inet mine forward { type filter hook forward priority -10; policy accept; }
add rule inet mine forward ip saddr 192.168.77.99 meta l4proto tcp ct original proto-dst 8080 drop
"""


async def published(world: World) -> None:
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    for host, port in ((one, 8080), (two, 8081)):
        service = world.service(f"web{port}")
        service.ingress_ports.add(target_port=80, published_port=port, protocol=PortConfig.TCP)
        place = (ingress, f"10.0.0.{port - 8070}/24")
        await world.task(host, f"web{port}", place, service=service, serve=80)


async def test_what_docker_would_drop_is_let_by_wherever_it_started_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From outside to a task here and elsewhere, and out; its own rules stay as they are."""
    monkeypatch.setattr("swarmlite.network.node.RECONCILE_S", 3600.0)  # only when it is asked
    await published(world)
    one, two = world.hosts
    client = await outside(world)
    two.serve("tcp", 8000, "far")
    _, task = world.sandboxes["web8080"]

    async def works() -> None:
        for port in (8080, 8081):
            said = await client.ask("tcp", one.address, port)
            assert said == [f"web{port} 192.168.77.99"]
        assert await one.ask("tcp", two.address, 8000, netns=task.netns) == ["far 192.168.77.1"]

    await works()
    await one.arun("sh", "-c", f"echo '{DOCKER}' | nft -f -")
    assert (await client.ask("tcp", one.address, 8080))[0].startswith("error")
    await one.network.reconcile()
    await works()
    plain = await world.container(one, "plain", "bridge")  # on a bridge that is made now
    assert await one.ask("tcp", two.address, 8000, netns=plain.netns) == ["far 192.168.77.1"]
    shown = await one.arun("nft", "list", "table", "ip", "filter")
    await one.network.reconcile()
    assert await one.arun("nft", "list", "table", "ip", "filter") == shown
    assert shown.count("jump SWARMLITE") == 1
    # A new agent finds it so; one that is gone leaves nothing that lets by.
    await one.network.close()
    await one.start()
    await world.tell()
    await works()
    assert await one.arun("nft", "list", "table", "ip", "filter") == shown
    one.stop()
    await one.network.teardown()
    assert "accept" not in (await one.arun("nft", "list", "chain", "ip", "filter", "SWARMLITE"))


async def test_a_users_own_rules_count_and_stay(world: World) -> None:
    """In a table of their own, by the port that was asked for; also when ours is repaired."""
    await published(world)
    one, _ = world.hosts
    client = await outside(world)
    await one.arun("sh", "-c", f"echo '{USERS}' | nft -f -")
    before = await one.arun("nft", "list", "table", "inet", "mine")
    for damage in (None, "delete table ip swarmlite"):
        if damage:
            await one.arun("nft", damage)
        await one.network.reconcile()
        assert (await client.ask("tcp", one.address, 8080))[0].startswith("error")
        assert await client.ask("tcp", one.address, 8081) == ["web8081 192.168.77.99"]
    assert await one.arun("nft", "list", "table", "inet", "mine") == before


async def test_the_chain_for_a_users_rules_is_there_and_left_alone(world: World) -> None:
    """By what arrives after the translation; kept through repairs, a new agent and the end."""
    await published(world)
    one, two = world.hosts
    client = await outside(world)
    assert (await client.ask("tcp", one.address, 8080))[0].startswith("web8080")
    rule = "ip saddr 192.168.77.99 meta l4proto tcp ct original proto-dst 8080 drop"
    await one.arun("nft", "add", "rule", "inet", "swarmlite-user", "forward", rule)
    before = await one.arun("nft", "list", "table", "inet", "swarmlite-user")
    await one.arun("nft", "delete", "table", "ip", "swarmlite")
    await one.network.reconcile()
    await one.network.close()
    await one.start()
    await world.tell()
    assert (await client.ask("tcp", one.address, 8080))[0].startswith("error")
    assert await client.ask("tcp", one.address, 8081) == ["web8081 192.168.77.99"]
    for host in (one, two):
        host.stop()
        await host.network.teardown()
    assert await one.arun("nft", "list", "table", "inet", "swarmlite-user") == before
    assert "swarmlite" not in await two.arun("nft", "list", "tables")  # nobody used it
