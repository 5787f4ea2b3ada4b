"""Plain containers on the networks of their host."""

from __future__ import annotations

from typing import Any

import grpc
from engine_host import SLEEP, EngineHost, until

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto import hostnetworks_pb2 as net
from swarmlite.proto.control_pb2 import GetRequest, ListRequest, RemoveRequest
from swarmlite.proto.hostnetworks_pb2_grpc import HostNetworksStub
from swarmlite.proto.specs_pb2 import ContainerSpec, NetworkSpec
from swarmlite.proto.types_pb2 import PortConfig

FAILED = grpc.StatusCode.FAILED_PRECONDITION


def networks(host: EngineHost) -> Any:
    assert host.node.engine  # opens the channel
    return HostNetworksStub(host.node._channel)


async def test_every_mode_of_the_network(host: EngineHost) -> None:
    default = await host.run("hostname; cat /etc/hosts; " + SLEEP)
    found = await host.inspect(default)
    assert found.networks[0].network_name == "bridge"
    address = found.networks[0].ipv4_address.partition("/")[0]

    async def written() -> bool:
        return f"{address}\t{default[:12]}" in host.output(default)

    await until(written)
    joined = await host.run("hostname; ip -o addr", network_mode=f"container:{default[:12]}")
    alone = await host.run("ip -o link", network_mode="none")
    hosts = await host.run("ip -o addr; hostname", network_mode="host")
    for container in (joined, alone, hosts):
        assert (await host.wait(container)).exit_code == 0
    assert address in host.output(joined)
    assert default[:12] in host.output(joined)
    assert "eth0" not in host.output(alone)
    assert "10.250.0.2" in host.output(hosts)
    await host.call("Stop", default)
    said = await host.refused(host.call("Start", joined), FAILED)
    assert "cannot join network of a non running container" in said


async def test_names_on_a_network_of_ones_own_and_connections_made_later(
    host: EngineHost,
) -> None:
    spec = NetworkSpec(annotations={"name": "mine"})
    made = (await networks(host).Create(net.CreateHostNetworkRequest(spec=spec))).network
    one = await host.run(SLEEP, name="one", network_mode="mine")
    two = await host.run(SLEEP, name="two")
    await networks(host).Connect(
        net.ConnectRequest(
            container="two", endpoint=pb.EndpointConfig(network="mine", aliases=["second"])
        )
    )
    found = await host.inspect(two)
    assert [state.network_name for state in found.networks] == ["bridge", "mine"]
    shown = await networks(host).Inspect(GetRequest(ref="mine"))
    assert set(shown.containers) == {one, two}
    assert shown.container_names[two] == "two"
    asks = await host.run(
        "ping -c1 -W5 second && ping -c1 -W5 one", network_mode="mine", name="asks"
    )
    assert (await host.wait(asks)).exit_code == 0, host.output(asks)
    in_use = networks(host).Remove(RemoveRequest(ref="mine"))
    assert "in use" in await host.refused(in_use, FAILED)
    twice = networks(host).Connect(
        net.ConnectRequest(container="two", endpoint=pb.EndpointConfig(network=made.id))
    )
    await host.refused(twice, grpc.StatusCode.ALREADY_EXISTS)
    await networks(host).Disconnect(net.DisconnectRequest(container="two", network="mine"))
    assert [s.network_name for s in (await host.inspect(two)).networks] == ["bridge"]
    again = networks(host).Disconnect(net.DisconnectRequest(container="two", network="mine"))
    assert "is not connected to network mine" in await host.refused(again, FAILED)
    forced = net.DisconnectRequest(container="two", network="mine", force=True)
    await host.refused(networks(host).Disconnect(forced), FAILED)  # as Docker has it
    forced.container = "gone"
    await networks(host).Disconnect(forced)
    await host.call("Remove", "one", force=True)
    await host.call("Remove", "asks")
    pruned = await networks(host).Prune(pb.PruneRequest())
    assert list(pruned.deleted) == ["mine"]
    listed = (await networks(host).List(ListRequest())).networks
    assert {n.network.spec.annotations.name for n in listed} == {"bridge", "host", "none"}


async def test_a_running_container_is_found_by_its_new_name_at_once(host: EngineHost) -> None:
    spec = NetworkSpec(annotations={"name": "mine"})
    await networks(host).Create(net.CreateHostNetworkRequest(spec=spec))
    one = await host.run(SLEEP, name="old", network_mode="mine")
    asks = await host.run(SLEEP, network_mode="mine")
    assert await host.exec(asks, "nslookup", "old") == 0
    await host.call("Rename", one, name="new")
    assert await host.exec(asks, "nslookup", "new") == 0
    assert await host.exec(asks, "nslookup", "old") != 0
    assert await host.exec(asks, "nslookup", one[:12]) == 0
    state = (await host.inspect(one)).networks[0]
    assert list(state.dns_names) == ["new", one[:12]]
    await host.restart_engine()  # and what was written down says the same
    assert await host.exec(asks, "nslookup", "new") == 0
    assert await host.exec(asks, "nslookup", "old") != 0


async def test_what_was_connected_while_stopped_is_there_at_the_next_start(
    host: EngineHost,
) -> None:
    spec = NetworkSpec(annotations={"name": "later"})
    await networks(host).Create(net.CreateHostNetworkRequest(spec=spec))
    container = await host.create(SLEEP, name="late")
    await networks(host).Connect(
        net.ConnectRequest(container="late", endpoint=pb.EndpointConfig(network="later"))
    )
    await networks(host).Disconnect(net.DisconnectRequest(container="late", network="bridge"))
    await host.restart_engine()
    await host.call("Start", "late")
    found = await host.inspect(container)
    assert [state.network_name for state in found.networks] == ["later"]


async def test_published_ports_answer_and_are_free_again(host: EngineHost) -> None:
    port = PortConfig(target_port=8000, published_port=8123)
    serve = ContainerSpec(
        command=["sh", "-c", "mkdir /w; echo found > /w/index.html; httpd -f -p 8000 -h /w"]
    )
    container = await host.run(ports=[port], spec=serve)
    assert (await host.inspect(container)).ports[0].published_port == 8123
    client = await host.run(
        "for i in 1 2 3 4 5; do wget -qO- http://10.250.0.2:8123/ && exit; sleep 0.3; done; exit 1",
        network_mode="host",
    )
    assert (await host.wait(client)).exit_code == 0
    assert "found" in host.output(client)
    second = await host.create(ports=[port], spec=serve)
    assert "8123" in await host.refused(host.call("Start", second), grpc.StatusCode.ALREADY_EXISTS)
    assert (await host.inspect(second)).state.exit_code == 128
    await host.call("Remove", container, force=True)
    await host.call("Start", second)
    any_port = await host.run(
        SLEEP, publish_all=True, exposed_ports=["7000-7001/tcp"], network_mode="bridge"
    )
    bound = (await host.inspect(any_port)).ports
    assert [p.target_port for p in bound] == [7000, 7001]
    assert all(p.published_port for p in bound)


async def test_link_local_addresses_are_on_the_interface_and_shown(host: EngineHost) -> None:
    place = pb.EndpointConfig(network="bridge", link_local_ips=["169.254.8.8"])
    container = await host.run("ip -o addr show eth0; " + SLEEP, networks=[place])

    async def written() -> bool:
        return "169.254.8.8/16" in host.output(container)

    await until(written)
    state = (await host.inspect(container)).networks[0]
    assert list(state.config.link_local_ips) == ["169.254.8.8"]
    wrong = pb.EndpointConfig(network="bridge", link_local_ips=["10.0.0.1"])
    config = host.config("true", networks=[wrong])
    made = await host.containers.Create(pb.CreateContainerRequest(config=config))
    said = await host.refused(host.call("Start", made.id), grpc.StatusCode.INVALID_ARGUMENT)
    assert "link-local address 10.0.0.1" in said
