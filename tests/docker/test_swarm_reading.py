"""What clients send of the swarm, nodes, secrets and configs; and what an older client may mean."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from swarmlite.docker import cluster, services
from swarmlite.docker.fields import Fields
from swarmlite.docker.reading import payloads, serviceversions, swarm
from swarmlite.docker.reading.node import node_spec
from swarmlite.docker.reading.service import service_spec
from swarmlite.errors import InvalidSpec
from swarmlite.model import defaults
from swarmlite.model.validate import validate_cluster
from swarmlite.proto.objects_pb2 import Cluster, Config, Node, Secret
from swarmlite.proto.specs_pb2 import ServiceSpec

SECOND = 1_000_000_000
SPEC: dict[str, Any] = {
    "Name": "default",
    "Labels": {"a": "B"},
    "Orchestration": {"TaskHistoryRetentionLimit": 7},
    "Raft": {
        "SnapshotInterval": 5000,
        "KeepOldSnapshots": 2,
        "LogEntriesForSlowFollowers": 1200,
        "ElectionTick": 20,
        "HeartbeatTick": 3,
    },
    "Dispatcher": {"HeartbeatPeriod": 3 * SECOND},
    "CAConfig": {"NodeCertExpiry": 7776000 * SECOND, "ForceRotate": 6},
    "EncryptionConfig": {"AutoLockManagers": False},
    "TaskDefaults": {"LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}}},
}


def test_a_swarm_s_spec_comes_back_as_it_was_sent() -> None:
    spec = swarm.cluster_spec(Fields.of(SPEC))
    validate_cluster(spec)
    assert cluster.cluster(Cluster(spec=spec))["Spec"] == SPEC


def test_what_a_swarm_s_spec_does_not_say_has_docker_s_defaults() -> None:
    spec = defaults.fill_cluster(swarm.cluster_spec(Fields.of({})))
    shown = cluster.cluster(Cluster(spec=spec))["Spec"]
    assert shown["Orchestration"]["TaskHistoryRetentionLimit"] == 5
    assert shown["Dispatcher"]["HeartbeatPeriod"] == 5 * SECOND
    assert shown["Raft"]["SnapshotInterval"] == 10000
    assert shown["TaskDefaults"] == {}


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"TaskDefaults": {"LogDriver": {"Name": "odd"}}}, "unknown log driver"),
    ],
)
def test_what_swarms_do_not_honour_yet_is_refused_by_its_name(
    sent: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidSpec, match=words):
        validate_cluster(swarm.cluster_spec(Fields.of(sent)))


def test_a_swarm_has_one_name() -> None:
    with pytest.raises(InvalidSpec, match='must be named "default"'):
        swarm.cluster_spec(Fields.of({"Name": "other"}))


def test_an_init_is_swarmlited_s_message_and_the_rest_of_the_spec() -> None:
    wanted = swarm.init(
        Fields.of(
            {
                "ListenAddr": "0.0.0.0:2377",
                "AdvertiseAddr": "10.0.0.1",
                "DataPathPort": 4790,
                "DefaultAddrPool": ["10.20.0.0/16"],
                "SubnetSize": 26,
                "Availability": "drain",
                "Spec": SPEC,
            }
        )
    )
    assert wanted.message == {
        "op": "init",
        "listen_addr": "0.0.0.0:2377",
        "advertise_addr": "10.0.0.1",
        "availability": "drain",
        "data_path_port": 4790,
        "default_addr_pool": ["10.20.0.0/16"],
        "default_addr_pool_mask_length": 26,
        "cert_expiry_s": 7776000.0,
        "dispatcher_heartbeat_s": 3.0,
        "task_history_limit": 7,
        "ca_force_rotate": 6,
    }
    assert wanted.said
    assert not swarm.init(Fields.of({"ListenAddr": "eth0"})).said


def test_a_join_names_its_first_remote_with_a_port() -> None:
    message = swarm.join(Fields.of({"RemoteAddrs": ["10.0.0.1"], "JoinToken": "T"}))
    assert message == {"op": "join", "remote": "10.0.0.1:2377", "token": "T"}
    with pytest.raises(InvalidSpec, match="at least 1 RemoteAddr"):
        swarm.join(Fields.of({"RemoteAddrs": []}))


def test_a_node_s_spec_says_role_and_availability() -> None:
    sent = {"Name": "n", "Labels": {"A": "b"}, "Role": "manager", "Availability": "drain"}
    spec = node_spec(Fields.of(sent))
    assert cluster.node(Node(spec=spec))["Spec"] == sent
    with pytest.raises(InvalidSpec, match="Availability"):
        node_spec(Fields.of({"Role": "worker"}))
    with pytest.raises(InvalidSpec, match="Role: 'leader' is not one of worker, manager"):
        node_spec(Fields.of({**sent, "Role": "leader"}))


def test_secrets_and_configs_come_in_base64_and_secrets_do_not_go_out() -> None:
    sent = {
        "Name": "s",
        "Labels": {"a": "b"},
        "Data": base64.b64encode(b"\0\xff data").decode(),
        "Templating": {"Name": "golang"},
    }
    config = payloads.config_spec(Fields.of(sent))
    assert config.data == b"\0\xff data"
    assert cluster.config(Config(spec=config))["Spec"] == sent
    secret = payloads.secret_spec(Fields.of({**sent, "Driver": {"Name": "vault"}}))
    assert secret.data == b"\0\xff data"
    shown = cluster.secret(Secret(spec=secret))
    assert shown["Spec"] == {
        "Name": "s",
        "Labels": {"a": "b"},
        "Driver": {"Name": "vault"},
        "Templating": {"Name": "golang"},
    }
    with pytest.raises(InvalidSpec) as refused:
        payloads.secret_spec(Fields.of({"Data": "hunter2!"}))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("path", "since"), serviceversions.SINCE.items())
def test_what_an_older_client_cannot_mean_is_not_heard_from_it(path: str, since: int) -> None:
    from test_service_reading import WHOLE

    sent = dict(WHOLE)
    if path.endswith("_job"):
        sent["Mode"] = {path.title().replace("_", ""): {}}
    if "credential_spec" in path:
        sent = _with_credential(sent)
    whole = service_spec(Fields.of(sent))
    assert _has(whole, path.split("."))
    assert _has(service_spec(Fields.of(sent), since), path.split("."))
    older = service_spec(Fields.of(sent), since - 1)
    assert not _has(older, path.split("."))
    assert older.WhichOneof("mode")
    services.service_spec(older)


def _with_credential(sent: dict[str, Any]) -> dict[str, Any]:
    template = dict(sent["TaskTemplate"])
    template["ContainerSpec"] = {
        **template["ContainerSpec"],
        "Privileges": {"CredentialSpec": {"Config": "c"}},
    }
    return {**sent, "TaskTemplate": template}


def _has(message: Any, path: list[str]) -> bool:
    name, *rest = path
    value = getattr(message, name)
    if rest:
        items = value if hasattr(value, "extend") else [value]
        return any(_has(item, rest) for item in items)
    return name in {field.name for field, _ in message.ListFields()}


def test_networks_of_the_service_itself_are_read_from_older_clients_only() -> None:
    sent = {"Networks": [{"Target": "front"}]}

    def targets(minor: int) -> list[str]:
        spec: ServiceSpec = service_spec(Fields.of(sent), minor)
        return [network.target for network in spec.task.networks]

    assert targets(24) == targets(43) == ["front"]
    assert targets(44) == []
    both = {**sent, "TaskTemplate": {"Networks": [{"Target": "back"}]}}
    assert [n.target for n in service_spec(Fields.of(both), 24).task.networks] == ["back"]
