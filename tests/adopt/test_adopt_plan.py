"""What is made of another swarm is decided before anything is, with the reason for what is not."""

from __future__ import annotations

from typing import Any

from swarmlite.adopt.plan import Here, Plan, There, plan
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import PortConfig

IMAGE = "registry:5000/a:1@sha256:" + "0" * 64


def service(name: str, **template: Any) -> dict[str, Any]:
    container = {"Image": IMAGE, **template.pop("ContainerSpec", {})}
    return {"ID": f"id-{name}", "Spec": {
        "Name": name, "Mode": {"Replicated": {"Replicas": 2}},
        "TaskTemplate": {"ContainerSpec": container, **template},
    }}  # fmt: skip


def swarm(**more: Any) -> There:
    return There(
        networks=[
            {"Id": "n0", "Name": "ingress", "Scope": "swarm", "Driver": "overlay", "Ingress": True},
            {
                "Id": "n1", "Name": "front", "Scope": "swarm", "Driver": "overlay",
                "Attachable": True, "Labels": {"a": "b"}, "ConfigFrom": {"Network": ""},
                "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.9.0.0/24"}]},
                "Options": {"com.docker.network.driver.overlay.vxlanid_list": "4097"},
            },
        ],
        secrets=[{"ID": "s1", "Spec": {"Name": "key", "Labels": {"x": "y"}}}],
        configs=[{"ID": "c1", "Spec": {"Name": "conf", "Data": "aGk="}}],
        services=[
            service(
                "web",
                Networks=[{"Target": "n1", "Aliases": ["w"]}],
                ContainerSpec={
                    "Secrets": [{"SecretID": "s1", "SecretName": "key", "File": {"Name": "key"}}],
                    "Configs": [{"ConfigID": "c1", "ConfigName": "conf", "File": {"Name": "/c"}}],
                },
            )
        ],
        **more,
    )  # fmt: skip


def decided(there: There, here: Here | None = None, **data: bytes) -> Plan:
    return plan(there, here or Here(), data.get)


def test_everything_is_made_with_references_by_name() -> None:
    made = decided(swarm(), key=b"hidden")
    assert [n.annotations.name for n in made.networks] == ["front"]
    network = made.networks[0]
    assert network.attachable and not network.driver.options
    assert network.ipam.configs[0].subnet == "10.9.0.0/24"
    assert (made.secrets[0].data, made.configs[0].data) == (b"hidden", b"hi")
    assert dict(made.secrets[0].annotations.labels) == {"x": "y"}
    task = made.services[0].task
    assert task.networks[0].target == "front"
    assert (task.container.secrets[0].secret_id, task.container.secrets[0].secret_name) == (
        "", "key",
    )  # fmt: skip
    assert (task.container.configs[0].config_id, task.container.configs[0].config_name) == (
        "", "conf",
    )  # fmt: skip
    assert not made.refused


def test_a_secret_without_data_is_not_made_nor_is_what_needs_it() -> None:
    made = decided(swarm())
    assert not made.services
    assert made.refused == {
        "secret key": "its data are not known: no API gives them back",
        "service web": "it needs secret key",
    }


def test_what_is_here_already_is_left_as_it_is() -> None:
    made = decided(
        swarm(), Here(networks={"front"}, secrets={"key"}, configs={"conf"}, services={"web"})
    )
    assert made.empty
    assert made.present == ["network front", "secret key", "config conf", "service web"]


def test_what_is_not_honoured_here_says_so() -> None:
    there = There(
        services=[
            service("ok"),
            service("win", ContainerSpec={"Image": "x", "Isolation": "hyperv"}),
            {"ID": "p", "Spec": {"Name": "plug", "TaskTemplate": {"PluginSpec": {"Name": "x"}}}},
            {"ID": "odd", "Spec": "not an object at all"},
        ]
    )  # fmt: skip
    there.services.pop()
    made = decided(there)
    assert [s.annotations.name for s in made.services] == ["ok"]
    assert made.refused["service win"] == "--isolation: not supported yet"
    assert "plugins do not run as services here" in made.refused["service plug"]


def test_a_port_that_a_service_here_publishes_is_not_taken_from_it() -> None:
    def published(name: str, mode: str) -> dict[str, Any]:
        sent = service(name)
        port = {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": mode}
        sent["Spec"]["EndpointSpec"] = {"Ports": [port]}
        return sent

    there = There(services=[published("web", "ingress"), published("each", "host")])
    taken = PortConfig(published_port=8080, publish_mode=PortConfig.HOST)
    made = decided(there, Here(ports=[(taken, "mine")]))
    assert made.refused == {"service web": "ports that services here publish: 8080 (mine)"}
    assert [s.annotations.name for s in made.services] == ["each"]
    assert len(decided(there).services) == 2


def test_what_a_person_has_to_see_to_is_said() -> None:
    node = Node(id="x")
    node.description.hostname = "one"
    node.spec.annotations.labels["kept"] = "mine"
    there = There(
        nodes=[
            {"ID": "a", "Spec": {"Labels": {"zone": "a", "kept": "theirs"}},
             "Description": {"Hostname": "one"}},
            {"ID": "b", "Spec": {"Labels": {"zone": "b"}}, "Description": {"Hostname": "two"}},
            {"ID": "c", "Spec": {}, "Description": {"Hostname": "three"}},
        ],
        services=[
            service(
                "db",
                Placement={"Constraints": ["node.labels.disk==ssd"]},
                ContainerSpec={"Mounts": [
                    {"Type": "volume", "Source": "data", "Target": "/d"},
                    {"Type": "bind", "Source": "/srv", "Target": "/s"},
                ]},
            )
        ],
    )  # fmt: skip
    made = decided(there, Here(nodes=[node]))
    assert made.labels == {"one": {"zone": "a"}}
    assert made.notes == [
        "node two is not here; it has the labels zone=b",
        "service db: the data of volume data stay on its old nodes",
        "service db: /srv must be there on the new nodes",
        "service db: no node here satisfies node.labels.disk==ssd",
    ]
