"""What clients send of a service comes out as our spec, and goes back as it was shown."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from swarmlite.docker import services
from swarmlite.docker.fields import Fields
from swarmlite.docker.reading.kept import carried_over
from swarmlite.docker.reading.service import service_spec
from swarmlite.errors import InvalidSpec
from swarmlite.model import defaults
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import Mount, PortConfig, RestartPolicy, UpdateConfig

SECOND = 1_000_000_000
WHOLE: dict[str, Any] = {
    "Name": "web",
    "Labels": {"Tier": "Front"},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "nginx:1@sha256:" + "0" * 64,
            "Labels": {"a": "b"},
            "Command": ["sh"],
            "Args": ["-c", "true"],
            "Hostname": "h",
            "Env": ["A=1"],
            "Dir": "/srv",
            "User": "1:2",
            "Groups": ["7"],
            "Privileges": {
                "CredentialSpec": {"File": "x"},
                "SELinuxContext": {
                    "Disable": True, "User": "u", "Role": "r", "Type": "t", "Level": "l",
                },
                "Seccomp": {"Mode": "custom", "Profile": base64.b64encode(b"{}").decode()},
                "AppArmor": {"Mode": "disabled"},
                "NoNewPrivileges": True,
            },
            "TTY": True,
            "OpenStdin": True,
            "ReadOnly": True,
            "Mounts": [
                {
                    "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True,
                    "Consistency": "cached",
                    "BindOptions": {
                        "Propagation": "rslave", "NonRecursive": True, "CreateMountpoint": True,
                        "ReadOnlyNonRecursive": True, "ReadOnlyForceRecursive": True,
                    },
                },
                {
                    "Type": "volume", "Source": "v", "Target": "/v",
                    "VolumeOptions": {
                        "NoCopy": True, "Labels": {"l": "1"}, "Subpath": "s",
                        "DriverConfig": {"Name": "local", "Options": {"o": "1"}},
                    },
                },
                {
                    "Type": "tmpfs", "Target": "/t",
                    "TmpfsOptions": {
                        "SizeBytes": 1024, "Mode": 448, "Options": [["noexec"], ["uid", "1"]],
                    },
                },
                {"Type": "image", "Source": "i", "Target": "/i", "ImageOptions": {"Subpath": "s"}},
            ],
            "StopSignal": "SIGINT",
            "StopGracePeriod": 0,
            "Healthcheck": {
                "Test": ["CMD", "true"], "Interval": SECOND, "Timeout": 2 * SECOND, "Retries": 3,
                "StartPeriod": 4 * SECOND, "StartInterval": 5 * SECOND,
            },
            "Hosts": ["10.0.0.1 db"],
            "DNSConfig": {"Nameservers": ["8.8.8.8"], "Search": ["x"], "Options": ["ndots:1"]},
            "Secrets": [
                {
                    "File": {"Name": "s", "UID": "1", "GID": "2", "Mode": 256},
                    "SecretID": "i", "SecretName": "n",
                }
            ],
            "OomScoreAdj": -5,
            "Configs": [
                {
                    "File": {"Name": "/c", "UID": "0", "GID": "0", "Mode": 292},
                    "ConfigID": "i", "ConfigName": "n",
                },
                {"Runtime": {}, "ConfigID": "j", "ConfigName": "m"},
            ],
            "Isolation": "default",
            "Init": False,
            "Sysctls": {"net.core.somaxconn": "9"},
            "CapabilityAdd": ["CAP_NET_ADMIN"],
            "CapabilityDrop": ["CAP_CHOWN"],
            "Ulimits": [{"Name": "nofile", "Hard": 2, "Soft": 1}],
        },
        "Resources": {
            "Limits": {"NanoCPUs": 1, "MemoryBytes": 2, "Pids": 3},
            "Reservations": {
                "NanoCPUs": 4,
                "MemoryBytes": 5,
                "GenericResources": [
                    {"NamedResourceSpec": {"Kind": "gpu", "Value": "a"}},
                    {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}},
                ],
            },
            "SwapBytes": -1,
            "MemorySwappiness": 0,
        },
        "RestartPolicy": {
            "Condition": "on-failure", "Delay": 0, "MaxAttempts": 3, "Window": SECOND,
        },
        "Placement": {
            "Constraints": ["node.role==manager"],
            "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}],
            "MaxReplicas": 2,
            "Platforms": [{"Architecture": "amd64", "OS": "linux"}],
        },
        "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
        "Networks": [{"Target": "n", "Aliases": ["web"], "DriverOpts": {"o": "1"}}],
        "ForceUpdate": 4,
        "Runtime": "container",
    },
    "Mode": {"Replicated": {"Replicas": 0}},
    "UpdateConfig": {
        "Parallelism": 0, "Delay": SECOND, "FailureAction": "rollback", "Monitor": SECOND,
        "MaxFailureRatio": 0.25, "Order": "start-first",
    },
    "RollbackConfig": {
        "Parallelism": 2, "FailureAction": "continue", "Monitor": SECOND, "MaxFailureRatio": 0,
        "Order": "stop-first",
    },
    "EndpointSpec": {
        "Mode": "dnsrr",
        "Ports": [
            {
                "Name": "http", "Protocol": "udp", "TargetPort": 80, "PublishedPort": 8080,
                "PublishMode": "host",
            }
        ],
    },
}  # fmt: skip
"""Every field of the API's description, none with the value that an absent one has."""


def read(sent: dict[str, Any]) -> ServiceSpec:
    return service_spec(Fields.of(sent))


def test_every_field_of_the_description_comes_back_as_it_was_sent() -> None:
    assert services.service_spec(read(WHOLE)) == WHOLE


def test_every_field_reaches_the_message() -> None:
    spec = read(WHOLE)
    assert spec.replicated.replicas == 0
    assert spec.WhichOneof("mode") == "replicated"
    container = spec.task.container
    assert container.HasField("stop_grace_period")
    assert container.HasField("init")
    assert not container.init
    assert spec.task.restart.condition == RestartPolicy.ON_FAILURE
    assert spec.task.restart.HasField("delay")
    assert spec.update.failure_action == UpdateConfig.ROLLBACK
    assert spec.endpoint.ports[0].publish_mode == PortConfig.HOST
    assert container.mounts[0].bind_options.propagation == Mount.BindOptions.RSLAVE
    assert list(container.mounts[2].tmpfs_options.options) == ["noexec", "uid=1"]
    assert spec.task.resources.HasField("memory_swappiness")


def lowered(value: Any) -> Any:
    """Keys of objects in lower case; what users name keeps its case."""
    if isinstance(value, list):
        return [lowered(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = ("Labels", "Options", "Sysctls", "DriverOpts")
    return {
        key.lower(): item if key in kept and isinstance(item, dict) else lowered(item)
        for key, item in value.items()
    }


def test_keys_are_read_without_regard_to_case() -> None:
    assert read(lowered(WHOLE)) == read(WHOLE)


def test_what_is_absent_null_or_unknown_says_nothing() -> None:
    little = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "i"}}}
    nulls = {
        "Name": "web",
        "Labels": None,
        "Surprise": {"a": 1},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "i", "Mounts": None, "Env": None, "Privileges": None},
            "Resources": {"Limits": None},
            "Networks": None,
            "RestartPolicy": None,
        },
        "Mode": None,
        "EndpointSpec": None,
    }
    assert read(nulls) == read(little)
    assert read(little).replicated.replicas == 1


@pytest.mark.parametrize(
    ("mode", "field", "shown"),
    [
        ({"Global": {}}, "global", {"Global": {}}),
        ({"GlobalJob": {}}, "global_job", {"GlobalJob": {}}),
        ({"replicated": {}}, "replicated", {"Replicated": {"Replicas": 1}}),
        (
            {"ReplicatedJob": {"MaxConcurrent": 2}},
            "replicated_job",
            {"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 2}},
        ),
    ],
)
def test_modes(mode: dict[str, Any], field: str, shown: dict[str, Any]) -> None:
    spec = read({"Mode": mode})
    assert spec.WhichOneof("mode") == field
    assert services.mode(spec) == shown


def with_template(**fields: Any) -> dict[str, Any]:
    return {"TaskTemplate": fields}


def with_container(**fields: Any) -> dict[str, Any]:
    return with_template(ContainerSpec=fields)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"Name": 5}, "Name: expected a string, not a number"),
        ({"Labels": ["a"]}, "Labels: expected an object, not a list"),
        ({"Labels": {"a": 1}}, "Labels.a: expected a string"),
        ({"TaskTemplate": "x"}, "TaskTemplate: expected an object, not a string"),
        (with_container(Env="A=1"), "TaskTemplate.ContainerSpec.Env: expected a list"),
        (with_container(Env=[1]), "ContainerSpec.Env[0]: expected a string"),
        (with_container(TTY="yes"), "ContainerSpec.TTY: expected a boolean"),
        (with_container(Mounts=[3]), "ContainerSpec.Mounts[0]: expected an object"),
        (with_container(Mounts=[{"Type": "odd"}]), "Mounts[0].Type: 'odd' is not one of bind"),
        (with_container(Configs=[{"ConfigID": "x"}]), "either File or Runtime should be set"),
        (
            with_container(Privileges={"Seccomp": {"Profile": "%"}}),
            "Seccomp.Profile: is not base64",
        ),
        (with_template(ForceUpdate=1.5), "ForceUpdate: expected a whole number, not 1.5"),
        (with_template(ForceUpdate=True), "ForceUpdate: expected a number, not a boolean"),
        (with_template(ForceUpdate=2**63), "ForceUpdate: 9223372036854775808 is out of range"),
        (with_template(Runtime="plugin"), "plugins do not run as services here"),
        (with_template(PluginSpec={"Name": "x"}), "plugins do not run as services here"),
        (with_template(NetworkAttachmentSpec={}), "unsupported runtime"),
        (with_template(RestartPolicy={"Condition": "always"}), "'always' is not one of any"),
        ({"Mode": {"Global": {}, "Replicated": {}}}, "must specify only one service mode"),
        ({"Mode": {"Replicated": {"Replicas": -1}}}, "Mode.Replicated.Replicas: -1 is not"),
        ({"EndpointSpec": {"Ports": [{"Protocol": "icmp"}]}}, "Ports[0].Protocol: 'icmp'"),
        ({"UpdateConfig": {"Order": "none"}}, "UpdateConfig.Order: 'none' is not one of"),
        ({"Name": "\ud800"}, "Name: is not valid Unicode"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(sent: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        read(sent)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_update_that_changes_nothing_is_the_stored_template_to_the_bit() -> None:
    """Whichever way a message was written, no task is replaced for it."""
    stored = defaults.fill_service(read(WHOLE))
    stored.task.resources.SetInParent()
    stored.task.container.healthcheck.start_interval.SetInParent()
    stored.task.container.dns_config.SetInParent()
    stored.task.container.pull_options.registry_auth = "secret"
    sent = services.service_spec(stored)
    sent["Labels"] = {"new": "1"}
    changed = carried_over(Fields.of(sent), read(sent), stored)
    assert changed.task == stored.task
    assert dict(changed.annotations.labels) == {"new": "1"}


def test_what_docker_s_clients_cannot_say_stays() -> None:
    stored = defaults.fill_service(read(WHOLE))
    stored.endpoint.ports[0].host_ip = "10.0.0.1"
    stored.update.progress_deadline.seconds = 9
    stored.task.container.domainname = "example"
    stored.task.container.shm_size_bytes = 1024
    sent = services.service_spec(stored)
    # As a client of Docker's gives it back, which has dropped what it does not know.
    del sent["EndpointSpec"]["Ports"][0]["HostIP"], sent["UpdateConfig"]["ProgressDeadline"]
    del sent["TaskTemplate"]["ContainerSpec"]["ShmSize"]
    sent["TaskTemplate"]["ContainerSpec"]["Env"] = ["A=2"]
    changed = carried_over(Fields.of(sent), read(sent), stored)
    assert changed.endpoint == stored.endpoint
    assert changed.update == stored.update
    assert changed.task.container.domainname == "example"
    assert changed.task.container.shm_size_bytes == 1024
    assert list(changed.task.container.env) == ["A=2"]
    # Who knows the field changes it.
    sent["EndpointSpec"]["Ports"][0]["HostIP"] = ""
    assert not carried_over(Fields.of(sent), read(sent), stored).endpoint.ports[0].host_ip


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within."""
    found = [path] if path else []
    inner: Any = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else inner:
        found += places(item, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """`value` with another one at `path`."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@given(some.sampled_from(places(WHOLE)), JSON)
def test_any_json_in_any_place_is_read_or_refused_in_one_line(
    path: tuple[Any, ...], new: Any
) -> None:
    sent = replaced(WHOLE, path, new)
    try:
        spec = read(sent)
    except InvalidSpec as error:
        assert "\n" not in str(error)
    else:
        # What is shown of it reads as the same again.
        assert read(services.service_spec(spec)) == spec
