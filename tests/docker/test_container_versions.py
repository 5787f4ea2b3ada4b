"""What a client of one version can mean by a container that it creates."""

from __future__ import annotations

from typing import Any

import pytest

from swarmlite.docker.fields import Fields
from swarmlite.docker.reading import container as reading
from swarmlite.docker.reading.containerversions import as_meant
from swarmlite.docker.reading.endpoints import published
from swarmlite.docker.reading.resources import changes
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerConfig

MAC = "02:42:ac:11:00:07"
PLACE = {"EndpointsConfig": {"front": {"MacAddress": MAC}}}


def read(minor: int, **body: Any) -> tuple[ContainerConfig, list[str]]:
    sent = Fields({"Image": "busybox", **body})
    made = reading.create(sent, "one")
    return made, as_meant(made, sent, minor)


def mounts(**mount: Any) -> dict[str, Any]:
    return {"HostConfig": {"Mounts": [{"Target": "/t", **mount}]}}


@pytest.mark.parametrize(
    ("body", "since", "words"),
    [
        (
            mounts(Type="volume", Source="v", VolumeOptions={"Subpath": "a"}),
            45,
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
        (mounts(Type="image", Source="busybox"), 48, 'Mount type "Image" needs API v1.48 or newer'),
        (
            mounts(Type="bind", Source="/", BindOptions={"ReadOnlyForceRecursive": True}),
            44,
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ),
        (
            {"NetworkingConfig": {"EndpointsConfig": {"front": {}, "back": None}}},
            44,
            "cannot be created with multiple network endpoints: front, back",
        ),
        (
            {"MacAddress": MAC, "HostConfig": {"NetworkMode": "host"}},
            44,
            "conflicting options: mac-address and the network mode",
        ),
    ],
)
def test_what_came_later_is_refused_where_it_would_not_be_what_was_meant(
    body: dict[str, Any], since: int, words: str
) -> None:
    with pytest.raises(InvalidSpec, match=words):
        read(since - 1, **body)
    read(since, **body)


@pytest.mark.parametrize(
    ("options", "kind", "name"),
    [
        ({"TmpfsOptions": {"SizeBytes": 1}}, "volume", "TmpfsOptions"),
        ({"VolumeOptions": {}}, "bind", "VolumeOptions"),
        ({"BindOptions": {"Propagation": "shared"}}, "tmpfs", "BindOptions"),
    ],
)
def test_options_of_another_kind_of_mount_are_refused_since_1_42_and_not_heard_before(
    options: dict[str, Any], kind: str, name: str
) -> None:
    body = mounts(Type=kind, Source="" if kind == "tmpfs" else "/s", **options)
    with pytest.raises(InvalidSpec, match=f'{name} must not be specified on mount type "{kind}"'):
        read(42, **body)
    made, _ = read(41, **body)
    (mount,) = made.spec.mounts
    field = {"TmpfsOptions": "tmpfs_options", "VolumeOptions": "volume_options"}
    assert not mount.HasField(field.get(name, "bind_options"))  # type: ignore[arg-type]


def test_older_clients_mean_what_their_version_had() -> None:
    config = {
        "Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 10**9},
        "NetworkingConfig": PLACE,
        "HostConfig": {"Annotations": {"a": "b"}, "ConsoleSize": [5, 6], "NetworkMode": "front"},
    }
    old, _ = read(39, **config)
    assert old.spec.ipc_mode == "shareable" and not old.annotations and not old.console_height
    assert not old.spec.healthcheck.HasField("start_interval")
    assert not old.networks[0].mac_address
    new, _ = read(44, **config)
    assert not new.spec.ipc_mode and new.annotations == {"a": "b"} and new.console_height == 5
    assert new.spec.healthcheck.start_interval.seconds == 1
    assert new.networks[0].mac_address == MAC


def test_a_container_s_own_mac_address_is_heard_up_to_1_51() -> None:
    made, warnings = read(43, MacAddress=MAC)
    assert made.networks[0].mac_address == MAC and warnings == []
    made, (warning,) = read(51, MacAddress=MAC, HostConfig={"NetworkMode": "front"})
    assert made.networks[0].mac_address == MAC and "deprecated" in warning
    with pytest.raises(InvalidSpec, match="container-wide MAC address no longer supported"):
        read(52, MacAddress=MAC)
    with pytest.raises(InvalidSpec, match="must match the endpoint-specific MAC address"):
        body = {"NetworkingConfig": PLACE, "HostConfig": {"NetworkMode": "front"}}
        read(51, MacAddress="02:42:ac:11:00:08", **body)


def test_warnings_come_with_the_version_that_gives_them() -> None:
    driven = mounts(Type="volume", Source="v")
    driven["HostConfig"]["VolumeDriver"] = "local"
    assert read(47, **driven)[1] == []
    assert "volume-driver configuration is ignored" in read(48, **driven)[1][0]
    bound = {"HostConfig": {"PortBindings": {"80/tcp": [], "81/tcp": [{"HostPort": "1"}]}}}
    assert read(51, **bound)[1] == []
    (warning,) = read(52, **bound)[1]
    assert "empty list of port-bindings: 80/tcp." in warning


def test_a_way_out_by_priority_is_refused_and_never_passed_over() -> None:
    with pytest.raises(InvalidSpec, match=r"EndpointsConfig\.front\.GwPriority: is not supported"):
        read(48, NetworkingConfig={"EndpointsConfig": {"front": {"GwPriority": 1}}})


def bound(address: str) -> str:
    (port,) = published(Fields({"PortBindings": {"80/tcp": [{"HostIp": address}]}}))
    return port.host_ip


def test_a_port_is_published_on_an_address_however_it_is_written() -> None:
    for text in ("::2", "[::2]", "0:0::0002"):
        assert bound(text) == "::2"
    assert (bound("127.0.0.1"), bound("")) == ("127.0.0.1", "")
    for text in ("]1.2.3.4[", "[::2", "fe80::1%eth0", "fe80::1%anything", "host"):
        with pytest.raises(InvalidSpec, match=r"HostIp: .* is not an IP address"):
            bound(text)


def test_an_update_hears_what_its_version_has() -> None:
    device = {"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 5}]}
    assert not changes(Fields({"PidsLimit": 5}), 39).pids_limit
    assert changes(Fields({"PidsLimit": 5}), 40).pids_limit == 5
    assert changes(Fields({"PidsLimit": 0}), 40).pids_limit == -1
    assert changes(Fields({}), 40).pids_limit == 0
    assert not changes(Fields(device), 54).device_read_bps
    assert changes(Fields(device), 55).device_read_bps[0].rate == 5
