"""Plain containers: the default bridge, user-defined ones, their names and published ports."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pytest
from network_world import SCTP_CONNTRACK, Host, World, first_sctp_packet, outside, resolve

from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
)
from swarmlite.network.api import EndpointRequest, Sandbox, SandboxRequest
from swarmlite.network.dns import packet
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import IPAMConfig, NetworkAttachment, PortConfig


@pytest.fixture(autouse=True)
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are not ours fail at once, whatever this machine knows."""
    monkeypatch.setattr("swarmlite.network.resolvers.host_resolvers", list)


async def make(
    host: Host, name: str, *subnets: str, internal: bool = False, **options: str
) -> Network:
    spec = NetworkSpec(internal=internal)
    spec.annotations.name = name
    spec.ipam.configs.extend(IPAMConfig(subnet=subnet) for subnet in subnets)
    spec.ipv6_enabled = any(":" in subnet for subnet in subnets)
    for key, value in options.items():
        spec.driver.options[f"com.docker.network.{key.replace('__', '.')}"] = value
    return await host.network.networks.create(spec)


def tcp(published: int, target: int = 80, host_ip: str = "") -> PortConfig:
    return PortConfig(
        target_port=target,
        published_port=published,
        publish_mode=PortConfig.HOST,
        host_ip=host_ip,
    )


def address(sandbox: Sandbox, number: int = 0) -> str:
    return sandbox.endpoints[number].address.partition("/")[0]


async def reached(host: Host, target: str, port: int, netns: Sandbox | None = None) -> str:
    (said,) = await host.ask("tcp", target, port, netns=netns.netns if netns else None)
    return said.split()[0]


async def names(host: Host, sandbox: Sandbox, asked: Sequence[str]) -> list[list[str]]:
    return [(await resolve(host, sandbox, name)).addresses for name in asked]


async def test_containers_of_the_default_bridge_reach_each_other_the_world_and_the_host(
    world: World,
) -> None:
    """By address; no names there; out by the host's own address."""
    one, two = await world.add_host(), await world.add_host()
    web = await world.container(one, "web", "bridge", serve=80)
    client = await world.container(one, "client", "bridge")
    assert [e.network_name for e in web.endpoints] == ["bridge"]
    assert address(web) == "172.17.0.2"
    assert await one.ask("tcp", address(web), 80, netns=client.netns) == ["web 172.17.0.3"]
    assert await reached(one, address(web), 80) == "web"
    two.serve("tcp", 8000, "far")
    assert await one.ask("tcp", two.address, 8000, netns=client.netns) == ["far 192.168.77.1"]
    assert (await resolve(one, client, "web")).addresses == []
    one.serve("tcp", 2377, "manager")
    assert await reached(one, one.address, 2377, client) == "error"
    assert await reached(one, "172.17.0.1", 2377, client) == "error"


async def test_names_on_a_user_defined_network_are_answered_both_ways(world: World) -> None:
    """Container names, host names, aliases, each with the network's name; PTR agrees."""
    one = await world.add_host()
    await make(one, "front", "10.7.0.0/24", "fd00:7::/64")
    web = await world.container(one, "web", EndpointRequest("front", aliases=["www"]))
    client = await world.container(one, "client", "front")
    known = ["web", "web-host", "www", "WEB", "web.front", "www.front", "web-host.front"]
    assert await names(one, client, known) == [[address(web)]] * len(known)
    six = await resolve(one, client, "web", kind=packet.AAAA)
    assert six.addresses == ["fd00:7::2"]
    pointer = await resolve(one, client, "2.0.7.10.in-addr.arpa", kind=packet.PTR)
    assert bytes.fromhex(pointer.addresses[0]) == packet.wire_name("web.front")
    assert (await resolve(one, web, "client")).addresses == [address(client)]
    await one.network.delete_sandbox("web")
    assert (await resolve(one, client, "web")).addresses == []


async def test_bridges_are_apart_from_each_other(world: World) -> None:
    """Neither by address nor by name; published ports are reached from any of them."""
    one = await world.add_host()
    await make(one, "front")
    await make(one, "back")
    db = await world.container(one, "db", "back", serve=80, ports=[tcp(8080)])
    client = await world.container(one, "client", "front")
    plain = await world.container(one, "plain", "bridge")
    for caller in (client, plain):
        assert await reached(one, address(db), 80, caller) == "error"
        assert (await resolve(one, caller, "db")).addresses == []
        assert await reached(one, one.address, 8080, caller) == "db"


async def test_connect_and_disconnect_change_a_container_that_runs(world: World) -> None:
    """Interface, route and names come and go; what was there stays."""
    one, two = await world.add_host(), await world.add_host()
    await make(one, "front", "10.7.0.0/24")
    await make(one, "inner", "10.8.0.0/24", internal=True)
    web = await world.container(one, "web", "front", serve=80)
    client = await world.container(one, "client", "inner")
    assert await reached(one, address(web), 80, client) == "error"
    info = await one.network.connect("client", EndpointRequest("front", address="10.7.0.77"))
    assert (info.interface, info.address, info.gateway) == ("eth1", "10.7.0.77/24", "10.7.0.1")
    assert await one.ask("tcp", address(web), 80, netns=client.netns) == ["web 10.7.0.77"]
    assert (await resolve(one, client, "web")).addresses == [address(web)]
    assert (await resolve(one, web, "client")).addresses == ["10.7.0.77"]
    two.serve("tcp", 8000, "far")
    assert await reached(one, two.address, 8000, client) == "far"
    with pytest.raises(AlreadyExists, match="already on network front"):
        await one.network.connect("client", EndpointRequest("front"))
    with pytest.raises(AlreadyExists, match=r"10.7.0.77 of network front is already in use"):
        await world.container(one, "other", EndpointRequest("front", address="10.7.0.77"))
    await one.network.disconnect("client", "front")
    await one.network.disconnect("client", "front")
    assert await reached(one, address(web), 80, client) == "error"
    assert (await resolve(one, web, "client")).addresses == []
    assert [e.network_name for e in one.network.sandbox("client").endpoints] == ["inner"]
    assert await reached(one, two.address, 8000, client) == "error"
    with pytest.raises(NotFound, match="network nothing not found"):
        await one.network.connect("client", EndpointRequest("nothing"))


async def test_a_published_port_is_reached_from_everywhere(world: World) -> None:
    """Outside, localhost, the host's own address, beside it, itself; then it is gone."""
    one = await world.add_host()
    web = await world.container(one, "web", "bridge", serve=80, ports=[tcp(8080), tcp(8081)])
    beside = await world.container(one, "beside", "bridge")
    client = await outside(world)
    assert await client.ask("tcp", one.address, 8080) == ["web 192.168.77.99"]
    assert await reached(client, one.address, 8081) == "web"
    for target in ("127.0.0.1", one.address, "172.17.0.1"):
        assert await reached(one, target, 8080) == "web"
    for caller in (web, beside):
        assert await reached(one, one.address, 8080, caller) == "web"
        assert await reached(one, "172.17.0.1", 8080, caller) == "web"
    with pytest.raises(AlreadyExists, match="port 8080/tcp of this host is already taken"):
        await world.container(one, "second", "bridge", ports=[tcp(8080)])
    assert "second" not in one.network.sandboxes()
    await one.network.delete_sandbox("web")
    assert await reached(client, one.address, 8080) == "error"


async def test_a_published_port_of_one_host_address_answers_there_only(world: World) -> None:
    """Two containers share a number on two addresses."""
    one = await world.add_host()
    await world.container(one, "inner", "bridge", serve=80, ports=[tcp(8080, 80, "127.0.0.1")])
    await world.container(one, "outer", "bridge", serve=80, ports=[tcp(8080, 80, one.address)])
    client = await outside(world)
    assert await reached(client, one.address, 8080) == "outer"
    assert await reached(one, "127.0.0.1", 8080) == "inner"
    with pytest.raises(InvalidSpec, match="is not an address of this host"):
        await world.container(one, "x", "bridge", ports=[tcp(8082, 80, "192.0.2.1")])
    for host_ip, words in (("::1", "use 127.0.0.1"), ("fd77::1", "no IPv6 address"), ("x", "not")):
        with pytest.raises(InvalidSpec, match=words):
            await world.container(one, "x", "bridge", ports=[tcp(8082, 80, host_ip)])


async def test_udp_and_sctp_are_published_too(world: World) -> None:
    """UDP answers; for SCTP the rule is there, whatever the machine can send."""
    one = await world.add_host()
    udp = PortConfig(target_port=53, published_port=5353, protocol=PortConfig.UDP)
    sctp = PortConfig(target_port=99, published_port=5399, protocol=PortConfig.SCTP)
    dns = await world.container(one, "dns", "bridge", ports=[udp, sctp])
    one.serve("udp", 53, "dns", dns.netns)
    client = await outside(world)
    assert await client.ask("udp", one.address, 5353) == ["dns 192.168.77.99"]
    assert "sctp . 5399 : goto" in await one.arun(
        "nft", "list", "map", "ip", "swarmlite", "balance"
    )


@pytest.mark.skipif(
    not SCTP_CONNTRACK.exists(), reason="this kernel's connection tracking knows no SCTP"
)
async def test_an_sctp_association_is_led_to_the_container(world: World) -> None:
    """Its first packet arrives there, at the container's port, with its client's address."""
    one = await world.add_host()
    sctp = PortConfig(target_port=99, published_port=5399, protocol=PortConfig.SCTP)
    web = await world.container(one, "web", "bridge", ports=[sctp])
    client = await outside(world)
    assert await first_sctp_packet(client, one.address, one, web.netns) == [
        "192.168.77.99", "99", "1",
    ]  # fmt: skip


async def test_ipv6_containers_reach_out_and_are_published(world: World) -> None:
    """On ::1 and the host's own IPv6 address; isolation holds as for IPv4."""
    one, two = await world.add_host(), await world.add_host()
    for number, host in enumerate((one, two), 1):
        await host.arun("ip", "-6", "addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
    await make(one, "six", "10.7.0.0/24", "fd00:7::/64")
    await make(one, "other", "10.8.0.0/24", "fd00:8::/64")
    web = await world.container(one, "web", "six", ports=[tcp(8080)])
    one.serve("tcp", 80, "web", web.netns, six=True)
    beside = await world.container(one, "beside", "six")
    stranger = await world.container(one, "stranger", "other")
    assert web.endpoints[0].address6 == "fd00:7::2/64"
    assert await reached(one, "fd00:7::2", 80, beside) == "web"
    assert await reached(one, "fd00:7::2", 80, stranger) == "error"
    two.serve("tcp", 8000, "far", six=True)
    assert await one.ask("tcp", "fd77::2", 8000, netns=beside.netns) == ["far fd77::1"]
    assert await reached(two, "fd77::1", 8080) == "web"
    # Refused at once, so that who asks for `localhost` takes 127.0.0.1 next.
    assert await one.ask("tcp", "::1", 8080) == ["error ConnectionRefusedError"]
    assert await reached(one, "127.0.0.1", 8080) == "web"
    for caller in (web, beside):  # its own port too
        for target in ("fd77::1", "fd00:7::1"):
            assert await reached(one, target, 8080, caller) == "web"
    assert await reached(two, one.address, 8080) == "web"


async def test_icc_and_internal_close_a_network(world: World) -> None:
    """Without icc containers see the world and not each other; internal ones each other only."""
    one, two = await world.add_host(), await world.add_host()
    await make(one, "lonely", "10.7.0.0/24", bridge__enable_icc="false")
    await make(one, "inner", "10.8.0.0/24", internal=True)
    two.serve("tcp", 8000, "far")
    for network, near, far in (("lonely", "error", "far"), ("inner", "web", "error")):
        web = await world.container(one, f"web-{network}", network)
        one.serve("tcp", 80, "web", web.netns)
        client = await world.container(one, f"client-{network}", network)
        assert await reached(one, address(web), 80, client) == near
        assert await reached(one, two.address, 8000, client) == far


async def test_options_name_the_bridge_its_size_and_its_host_address(world: World) -> None:
    """As Docker's: name, mtu, host_binding_ipv4, enable_ip_masquerade."""
    one, two = await world.add_host(), await world.add_host()
    await make(
        one, "front", "10.7.0.0/24", bridge__name="mybridge", driver__mtu="1000",
        bridge__host_binding_ipv4="127.0.0.1", bridge__enable_ip_masquerade="false",
    )  # fmt: skip
    web = await world.container(one, "web", "front", serve=80, ports=[tcp(8080)])
    assert "mtu 1000" in await one.arun("ip", "link", "show", "mybridge")
    assert "mtu 1000" in await one.arun("ip", "link", "show", "eth0", netns=web.netns)
    assert [port.host_ip for port in web.host_ports] == ["127.0.0.1"]
    assert await reached(one, "127.0.0.1", 8080) == "web"
    assert await reached(two, one.address, 8080) == "error"
    two.serve("tcp", 8000, "far")
    await two.arun("ip", "route", "add", "10.7.0.0/24", "via", one.address)
    assert await one.ask("tcp", two.address, 8000, netns=web.netns) == ["far 10.7.0.2"]


async def test_host_none_and_anothers_stack(world: World) -> None:
    """host is the host's own; none has nothing but lo; container:X shares what X has."""
    one = await world.add_host()
    host = await world.container(one, "own", mode="host")
    assert host.host_stack
    assert one.address in await one.arun("ip", "addr", netns=host.netns)
    none = await world.container(one, "empty", "none")
    assert (await one.arun("ip", "-o", "link", netns=none.netns)).count("\n") == 1
    web = await world.container(one, "web", "bridge", serve=80)
    beside = await world.container(one, "beside", mode="container", join="web")
    assert beside.netns == web.netns
    assert await reached(one, "127.0.0.1", 80, beside) == "web"
    with pytest.raises(NotFound, match="sandbox gone"):
        await world.container(one, "x", mode="container", join="gone")
    for name in ("own", "empty", "beside"):
        with pytest.raises(InvalidSpec, match="cannot be on other networks"):
            await one.network.connect(name, EndpointRequest("bridge"))
    with pytest.raises(InvalidSpec, match="cannot be combined with another"):
        await world.container(one, "x", "none", "bridge")
    await one.network.delete_sandbox("beside")
    assert await reached(one, "127.0.0.1", 80, web) == "web"


async def test_what_cannot_be_is_refused_and_leaves_nothing(world: World) -> None:
    """One line each."""
    one = await world.add_host()
    await make(one, "front", "10.7.0.0/30")
    cases: list[tuple[EndpointRequest, type[Exception], str]] = [
        (EndpointRequest("bridge", aliases=["a"]), InvalidSpec, "user-defined networks only"),
        (EndpointRequest("bridge", address="172.17.0.9"), InvalidSpec, "user-defined"),
        (EndpointRequest("front", address="10.9.0.1"), InvalidSpec, "is not within"),
        (EndpointRequest("front", address="10.7.0.1"), AlreadyExists, "is the gateway"),
        (EndpointRequest("front", address6="fd00::1"), InvalidSpec, "no IPv6 subnet"),
        (EndpointRequest("front", mac="x"), InvalidSpec, "is not a MAC address"),
        (EndpointRequest("front", mac="01:00:00:00:00:01"), InvalidSpec, "a multicast address"),
    ]
    for place, kind, words in cases:
        with pytest.raises(kind, match=words):
            await world.container(one, "x", place)
    assert one.network.sandboxes() == []
    web = await world.container(one, "web", EndpointRequest("front", mac="02:00:00:00:00:09"))
    assert web.endpoints[0].mac == "02:00:00:00:00:09"
    assert "02:00:00:00:00:09" in await one.arun("ip", "link", netns=web.netns)
    with pytest.raises(Exception, match="no free address"):
        await world.container(one, "full", "front")
    with pytest.raises(FailedPrecondition, match="in use by 1 container"):
        await one.network.networks.remove("front")
    assert one.network.networks.in_use("front") == ["web"]
    await one.network.delete_sandbox("web")
    await one.network.networks.remove("front")
    assert "br-" not in await one.arun("ip", "link")


DAMAGE = ["ip link del swarmlite-br", "nft flush ruleset", "ip link set swarmlite-br down"]


async def test_bridges_are_repaired_and_adopted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What someone deletes comes back; the next agent knows addresses, ports and names, and closes
    ports though no manager ever speaks.
    """
    one = await world.add_host()
    await make(one, "front", "10.7.0.0/24")
    await world.container(one, "web", "bridge", serve=80, ports=[tcp(8080)])
    db = await world.container(one, "db", "front", serve=80, ports=[tcp(8081)])
    client = await world.container(one, "client", "front")
    outer = await outside(world)

    async def works() -> bool:
        ports = [await reached(outer, one.address, port) for port in (8080, 8081)]
        return ports == ["web", "db"] and await reached(one, address(db), 80, client) == "db"

    assert await works()
    for command in DAMAGE:
        await one.arun("sh", "-c", command)
        await one.network.reconcile()
        assert await works(), command
    await one.network.close()
    await one.start()
    await one.network.reconcile()
    assert await works()
    assert (await resolve(one, client, "db")).addresses == [address(db)]
    with pytest.raises(AlreadyExists, match="already taken"):
        await world.container(one, "x", "bridge", ports=[tcp(8080)])
    with pytest.raises(AlreadyExists, match="already in use"):
        await world.container(one, "x", EndpointRequest("front", address=address(db)))
    await one.network.close()
    monkeypatch.setattr("swarmlite.network.node.DOUBT_S", 0.0)
    await one.start()
    await one.network.delete_sandbox("web")
    await one.network.reconcile()
    assert await outer.ask("tcp", one.address, 8080) == ["error ConnectionRefusedError"]
    assert await reached(outer, one.address, 8081) == "db"


async def test_leaving_the_swarm_keeps_plain_containers_and_nothing_else(world: World) -> None:
    """The overlay and the ingress go, the bridge and its published port stay."""
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    await world.task(one, "t1", (net, "10.1.0.11/24"))
    await world.container(one, "web", "bridge", serve=80, ports=[tcp(8080)])
    await one.network.leave()
    assert one.network.sandboxes() == ["web"]
    assert await reached(one, "127.0.0.1", 8080) == "web"
    assert "swarmlite-in" not in await one.arun("ip", "link")
    assert {path.name for path in one.paths.netns_dir.iterdir()} == {"host", "web"}
    one.stop()
    await one.network.delete_sandbox("web")
    await one.network.teardown()
    links = await one.arun("ip", "-o", "link")
    assert [line.split()[1].split("@")[0] for line in links.splitlines()] == ["lo:", "eth0"]
    assert await one.arun("nft", "list", "ruleset") == ""


async def test_a_host_without_containers_is_left_alone(world: World) -> None:
    """No bridge, no rule, no forwarding, in a swarm or not."""
    one = await world.add_host()
    await world.tell()
    await one.network.reconcile()
    links = await one.arun("ip", "-o", "link")
    assert [line.split()[1].split("@")[0] for line in links.splitlines()] == ["lo:", "eth0"]
    assert await one.arun("nft", "list", "ruleset") == ""


async def test_a_host_in_no_swarm_serves_repairs_and_adopts(world: World) -> None:
    """Nobody ever says anything of the managers' networks."""
    one = await world.add_host()
    await one.network.close()
    await one.start(in_swarm=False)
    await make(one, "front", "10.7.0.0/24")
    web = await world.container(one, "web", "front", serve=80, ports=[tcp(8080)])
    client = await world.container(one, "client", "front")
    outer = await outside(world)
    for turn in range(2):
        assert await reached(outer, one.address, 8080) == "web", turn
        assert (await resolve(one, client, "web")).addresses == [address(web)]
        (name,) = re.findall(r"br-\w+", await one.arun("ip", "-o", "link"))[:1]
        await one.arun("sh", "-c", f"nft flush ruleset; ip link set {name} down")
        await one.network.reconcile()
        assert await reached(outer, one.address, 8080) == "web", turn
        await one.network.close()
        await one.start(in_swarm=False)


async def test_a_host_without_a_free_subnet_starts_and_says_so_to_who_needs_one(
    world: World,
) -> None:
    """The default bridge takes no containers; a network with a subnet of its own does."""
    one = await world.add_host()
    await one.network.close()
    for subnet in ("172.16.0.0/12", "192.168.0.0/16"):
        await one.arun("ip", "route", "add", "blackhole", subnet)
    await one.start()
    with pytest.raises(FailedPrecondition, match="network bridge takes no containers"):
        await world.container(one, "x", "bridge")
    with pytest.raises(ResourceExhausted, match="no free subnet"):
        await make(one, "other")
    with pytest.raises(ResourceExhausted, match="no free subnet"):
        await one.network.create_sandbox("x", SandboxRequest())
    assert one.network.sandboxes() == []
    await make(one, "front", "10.7.0.0/24")
    await world.container(one, "web", "front", serve=80)
    assert await reached(one, "10.7.0.2", 80) == "web"


async def test_containers_that_start_together_get_addresses_and_ports_of_their_own(
    world: World,
) -> None:
    """Forty at once on one network; what one cannot have leaves the others alone."""
    one = await world.add_host()
    await make(one, "front", "10.7.0.0/24")
    made = await asyncio.gather(
        *(world.container(one, f"c{n}", "front", ports=[tcp(9000 + n)]) for n in range(40)),
        *(world.container(one, f"d{n}", "front", ports=[tcp(9000 + n)]) for n in range(3)),
        return_exceptions=True,
    )
    sandboxes = [sandbox for sandbox in made if isinstance(sandbox, Sandbox)]
    refused = [error for error in made if isinstance(error, AlreadyExists)]
    assert (len(sandboxes), len(refused)) == (40, 3)
    assert len({address(sandbox) for sandbox in sandboxes}) == 40
    assert sorted(port.published_port for s in sandboxes for port in s.host_ports) == [
        *range(9000, 9040)
    ]
    assert len(one.network.sandboxes()) == 40


async def test_a_range_of_host_ports_gives_the_first_that_is_free(world: World) -> None:
    """And says so when none is."""
    one = await world.add_host()
    ranged = tcp(9000)
    ranged.published_port_end = 9002
    one.serve("tcp", 9001, "other")
    given = []
    for name in ("a", "b"):
        sandbox = await world.container(one, name, "bridge", ports=[ranged])
        (port,) = sandbox.host_ports
        given.append((port.published_port, port.published_port_end))
    assert given == [(9000, 0), (9002, 0)]
    with pytest.raises(ResourceExhausted, match="no free port on this host from 9000 to 9002"):
        await world.container(one, "c", "bridge", ports=[ranged])


async def test_a_plain_container_is_on_an_overlay_and_a_bridge_at_once(world: World) -> None:
    """From its creation or connected later: addresses, VIPs, names, and one way out."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    await world.task(two, "web0", (net, "10.1.0.10/24"), service=web, serve=80)
    await make(one, "local", "10.7.0.0/24")
    beside = await world.container(one, "beside", "local", serve=80)

    def place(name: str, cidr: str) -> NetworkAttachment:
        endpoint = world._endpoint(net, name, cidr, one)
        endpoint.task_id = endpoint.name = name
        return NetworkAttachment(
            network_id=net.id, network_name="front", addresses=[cidr], mac=endpoint.mac
        )

    both = place("both", "10.1.0.20/24")
    await world.tell()
    request = SandboxRequest(attachments=[both], endpoints=[EndpointRequest("local")])
    first = await one.network.create_sandbox("both", request)
    later = await world.container(one, "later", "local")
    joined = place("later", "10.1.0.21/24")
    await world.tell()
    info = await one.network.connect("later", joined)
    assert (info.network_name, info.address, info.interface) == ("front", "10.1.0.21/24", "eth1")
    two.serve("tcp", 8000, "far")
    for sandbox, own in ((first, "10.1.0.20"), (later, "10.1.0.21")):
        assert await one.ask("tcp", "10.1.0.2", 80, netns=sandbox.netns) == [f"web0 {own}"]
        assert await reached(one, address(beside), 80, sandbox) == "beside"
        assert await one.ask("tcp", two.address, 8000, netns=sandbox.netns) == ["far 192.168.77.1"]
        assert (await resolve(one, sandbox, "web")).addresses == ["10.1.0.2"]
        assert (await resolve(one, sandbox, "beside")).addresses == [address(beside)]
        assert "eth2" not in await one.arun("ip", "link", netns=sandbox.netns)
    with pytest.raises(AlreadyExists, match="already on network front"):
        await one.network.connect("later", joined)
    await one.network.disconnect("later", net.id)
    assert await reached(one, "10.1.0.2", 80, later) == "error"
    assert (await resolve(one, later, "web")).addresses == []
    assert await reached(one, address(beside), 80, later) == "beside"
