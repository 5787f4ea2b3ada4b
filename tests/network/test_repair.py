"""What is deleted by hand comes back, what is adopted goes on, what is let go of is gone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from network_world import Host, World, hanging, resolve

from swarmlite.network import nft
from swarmlite.network.api import EndpointRequest, Sandbox, SandboxRequest
from swarmlite.network.drivers.overlay import Overlay
from swarmlite.network.egress import Egress
from swarmlite.network.records import Records
from swarmlite.network.sandbox import SandboxWiring
from swarmlite.paths import Paths
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import NetworkAttachment, PortConfig


async def until(check: Callable[[], Awaitable[bool]], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not await check():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def build(world: World) -> None:
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    web = world.service("web", (net, "10.1.0.2/24"))
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=8080)
    places = ((net, "10.1.0.12/24"), (ingress, "10.0.0.12/24"))
    await world.task(two, "web0", *places, service=web, serve=80)
    await world.task(one, "client", (net, "10.1.0.11/24"))


async def works(world: World) -> bool:
    one = world.hosts[0]
    _, client = world.sandboxes["client"]
    inside = await one.ask("tcp", "10.1.0.2", 80, netns=client.netns)
    published = await one.ask("tcp", one.address, 8080)
    return inside == ["web0 10.1.0.11"] and published[0].startswith("web0")


DAMAGE = {
    "the sandbox's rules": ("client", "nft flush ruleset"),
    "the host's rules": ("host", "nft flush ruleset"),
    "one chain's rules": ("host", "nft flush chain ip swarmlite publish"),
    "forwarding entries": (
        "net-front-id",
        "ip link set vx0 nomaster; bridge fdb del 02:42:0a:01:00:0c dev vx0 self",
    ),
    "neighbours": ("net-front-id", "ip neigh flush all nud permanent"),
    "the VXLAN device": ("net-front-id", "ip link del vx0"),
    "the bridge": ("net-front-id", "ip link del br0"),
    "the ingress interface": ("host", "ip link del swarmlite-in"),
    "the egress bridge": ("host", "ip link del swarmlite0"),
}


async def test_what_someone_deletes_by_hand_is_repaired(world: World) -> None:
    """Each within one reconciliation, and the connection works again."""
    await build(world)
    assert await works(world)
    for what, (where, command) in DAMAGE.items():
        for host in world.hosts:
            pin = host.paths.netns_dir / where
            if pin.exists():
                await host.arun("sh", "-c", command, netns=pin, check=False)
        for host in world.hosts:
            await host.network.reconcile()
        assert await works(world), what


DELETED_RULES = {
    "the sandbox's": ("client", "ip swarmlite-sandbox", "names"),
    "the host's": ("host", "ip swarmlite", "leaving"),
    "the bridge's": ("net-front-id", "bridge swarmlite", "containers"),
}


async def test_what_is_changed_afterwards_hides_no_damage(world: World) -> None:
    """Rules that somebody deletes come back though a container starts before the next look."""
    await build(world)
    one, net = world.hosts[0], world.networks["front-id"]

    async def there() -> list[str]:
        return [
            await one.arun("nft", "list", "chain", *table.split(), chain,
                           netns=one.paths.netns_dir / where)
            for where, table, chain in DELETED_RULES.values()
        ]  # fmt: skip

    before = await there()
    for where, table, chain in DELETED_RULES.values():
        words = ("nft", "flush", "chain", *table.split(), chain)
        await one.arun(*words, netns=one.paths.netns_dir / where)
    await world.task(one, "web1", (net, "10.1.0.13/24"), service=world.services["web-id"])
    assert all(now != then for now, then in zip(await there(), before, strict=True))
    await one.network.reconcile()
    assert await there() == before


async def test_a_host_that_starts_finds_no_change_of_its_own(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What it makes beside its tables was taken for others' work at the first look."""
    await build(world)
    for host in world.hosts:
        await host.network.reconcile()
    assert not [line for line in caplog.messages if "repaired" in line]


async def test_repairs_come_by_themselves(world: World) -> None:
    """Within ten seconds, nobody asked."""
    await build(world)
    one = world.hosts[0]
    _, client = world.sandboxes["client"]
    await one.arun("nft", "flush", "ruleset", netns=client.netns)

    async def repaired() -> bool:
        return "10.1.0.2" in await one.arun("nft", "list", "ruleset", netns=client.netns)

    await until(repaired)


async def test_a_container_that_is_a_host_itself_and_its_host_change_rules_in_peace(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has its tables in one namespace, and loads them again for damage only."""
    await build(world)
    one = world.hosts[0]
    _, client = world.sandboxes["client"]
    root = world.directory / "inner"
    inner = Host("inner", "10.1.0.11", client.netns, Paths(root / "state", root / "run"))
    await inner.start(in_swarm=False)
    world.hosts.insert(0, inner)  # let go of before the stack that it is in
    port = PortConfig(protocol=PortConfig.TCP, target_port=80, published_port=8081)
    await world.container(inner, "nested", "bridge", ports=[port], serve=80)

    async def both_work() -> None:
        (said,) = await one.ask("tcp", "10.1.0.2", 80, netns=client.netns)
        assert said in ("web0 10.1.0.11", "web1 10.1.0.11")
        assert (await inner.ask("tcp", "10.1.0.11", 8081))[0].startswith("nested")

    async def repairs() -> list[str]:
        caplog.clear()
        for host in (one, inner, one, inner):
            await host.network.reconcile()
        return [line for line in caplog.messages if "repaired" in line]

    await both_work()
    await repairs()  # either may have seen the other's tables for the first time
    assert await repairs() == []
    net = world.networks["front-id"]
    await world.task(world.hosts[2], "web1", (net, "10.1.0.13/24"),
                     service=world.services["web-id"], serve=80)  # fmt: skip
    await repairs()
    assert await repairs() == []
    await both_work()
    await one.arun("nft", "flush", "table", "ip", "swarmlite-sandbox", netns=client.netns)
    assert await repairs()
    await both_work()


async def addresses(host: Host, sandbox: Sandbox) -> str:
    """Interfaces and addresses of a sandbox, without what the kernel finds out of a link later."""
    shown = await host.arun("ip", "addr", netns=sandbox.netns)
    return re.sub(r" state \w+", "", shown)


async def test_the_sandboxes_of_a_killed_agent_are_adopted(world: World) -> None:
    """The same sockets answer names again; balancing, ingress and host ports go on, then change."""
    await build(world)
    one, two = world.hosts
    _, client = world.sandboxes["client"]
    before = await addresses(one, client)
    for host in (one, two):
        await host.network.close()
    assert await works(world)
    # A question that was asked while nobody answers is answered by the next.
    asked = asyncio.create_task(resolve(one, client, "web"))
    await asyncio.sleep(0.3)
    for host in (one, two):
        await host.start()
    assert await works(world)
    assert one.network.sandboxes() == ["client"]
    await world.tell()
    assert (await asked).addresses == ["10.1.0.2"]
    assert await works(world)
    for host in (one, two):
        await host.network.reconcile()
    assert await works(world)
    assert await addresses(one, client) == before
    net = world.networks["front-id"]
    await world.task(one, "late", (net, "10.1.0.13/24"))
    assert await one.ask("tcp", "10.1.0.12", 80, netns=world.sandboxes["late"][1].netns) == [
        "web0 10.1.0.13"
    ]
    world.change(f"{net.id}/web0", in_rotation=False)
    await world.tell()
    assert await one.ask("tcp", "10.1.0.2", 80, netns=client.netns) == [
        "error ConnectionRefusedError"
    ]
    await one.network.delete_sandbox("client")
    assert not client.netns.exists()


async def test_ports_of_a_container_that_is_gone_go_before_its_last_connection(
    world: World,
) -> None:
    """On an overlay and on the way out. Its peer is away, so the kernel would keep its namespace,
    and the veths, for two minutes.
    """
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    await world.task(one, "web0", (net, "10.1.0.10/24"), serve=80)
    stays = await world.task(two, "stays", (net, "10.1.0.11/24"))
    goes = await world.task(two, "goes", (net, "10.1.0.12/24"))
    records = [two.network._sandboxes.record(name) for name in ("stays", "goes")]
    out, inner = zip(*((r.egress_port, r.attachments[0].port) for r in records), strict=True)
    overlay = two.paths.netns_dir / f"net-{net.id}"

    async def left() -> list[bool]:
        shown = await two.arun("ip", "-o", "link")
        shown_inside = await two.arun("ip", "-o", "link", netns=overlay)
        return [*(name in shown for name in out), *(name in shown_inside for name in inner)]

    async with hanging(two, "goes", goes, "10.1.0.10"):
        assert await left() == [True, True, True, True]
    await two.network.reconcile()
    assert await left() == [True, True, True, True]
    await two.network.reconcile()
    assert await left() == [True, False, True, False]
    assert "eth1" in await two.arun("ip", "-o", "link", netns=stays.netns)


async def test_an_address_on_a_bridge_is_free_before_its_last_connection(world: World) -> None:
    """Nobody answers for it until another gets it, though its namespace lasts; its port goes."""
    one, two = await world.add_host(), await world.add_host()
    one.serve("tcp", 80, "far")
    spec = NetworkSpec()
    spec.annotations.name = "own"
    spec.ipam.configs.add(subnet="10.9.0.0/24")
    await two.network.networks.create(spec)
    client = await world.container(two, "client", "own")
    place = EndpointRequest("own", address="10.9.0.7")
    goes = await world.container(two, "goes", place)
    port = two.network._sandboxes.record("goes").attachments[0].port

    async def answer() -> str:
        await two.arun("ip", "neigh", "flush", "dev", "eth0", netns=client.netns)
        return (await two.ask("tcp", "10.9.0.7", 80, netns=client.netns))[0]

    async with hanging(two, "goes", goes, one.address):
        assert await answer() == "error ConnectionRefusedError"
    assert port in await two.arun("ip", "-o", "link")
    assert await answer() == "error TimeoutError"
    await world.container(two, "comes", place, serve=80)
    assert await answer() == "comes 10.9.0.2"
    for _ in range(2):
        await two.network.reconcile()
    assert port not in await two.arun("ip", "-o", "link")


@pytest.mark.parametrize(
    ("part", "step"),
    [(SandboxWiring, "take_away"), (Overlay, "detach"), (Egress, "detach")],
)
async def test_what_the_kernel_keeps_of_a_sandbox_stops_nothing_of_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch, part: type, step: str
) -> None:
    """Neither the way out, nor the pin, nor the record; the same name starts again."""
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    await world.task(one, "goes", (net, "10.1.0.10/24"))
    pin = one.paths.netns_dir / "goes"
    assert pin.exists()
    asked: list[object] = []

    def refused(_: object, what: object) -> None:
        asked.append(what)
        raise OSError(errno.ENOBUFS, "No buffer space available")

    with monkeypatch.context() as patch:
        patch.setattr(Overlay, "inside", True)
        patch.setattr(part, step, refused)
        await one.network.delete_sandbox("goes")
    assert asked
    assert one.network.sandboxes() == [] and not pin.exists()
    assert not Records(one.paths.run_dir / "network").load()
    await world.task(one, "goes", (net, "10.1.0.10/24"))


async def test_teardown_leaves_nothing(world: World) -> None:
    """No link, rule, pin or file; letting go twice is no error."""
    await build(world)
    one = world.hosts[0]
    one.stop()
    await one.network.delete_sandbox("client")
    await one.network.delete_sandbox("client")
    await one.network.teardown()
    links = await one.arun("ip", "-o", "link")
    assert [line.split()[1].split("@")[0] for line in links.splitlines()] == ["lo:", "eth0"]
    assert await one.arun("nft", "list", "ruleset") == ""
    assert "534" not in await one.arun("ip", "rule")
    assert not one.paths.netns_dir.exists()
    assert not (one.paths.run_dir / "network").exists()
    assert not one.held.fds


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.003, 0.006, 0.012])
async def test_a_creation_that_is_cancelled_leaves_nothing(world: World, after_s: float) -> None:
    """Whenever it is cancelled: no pin, no port, no descriptor held."""
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    await world.tell()
    place = NetworkAttachment(network_id=net.id, addresses=["10.1.0.9/24"])
    # What all sandboxes share is there already.
    await one.network.create_sandbox("first", SandboxRequest(attachments=[place]))
    await one.network.delete_sandbox("first")
    await asyncio.to_thread(nft.later.finish)
    fds = len(list(Path("/proc/self/fd").iterdir()))
    creation = asyncio.create_task(
        one.network.create_sandbox("t1", SandboxRequest(attachments=[place]))
    )
    await asyncio.sleep(after_s)
    if creation.done():
        await one.network.delete_sandbox("t1")
    creation.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await creation
    assert one.network.sandboxes() == [] or after_s == 0.0
    pins = {path.name for path in one.paths.netns_dir.iterdir()}
    assert pins <= {"host", "net-front-id"}
    assert not one.held.fds
    assert not Records(one.paths.run_dir / "network").load()
    await asyncio.to_thread(nft.later.finish)
    assert len(list(Path("/proc/self/fd").iterdir())) <= fds + 4

    async def gone() -> bool:
        return "sl" not in (await one.arun("ip", "-o", "link")).replace("slave", "")

    await until(gone, 60)


async def test_a_network_is_kept_while_a_sandbox_uses_it_and_goes_after(world: World) -> None:
    """The managers forget a network before its last container is gone; its VNI is free at once."""
    await build(world)
    one = world.hosts[0]
    pin = one.paths.netns_dir / "net-front-id"
    net = world.networks.pop("front-id")
    await world.tell()
    assert pin.exists()
    await one.network.delete_sandbox("client")

    async def gone() -> bool:
        return not pin.exists()

    await until(gone)
    again = world.network("again", 4097, "10.1.0.0/24")
    world.endpoints = {k: e for k, e in world.endpoints.items() if e.network_id != net.id}
    await world.task(one, "next", (again, "10.1.0.11/24"))


async def test_a_sandbox_of_the_hosts_network_is_the_hosts(world: World) -> None:
    """Its namespace is the host's own, its resolver the host's."""
    one = await world.add_host()
    place = NetworkAttachment(network_id="x", network_name="host")
    sandbox = await one.network.create_sandbox("t1", SandboxRequest(attachments=[place]))
    assert one.address in await one.arun("ip", "addr", netns=sandbox.netns)
    assert "127.0.0.11" not in sandbox.resolv_conf
    await one.network.delete_sandbox("t1")
    assert one.address in await one.arun("ip", "addr")
