"""The networks of one host: which there may be, their addresses, and that they outlive an agent."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from network_world import World

from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec, NotFound
from swarmlite.model import subnets
from swarmlite.network import ipam, ipv6
from swarmlite.network.encryption import plan
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import IPAMConfig


def spec(name: str, *given: str, driver: str = "", **options: str) -> NetworkSpec:
    made = NetworkSpec()
    made.annotations.name, made.driver.name = name, driver
    made.ipam.configs.extend(IPAMConfig(subnet=subnet) for subnet in given)
    made.ipv6_enabled = any(":" in subnet for subnet in given)
    made.driver.options.update(options)
    return made


async def test_every_host_has_bridge_host_and_none(world: World) -> None:
    """`bridge` on 172.17.0.0/16, as Docker's; none of them can be removed."""
    one = await world.add_host()
    networks = one.network.networks
    assert [n.spec.annotations.name for n in networks.list()] == ["bridge", "host", "none"]
    (config,) = networks.get("bridge").ipam.configs
    assert (config.subnet, config.gateway) == ("172.17.0.0/16", "172.17.0.1")
    for name in ("bridge", "host", "none"):
        with pytest.raises(FailedPrecondition, match="pre-defined"):
            await networks.remove(name)


async def test_networks_outlive_the_agent_and_are_found_by_name_id_and_prefix(
    world: World,
) -> None:
    """One file each; removed, it is gone for the next agent too."""
    one = await world.add_host()
    made = await one.network.networks.create(spec("front"))
    gone = await one.network.networks.create(spec("back"))
    await one.network.networks.remove("back")
    await one.network.close()
    await one.start()
    networks = one.network.networks
    assert networks.get("front") == networks.get(made.id) == networks.get(made.id[:12]) == made
    with pytest.raises(NotFound, match="network back not found"):
        networks.get("back")
    assert not (one.paths.networks_dir / f"{gone.id}.json").exists()


async def test_a_configuration_stays_while_a_network_is_made_of_it(world: World) -> None:
    """Whether that named it or said its id."""
    one = await world.add_host()
    networks = one.network.networks
    base = spec("base", "10.61.0.0/24")
    base.config_only = True
    made = await networks.create(base)
    for source in ("base", made.id[:12]):
        wanted = spec("site")
        wanted.config_from = source
        await networks.create(wanted)
        with pytest.raises(FailedPrecondition, match='network "base" is in use by network site'):
            await networks.remove("base")
        await networks.remove("site")
    await networks.remove("base")


async def test_subnets_are_chosen_apart_from_the_hosts_routes_and_each_other(world: World) -> None:
    """The next pool; a subnet that overlaps is refused with both names."""
    one = await world.add_host()
    await one.arun("ip", "route", "add", "blackhole", "172.20.0.0/16")
    networks = one.network.networks
    subnets = [(await networks.create(spec(f"n{n}"))).ipam.configs[0].subnet for n in range(3)]
    assert "172.20.0.0/16" not in subnets
    assert len(set(subnets)) == 3
    with pytest.raises(FailedPrecondition, match=r"172.17.5.0/24 overlaps .* of network bridge"):
        await networks.create(spec("wrong", "172.17.5.0/24"))
    with pytest.raises(AlreadyExists, match="name n0"):
        await networks.create(spec("n0"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (spec("a/b"), "letters, digits"),
        (spec("x", driver="weave"), "network driver 'weave'"),
        (spec("x", "10.0.0.0"), "is not a CIDR"),
        (spec("x", "10.0.0.9/24"), "has host bits set, use 10.0.0.0/24"),
        (spec("x", "127.0.5.0/24"), "is not a range of host addresses"),
        (spec("x", "169.254.169.0/24"), "is not a range of host addresses"),
        (spec("x", "64.0.0.0/2"), "is not a range of host addresses"),
        (spec("x", "224.0.0.0/3"), "is not a range of host addresses"),
        (spec("x", "fe00::/7"), "is not a range of host addresses"),
        (spec("x", "fd53:4c00::/64"), "which nodes use for containers' way out of their host"),
        (spec("x", "10.0.0.0/31"), "too small"),
        (spec("x", "10.0.0.0/24", "10.1.0.0/24"), "one IPv4 subnet"),
        (spec("x", **{"com.docker.network.driver.mtu": "x"}), "is not a number"),
        (spec("x", **{"com.docker.network.bridge.enable_icc": "maybe"}), "neither true nor false"),
        (spec("x", **{"com.docker.network.bridge.name": "a" * 20}), "name of an interface"),
        (spec("x", driver="macvlan", macvlan_mode="other"), "is not one of bridge"),
        (spec("x", "fd00::/64", **{"com.docker.network.driver.mtu": "1000"}), "too small for"),
    ],
)
async def test_what_a_network_cannot_be_is_refused_in_one_line(
    world: World, wrong: NetworkSpec, words: str
) -> None:
    """And nothing of it is kept."""
    one = await world.add_host()
    with pytest.raises(InvalidSpec, match=words):
        await one.network.networks.create(wrong)
    assert len(one.network.networks.list()) == 3


def test_addresses_go_round_and_leave_out_what_is_reserved() -> None:
    """The gateway, auxiliary addresses and those in use; within --ip-range; then none is left."""
    asked = IPAMConfig(subnet="10.5.0.0/24", range="10.5.0.8/30", gateway="10.5.0.254")
    asked.reserved["printer"] = "10.5.0.9"
    config = ipam.resolve(asked)
    used: list[str] = []
    for _ in range(3):
        used.append(ipam.next_free(config, used, used[-1] if used else None))
    assert used == ["10.5.0.8", "10.5.0.10", "10.5.0.11"]
    with pytest.raises(ipam.ResourceExhausted, match="no free address"):
        ipam.next_free(config, used, used[-1])
    assert ipam.next_free(config, used[1:], used[-1]) == "10.5.0.8"
    wide = ipam.resolve(IPAMConfig(subnet="fd00::/64"))
    assert (wide.gateway, ipam.next_free(wide, ["fd00::2"], None)) == ("fd00::1", "fd00::3")


async def test_containers_that_start_side_by_side_keep_their_network_once(world: World) -> None:
    """The first containers of a host write the network `bridge` down, all of them at once."""
    one = await world.add_host()
    networks = one.network.networks
    bridge = networks.get("bridge").id
    await asyncio.gather(*(networks.keep(bridge) for _ in range(8)))
    assert [path.name for path in one.paths.networks_dir.iterdir()] == [f"{bridge}.json"]


def test_the_prefixes_of_a_nodes_own_wiring_are_those_that_no_network_may_have() -> None:
    own = {ipaddress.ip_network(text) for text in subnets.OWN}
    every = ipaddress.ip_network("0.0.0.0/0")
    assert own == {ipv6.egress_subnet(every), ipv6.ingress_subnet(every), plan.SUBNET}
