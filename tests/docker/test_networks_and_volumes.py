"""Networks and volumes as Docker's clients ask for them, and the filters of their lists."""

from __future__ import annotations

from typing import Any

import pytest

from swarmlite.docker import network, networkservices, networkstatus, volume
from swarmlite.docker.fields import Fields
from swarmlite.docker.networkfilters import matcher, prune_matcher
from swarmlite.docker.reading import network as reading
from swarmlite.docker.reading.volume import volume as wanted_volume
from swarmlite.errors import InvalidSpec
from swarmlite.model.names import endpoint_id
from swarmlite.proto.control_pb2 import Filter
from swarmlite.proto.objects_pb2 import Network, Node, Service, Task
from swarmlite.proto.types_pb2 import PortConfig, TaskState
from swarmlite.proto.volumes_pb2 import LocalVolume


def spec(**sent: Any) -> Any:
    return reading.network_spec(Fields.of({"Name": "net", **sent}))


def test_a_network_is_of_this_host_unless_its_driver_or_scope_says_the_swarm() -> None:
    assert (spec().scope, spec().driver.name) == ("local", "bridge")
    assert (spec(Scope="local").scope, spec(Scope="local").driver.name) == ("local", "bridge")
    assert spec(Driver="overlay").scope == "swarm"
    assert (spec(Scope="swarm").driver.name, spec(Ingress=True).driver.name) == ("overlay",) * 2


def test_a_whole_network_is_read_in_whatever_case() -> None:
    made = spec(
        driver="bridge",
        enableipv6=True,
        INTERNAL=True,
        Labels={"a": "b"},
        Options={"com.docker.network.bridge.name": "br9"},
        ConfigFrom={"Network": "base"},
        IPAM={
            "Driver": "default",
            "Options": {},
            "Config": [
                {
                    "Subnet": "172.28.0.0/16",
                    "IPRange": "172.28.5.0/24",
                    "Gateway": "172.28.5.254",
                    "AuxiliaryAddresses": {"a": "172.28.1.5"},
                },
                {"Subnet": "2001:db8::/64"},
            ],
        },
    )
    assert (made.ipv6_enabled, made.internal, made.config_from) == (True, True, "base")
    assert dict(made.annotations.labels) == {"a": "b"}
    first, second = made.ipam.configs
    assert (first.subnet, first.range, first.gateway) == (
        "172.28.0.0/16",
        "172.28.5.0/24",
        "172.28.5.254",
    )
    assert dict(first.reserved) == {"a": "172.28.1.5"}
    assert second.ipv6 and not made.ipam.HasField("driver")


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"Name": "  "}, "invalid network name"),
        ({"Driver": "host"}, "only one instance of 'host'"),
        ({"EnableIPv4": False}, "EnableIPv4"),
        ({"Scope": "galaxy"}, "Scope: expected local or swarm"),
        ({"Driver": "overlay", "Scope": "local"}, "an overlay is of the swarm"),
        ({"Labels": ["a"]}, "Labels: expected an object, not a list"),
        ({"IPAM": {"Config": [{"Subnet": 3}]}}, r"IPAM.Config\[0\].Subnet: expected a string"),
    ],
)
def test_what_is_no_network_is_refused_with_its_field(sent: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        spec(**sent)


def test_a_place_on_a_network_keeps_addresses_aliases_links_and_options() -> None:
    sent = {
        "Container": "web",
        "EndpointConfig": {
            "Aliases": ["a"],
            "Links": ["db:database"],
            "IPAMConfig": {"IPv4Address": "10.1.0.5", "IPv6Address": "fd00::5"},
            "DriverOpts": {"x": "y"},
            "MacAddress": "02:42:0a:01:00:05",
        },
    }
    container, place = reading.connection(Fields.of(sent), "net")
    assert (container, place.network, list(place.aliases)) == ("web", "net", ["a"])
    assert (place.ipv4_address, place.ipv6_address) == ("10.1.0.5", "fd00::5")
    assert (list(place.links), dict(place.driver_options)) == (["db:database"], {"x": "y"})
    assert place.mac_address == "02:42:0a:01:00:05"
    with pytest.raises(InvalidSpec, match="Container"):
        reading.connection(Fields.of({}), "net")
    request = reading.disconnection(Fields.of({"Container": "web", "Force": True}), "net")
    assert (request.container, request.network, request.force) == ("web", "net", True)


def shown(name: str, network_id: str, driver: str = "bridge", **labels: str) -> dict[str, Any]:
    made = Network(id=network_id)
    made.spec.annotations.name, made.spec.driver.name = name, driver
    made.spec.annotations.labels.update(labels)
    made.spec.scope = "swarm" if driver == "overlay" else "local"
    return network.inspect(made)


NETWORKS = [
    shown("bridge", "aa11"),
    shown("front", "bb22", stack="one", tier="a=b"),
    shown("frontier", "cc33", "overlay", stack="two"),
]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": ["front"]}, ["front", "frontier"]),
        ({"name": ["^front$"]}, ["front"]),
        ({"id": ["bb"]}, ["front"]),
        ({"driver": ["overlay"]}, ["frontier"]),
        ({"scope": ["local"]}, ["bridge", "front"]),
        ({"scope": ["local", "swarm"]}, ["bridge", "front", "frontier"]),
        ({"type": ["custom"]}, ["front", "frontier"]),
        ({"type": ["builtin"]}, ["bridge"]),
        ({"label": ["stack"]}, ["front", "frontier"]),
        ({"label": ["stack=two"]}, ["frontier"]),
        ({"label": ["stack", "tier=a=b"]}, ["front"]),
        ({"label": ["stack=none"]}, []),
        ({"dangling": ["true"]}, ["front"]),
        ({"dangling": ["0"]}, ["bridge", "frontier"]),
        ({"name": ["front"], "driver": ["bridge"]}, ["front"]),
        ({"name": ["("]}, []),
    ],
)
def test_every_filter_holds_with_any_of_its_values_and_labels_with_all(
    filters: dict[str, list[str]], names: list[str]
) -> None:
    """One that was ignored would let a client remove the networks of others."""
    given = [Filter(key=key, values=values) for key, values in filters.items()]
    passes = matcher(given, lambda one: one["Id"] == "cc33")
    assert [one["Name"] for one in NETWORKS if passes(one)] == names


@pytest.mark.parametrize(
    "given", [{"colour": "red"}, {"dangling": "perhaps"}, {"type": "odd"}, {"scope": "here"}]
)
def test_an_unknown_filter_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidSpec, match="invalid filter"):
        matcher([Filter(key=k, values=[v]) for k, v in given.items()], lambda _: False)


def test_a_prune_takes_what_is_old_enough_and_labelled() -> None:
    one = Network()
    one.meta.created_at.seconds = 1_000
    one.spec.annotations.labels["a"] = "1"

    def passes(key: str, value: str) -> bool:
        return prune_matcher([Filter(key=key, values=[value])])(one)

    assert passes("until", "1001") and not passes("until", "1000")
    assert passes("label", "a=1") and not passes("label!", "a") and passes("label!", "a=2")
    with pytest.raises(InvalidSpec, match="invalid filter 'driver'"):
        passes("driver", "bridge")


def test_peers_and_services_say_who_is_on_a_network_of_the_swarm() -> None:
    front = Network(id="n1")
    nodes = [Node(id="node-one-and-more"), Node(id="node-two-and-more")]
    nodes[0].description.data_path_addr = "10.0.0.1"
    web = Service(id="s1")
    web.spec.annotations.name = "web"
    web.spec.task.networks.add(target="n1")
    web.endpoint.virtual_ips.add(network_id="n1", addr="10.1.0.2/24")
    web.endpoint.ports.add(target_port=80, published_port=8080, protocol=PortConfig.TCP)
    task = Task(id="t1", service_id="s1", node_id=nodes[0].id, slot=1)
    task.status.state = TaskState.TASK_STATE_RUNNING
    task.status.container.container_id = "c1"
    task.networks.add(network_id="n1", addresses=["10.1.0.5/24"])
    ended = Task(id="t0", service_id="s1", node_id=nodes[1].id, slot=1)
    ended.networks.add(network_id="n1", addresses=["10.1.0.4/24"])
    assert networkservices.peers(front, nodes, [task, ended]) == [
        {"Name": "node-one-and", "IP": "10.0.0.1"}
    ]
    found = networkservices.services(front, [web, Service()], [task, ended], nodes)
    assert found["web"]["VIP"] == "10.1.0.2"
    assert found["web"]["Ports"] == ["Target: 80, Publish: 8080, tcp"]
    assert found["web"]["Tasks"] == [
        {
            "Name": "web.1.t1",
            "EndpointID": endpoint_id("c1", "n1"),
            "EndpointIP": "10.1.0.5",
            "Info": {"Host IP": "10.0.0.1"},
        }
    ]


def test_addresses_of_a_network_of_the_swarm_are_held_until_their_tasks_have_ended() -> None:
    front = Network(id="n1")
    web = Service(id="s1")
    web.endpoint.virtual_ips.add(network_id="n1", addr="10.1.0.2/24")
    tasks = []
    for last, desired, state in (
        (5, TaskState.TASK_STATE_RUNNING, TaskState.TASK_STATE_RUNNING),
        (6, TaskState.TASK_STATE_SHUTDOWN, TaskState.TASK_STATE_RUNNING),
        (7, TaskState.TASK_STATE_SHUTDOWN, TaskState.TASK_STATE_SHUTDOWN),
        (8, TaskState.TASK_STATE_RUNNING, TaskState.TASK_STATE_FAILED),
    ):
        task = Task(desired_state=desired)
        task.status.state = state
        task.networks.add(network_id="n1", addresses=[f"10.1.0.{last}/24"])
        tasks.append(task)
    held = networkstatus.held_in_swarm(front, [web], tasks)
    assert sorted(held) == ["10.1.0.2/24", "10.1.0.5/24", "10.1.0.6/24"]


def test_a_volume_is_asked_for_and_shown() -> None:
    sent = {"Name": "v", "Driver": "local", "DriverOpts": {"type": "tmpfs"}, "Labels": {"a": "1"}}
    made = wanted_volume(Fields.of(sent))
    assert (made.name, made.driver, dict(made.options)) == ("v", "local", {"type": "tmpfs"})
    with pytest.raises(InvalidSpec, match="cluster volumes"):
        wanted_volume(Fields.of({"Name": "v", "ClusterVolumeSpec": {"AccessMode": {}}}))
    used = LocalVolume(name="v", used_by=["c1", "c2"], size_bytes=7)
    assert volume.usage(used)["UsageData"] == {"RefCount": 2, "Size": 7}
