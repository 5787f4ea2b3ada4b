"""macvlan and ipvlan: containers on the network of the host's own interface."""

from __future__ import annotations

import pytest
from network_world import Host, World, hanging, resolve

from swarmlite.errors import FailedPrecondition
from swarmlite.network.api import EndpointRequest
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import IPAMConfig

SUBNET = "192.168.77.0/24"


async def make(host: Host, driver: str, **options: str) -> None:
    spec = NetworkSpec()
    spec.annotations.name, spec.driver.name = "lan", driver
    spec.driver.options.update(options)
    spec.ipam.configs.append(
        IPAMConfig(subnet=SUBNET, gateway="192.168.77.254", range="192.168.77.128/25")
    )
    await host.network.networks.create(spec)


async def lacking(world: World, driver: str) -> str:
    """What this machine's kernel lacks of a driver; empty if nothing."""
    one = await world.add_host()
    await make(one, driver, parent="eth0")
    try:
        await world.container(one, "probe", "lan")
    except FailedPrecondition as error:
        assert f"no {driver}" in str(error)
        return str(error)
    return ""


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
async def test_containers_are_hosts_of_the_lan(world: World, driver: str) -> None:
    """Reached from another machine by an address of the LAN; names on the network itself."""
    if reason := await lacking(world, driver):
        pytest.skip(reason)
    one, two = world.hosts[0], await world.add_host()
    _, probe = world.sandboxes["probe"]
    (info,) = probe.endpoints
    assert (info.address, info.gateway) == ("192.168.77.128/24", "192.168.77.254")
    web = await world.container(
        one, "web", EndpointRequest("lan", address="192.168.77.200"), serve=80
    )
    assert await two.ask("tcp", "192.168.77.200", 80) == ["web 192.168.77.2"]
    assert await one.ask("tcp", "192.168.77.200", 80, netns=probe.netns) == ["web 192.168.77.128"]
    assert (await resolve(one, probe, "web.lan")).addresses == ["192.168.77.200"]
    assert "default via 192.168.77.254" in await one.arun("ip", "route", netns=web.netns)
    await one.network.reconcile()
    await one.network.disconnect("probe", "lan")
    assert "eth0" not in await one.arun("ip", "link", netns=probe.netns)
    info = await one.network.connect("probe", EndpointRequest("lan"))
    assert await two.ask("tcp", "192.168.77.200", 80) == ["web 192.168.77.2"]
    await one.network.delete_sandbox("probe")
    one.stop()
    await one.network.delete_sandbox("web")
    await one.network.networks.remove("lan")
    assert "eth0" in await one.arun("ip", "link")


async def test_an_address_of_the_lan_is_free_before_its_last_connection(world: World) -> None:
    """Its namespace lasts; the interface does not, or no second could have the same MAC."""
    if reason := await lacking(world, "macvlan"):
        pytest.skip(reason)
    one, two = world.hosts[0], await world.add_host()
    two.serve("tcp", 80, "far")
    place = EndpointRequest("lan", address="192.168.77.200")
    goes = await world.container(one, "goes", place)
    async with hanging(one, "goes", goes, two.address):
        pass
    await one.arun("ip", "link", "set", "eth0", "up")
    await world.container(one, "comes", place, serve=80)
    assert await two.ask("tcp", "192.168.77.200", 80) == ["comes 192.168.77.2"]


async def test_a_vlan_is_made_as_parent_and_goes_with_its_network(world: World) -> None:
    """eth0.42 that is not there; one without a base is refused."""
    if reason := await lacking(world, "macvlan"):
        pytest.skip(reason)
    one = world.hosts[0]
    await one.network.delete_sandbox("probe")
    await one.network.networks.remove("lan")
    await make(one, "macvlan", parent="eth0.42")
    try:
        await world.container(one, "web", "lan")
    except FailedPrecondition as error:
        pytest.skip(str(error))
    assert "eth0.42@eth0" in await one.arun("ip", "link")
    await one.network.delete_sandbox("web")
    await one.network.networks.remove("lan")
    assert "eth0.42" not in await one.arun("ip", "link")


async def test_a_parent_that_is_not_there_is_said(world: World) -> None:
    """In one line; nothing of the sandbox stays."""
    one = await world.add_host()
    await make(one, "macvlan", parent="nothing0")
    with pytest.raises(FailedPrecondition, match="this host has no interface nothing0"):
        await world.container(one, "web", "lan")
    assert one.network.sandboxes() == []
