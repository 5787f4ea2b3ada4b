"""What the managers said is on disk: known at a start at which none of them answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from network_world import World, resolve

from swarmlite.network import loops, remembered
from swarmlite.network.api import SandboxRequest
from swarmlite.network.dns import packet
from swarmlite.network.remembered import Remembered
from swarmlite.network.view import View
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network


async def test_the_last_word_on_networks_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes after a COMPLETE set count; another node's file does not."""
    monkeypatch.setattr(remembered, "WRITE_BEHIND_S", 0.01)
    path, view = tmp_path / "networks", View("node1")
    memory = Remembered(path, view)
    assert memory.load() is None
    ends = {name: Endpoint(id=f"n1/{name}", network_id="n1") for name in "ab"}
    view.replace({"n1": Network(id="n1")}, {e.id: e for e in ends.values()}, {})
    gone = AssignmentChange(action=AssignmentChange.REMOVE, endpoint=Endpoint(id="n1/a"))
    view.take([gone, AssignmentChange(virtual_service=VirtualService(id="s1", name="web"))])
    memory.changed()
    await memory.write_next()
    found = View("node1")
    assert Remembered(path, found).load()
    assert (set(found.networks), {e.id for e in found.all_endpoints()}, set(found.services)) == (
        {"n1"},
        {"n1/b"},
        {"s1"},
    )
    assert Remembered(path, View("node2")).load() is None
    memory.forget()
    assert Remembered(path, View("node1")).load() is None


async def test_an_agent_that_no_manager_answers_serves_names_and_repairs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its start, by what the agent before it was told."""
    monkeypatch.setattr(remembered, "WRITE_BEHIND_S", 0.01)
    monkeypatch.setattr("swarmlite.network.node.DOUBT_S", 0.0)
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    await world.task(one, "web0", (net, "10.1.0.10/24"), service=web, serve=80)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    path = one.paths.agent_dir / "networks"
    for _ in range(200):
        if path.exists() and b"/client" in path.read_bytes():
            break
        await asyncio.sleep(0.05)
    await one.network.close()
    await one.start()
    await one.network.settled()
    assert (await resolve(one, client, "web")).addresses == ["10.1.0.2"]
    await one.arun("nft", "flush", "ruleset", netns=client.netns)
    await one.network.reconcile()
    assert await one.ask("tcp", "10.1.0.2", 80, netns=client.netns) == ["web0 10.1.0.20"]


async def test_what_is_on_disk_takes_nothing_away_before_the_managers_speak(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent killed before it wrote the last change: its successor leaves connections, VIPs and
    published ports as they are, and answers names; the managers' word counts at once.
    """
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    path = one.paths.agent_dir / "networks"
    for _ in range(200):
        if path.exists() and b"/client" in path.read_bytes():
            break
        await asyncio.sleep(0.05)
    old = path.read_bytes()
    web = world.service("web", (net, "10.1.0.2/24"))
    web.ingress_ports.add(target_port=80, published_port=8080)
    places = ((net, "10.1.0.10/24"), (ingress, "10.0.0.10/24"))
    await world.task(two, "web0", *places, service=web, serve=80)

    async def works() -> None:
        assert await one.ask("tcp", "10.1.0.2", 80, netns=client.netns) == ["web0 10.1.0.20"]
        assert await one.ask("tcp", "10.1.0.10", 80, netns=client.netns) == ["web0 10.1.0.20"]
        (said,) = await one.ask("tcp", one.address, 8080)
        assert said.startswith("web0")

    await works()
    await one.network.close()
    path.write_bytes(old)
    await one.start()
    await one.network.settled()
    await one.network.reconcile()
    await works()
    pointer = await resolve(one, client, "20.0.1.10.in-addr.arpa", kind=packet.PTR)
    assert len(pointer.addresses) == 1
    del world.endpoints[f"{net.id}/web0"]
    await world.tell()
    said = await one.ask("tcp", "10.1.0.2", 80, netns=client.netns)
    assert said == ["error ConnectionRefusedError"]


async def test_a_container_that_comes_or_goes_before_the_managers_speak_costs_no_published_port(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent begins again while no manager answers: what another host's published port leads
    here is still answered; where the managers' last word is not on disk, though one goes.
    """
    monkeypatch.setattr(remembered, "WRITE_BEHIND_S", 0.01)
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    web = world.service("web", (net, "10.1.0.2/24"))
    web.ingress_ports.add(target_port=80, published_port=8080)
    places = ((net, "10.1.0.10/24"), (ingress, "10.0.0.10/24"))
    await world.task(one, "web0", *places, service=web, serve=80)
    for name in ("first", "second", "third"):
        await one.network.create_sandbox(name, SandboxRequest())
    path = one.paths.agent_dir / "networks"
    for _ in range(200):
        if path.exists() and b"/web0" in path.read_bytes():
            break
        await asyncio.sleep(0.05)
    user = world.plug("user", "192.168.77.100")

    async def works() -> None:
        for host in (one, two):
            (said,) = await one.ask("tcp", host.address, 8080, netns=user)
            assert said == "web0 192.168.77.100"

    async def again() -> None:
        await one.network.close()
        await one.start()
        await one.network.settled()

    await works()
    await again()
    await one.network.delete_sandbox("first")
    await works()
    await one.network.create_sandbox("fourth", SandboxRequest())
    await works()
    await again()
    await one.network.create_sandbox("fifth", SandboxRequest())
    await works()
    await one.network.close()
    path.unlink()
    await one.start()
    await one.network.delete_sandbox("second")
    await works()
    await world.tell()
    await one.network.delete_sandbox("third")
    await works()


async def test_a_mistake_in_one_turn_ends_neither_changes_nor_repairs(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is raised is logged, and the next change is made."""
    monkeypatch.setattr(loops, "PAUSE_S", 0.01)
    monkeypatch.setattr("swarmlite.network.node.RECONCILE_S", 0.01)
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    with monkeypatch.context() as broken:

        def mistake(*_: object, **__: object) -> None:
            raise KeyError("a mistake")

        broken.setattr(one.network._overlays, "flush", mistake)
        broken.setattr(one.network._overlays, "reconcile", mistake)
        web = world.service("web", (net, "10.1.0.2/24"))
        await world.tell()
        for _ in range(200):
            said = {record.getMessage() for record in caplog.records if record.exc_info}
            if {"network change failed", "network repair failed"} <= said:
                break
            await asyncio.sleep(0.02)
        assert {"network change failed", "network repair failed"} <= said
    await world.task(one, "web0", (net, "10.1.0.10/24"), service=web, serve=80)
    assert await one.ask("tcp", "10.1.0.2", 80, netns=client.netns) == ["web0 10.1.0.20"]
