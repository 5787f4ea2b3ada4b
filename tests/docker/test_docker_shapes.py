"""Our objects in Docker's JSON, and the columns that lists make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from swarmlite.cli.container.columns import LISTING, row
from swarmlite.cli.container.usage import cpu_percent
from swarmlite.cli.container.usage import row as usage_row
from swarmlite.cli.system.usage import SUMMARY, summary
from swarmlite.docker import container, event, hostconfig, image, info, network, ports, volume
from swarmlite.docker.statuses import status
from swarmlite.proto.containers_pb2 import Container, ContainerState, ContainerStats, Health
from swarmlite.proto.host_pb2 import DiskUsageResponse, HostEvent, HostInfo
from swarmlite.proto.hostnetworks_pb2 import HostNetwork
from swarmlite.proto.images_pb2 import ImageDetails
from swarmlite.proto.types_pb2 import Mount, PortConfig
from swarmlite.proto.volumes_pb2 import LocalVolume

NOW = 1_700_000_000


def made(status: ContainerState.Status.ValueType = ContainerState.RUNNING) -> Container:
    found = Container(id="0123456789abcdef" * 4, image_id="sha256:aa", args=["sh", "-c", "sleep 1"])
    found.config.name = "web"
    found.config.spec.image = "nginx:1@sha256:bb"
    found.config.spec.args.extend(["-c", "sleep 1"])
    found.created.seconds = NOW - 300
    found.state.status = status
    found.state.pid = 42
    found.state.started.seconds = NOW - 180
    found.state.finished.seconds = NOW - 5
    found.labels["a"] = "1"
    found.exposed_ports.append("9000/udp")
    port = found.ports.add(target_port=80, published_port=8080)
    port.publish_mode = PortConfig.HOST
    place = found.networks.add(network_name="bridge", network_id="n1", ipv4_address="172.17.0.2/16")
    place.ipv4_gateway = "172.17.0.1"
    found.mounts.add(type=Mount.VOLUME, name="vol", source="/v", destination="/d", rw=True)
    return found


def test_inspect_has_docker_s_keys_and_values() -> None:
    shown = container.inspect(made())
    json.dumps(shown)
    assert shown["Name"] == "/web"
    assert (shown["Path"], shown["Args"]) == ("sh", ["-c", "sleep 1"])
    state = shown["State"]
    assert (state["Status"], state["Running"], state["Pid"]) == ("running", True, 42)
    assert state["StartedAt"] == "2023-11-14T22:10:20Z"
    assert "Health" not in state
    settings = shown["NetworkSettings"]
    assert settings["IPAddress"] == "172.17.0.2"
    assert settings["Networks"]["bridge"]["IPPrefixLen"] == 16
    assert settings["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "9000/udp": None,
    }
    assert shown["Mounts"][0]["Name"] == "vol"
    assert shown["Config"]["Labels"] == {"a": "1"}
    assert shown["HostConfig"]["NetworkMode"] == "default"
    assert shown["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}


def test_a_container_that_is_never_killed_is_shown_so_whichever_release_made_it() -> None:
    value = Container(id="a" * 64)
    for years, shown in ((1, 365 * 24 * 3600), (10, -1), (100, -1)):
        value.config.spec.stop_grace_period.seconds = years * 365 * 24 * 3600
        assert container.config(value)["StopTimeout"] == shown


def test_health_is_shown_with_its_last_outputs() -> None:
    found = made()
    found.state.health.status = Health.UNHEALTHY
    found.state.health.failing_streak = 3
    found.state.health.log.add(exit_code=127, output="curl: not found")
    shown = container.state(found.state)["Health"]
    assert (shown["Status"], shown["FailingStreak"]) == ("unhealthy", 3)
    assert shown["Log"][0]["Output"] == "curl: not found"


def test_what_flags_made_comes_back_as_docker_s_host_config() -> None:
    """From the command line to HostConfig, as a client of Docker's reads it."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
    from test_container_flags import made as configured

    shown = hostconfig.of(
        configured(
            "-v /a:/b:ro -v vol:/c --mount type=tmpfs,target=/t,tmpfs-size=1m --tmpfs /u:size=1m"
            " -m 64m --cpus 1.5 --restart on-failure:3 --security-opt no-new-privileges"
            " --security-opt seccomp=unconfined --device /dev/fuse --pids-limit 9 --init"
            " --network container:x"
        )
    )
    json.dumps(shown)
    assert shown["Binds"] == ["/a:/b:ro", "vol:/c"]
    assert shown["Tmpfs"] == {"/u": "size=1m"}
    assert [m["Target"] for m in shown["Mounts"]] == ["/t"]
    assert (shown["Memory"], shown["NanoCpus"], shown["PidsLimit"]) == (64 << 20, 1_500_000_000, 9)
    assert shown["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert shown["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined"]
    assert shown["Devices"][0]["PathInContainer"] == "/dev/fuse"
    assert (shown["NetworkMode"], shown["Init"]) == ("container:x", True)
    published = hostconfig.of(
        configured("-p 127.0.0.1:8000-8002:80 -p 53:53/udp --add-host db:host-gateway")
    )
    assert published["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000-8002"}],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
    }
    assert published["ExtraHosts"] == ["db:host-gateway"]


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ("Up 3 minutes", {"status": ContainerState.RUNNING}),
        ("Up 3 minutes (Paused)", {"status": ContainerState.PAUSED}),
        ("Exited (137) 5 seconds ago", {"status": ContainerState.EXITED, "exit_code": 137}),
        ("Restarting (1) 5 seconds ago", {"status": ContainerState.RESTARTING, "exit_code": 1}),
        ("Created", {"status": ContainerState.CREATED}),
        ("Dead", {"status": ContainerState.DEAD}),
    ],
)
def test_the_status_of_ps(wanted: str, fields: dict[str, Any]) -> None:
    state = ContainerState(**fields)
    state.started.seconds, state.finished.seconds = NOW - 180, NOW - 5
    assert status(state, NOW) == wanted


@pytest.mark.parametrize(
    ("health", "wanted"),
    [
        (Health.STARTING, "Up 3 minutes (health: starting)"),
        (Health.HEALTHY, "Up 3 minutes (healthy)"),
        (Health.UNHEALTHY, "Up 3 minutes (unhealthy)"),
        (Health.NONE, "Up 3 minutes"),
    ],
)
def test_the_status_of_ps_tells_health(health: Health.Status.ValueType, wanted: str) -> None:
    state = made().state
    state.health.status = health
    assert status(state, NOW) == wanted


def test_the_row_of_ps() -> None:
    form = "{{.ID}}|{{.Image}}|{{.Command}}|{{.RunningFor}}|{{.Ports}}|{{.Names}}|{{.Networks}}"
    form += '|{{.Label "a"}}|{{.Mounts}}'
    shown = LISTING.render([row(made(), no_trunc=False, now=NOW)], form)
    assert shown == (
        '0123456789ab|nginx:1|"sh -c sleep 1"|5 minutes ago|0.0.0.0:8080->80/tcp,'
        " [::]:8080->80/tcp, 9000/udp|web|bridge|1|vol\n"
    )
    fields = json.loads(LISTING.render([row(made(), no_trunc=True, now=NOW)], "json"))
    assert fields["ID"] == made().id
    assert "Label" not in fields
    stopped = row(made(ContainerState.EXITED), no_trunc=False, now=NOW)
    assert stopped["Ports"] == ""
    table = LISTING.render([row(made(), no_trunc=False, now=NOW)])
    assert table.splitlines()[0].split() == [
        "CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip


def test_neighbouring_ports_are_one_range() -> None:
    published = [
        PortConfig(target_port=80 + n, published_port=8080 + n, host_ip="127.0.0.1")
        for n in range(3)
    ]
    assert ports.shown(published, ["7000-7001/tcp", "7002/tcp"]) == (
        "127.0.0.1:8080-8082->80-82/tcp, 7000-7002/tcp"
    )


def test_usage_is_counted_between_two_readings() -> None:
    """100 is one processor."""
    before = ContainerStats(cpu_usage_ns=0, host_cpu_usage_ns=0)
    now = ContainerStats(
        id="a" * 64,
        name="web",
        running=True,
        cpu_usage_ns=1_000_000_000,
        host_cpu_usage_ns=4_000_000_000,
        online_cpus=2,
        memory_usage_bytes=3 << 20,
        memory_inactive_file_bytes=1 << 20,
        memory_limit_bytes=4 << 20,
        pids_current=3,
    )
    now.interfaces.add(rx_bytes=1000, tx_bytes=2000)
    now.interfaces.add(rx_bytes=1000)
    assert cpu_percent(now, before) == 50.0
    shown = usage_row(now, before, no_trunc=False)
    assert shown["MemUsage"] == "2MiB / 4MiB"
    assert shown["MemPerc"] == "50.00%"
    assert shown["NetIO"] == "2kB / 2kB"
    assert shown["CPUPerc"] == "50.00%"
    now.running = False
    assert usage_row(now, before, no_trunc=False)["MemUsage"] == "--"


def test_an_event_s_line_and_body(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    one = HostEvent(type="container", action="start", actor_id="abc")
    one.attributes.update({"name": "web", "image": "x"})
    one.time.seconds, one.time.nanos = NOW, 5
    assert event.line(one) == (
        "2023-11-14T22:13:20.000000005Z container start abc (image=x, name=web)"
    )
    body = event.body(one)
    assert (body["status"], body["from"], body["timeNano"]) == ("start", "x", NOW * 10**9 + 5)
    assert body["Actor"] == {"ID": "abc", "Attributes": {"image": "x", "name": "web"}}


def test_networks_volumes_and_images() -> None:
    host = HostNetwork()
    host.network.spec.annotations.name = "front"
    host.network.id = "n1"
    host.containers["c1"].ipv4_address = "172.18.0.2/16"
    host.container_names["c1"] = "web"
    shown = network.inspect_host(host)
    assert (shown["Driver"], shown["Scope"]) == ("bridge", "local")
    assert shown["Containers"]["c1"]["Name"] == "web"
    anonymous = volume.inspect(LocalVolume(name="v", anonymous=True))
    assert anonymous["Labels"] == {"com.docker.volume.anonymous": ""}
    details = ImageDetails(diff_ids=["sha256:1"])
    details.image.id = "sha256:i"
    details.config_json = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}}
    ).encode()
    found = image.inspect(details)
    assert (found["Os"], found["Config"]["Cmd"]) == ("linux", ["sh"])
    details.config_json = b"[1]"
    assert image.inspect(details)["Architecture"] == ""


def test_the_table_of_disk_usage() -> None:
    usage = DiskUsageResponse(layers_bytes=2000, images_reclaimable_bytes=1000)
    usage.images.add(id="i1", containers=1)
    usage.images.add(id="i2")
    usage.containers.add(size_rw_bytes=500).state.status = ContainerState.RUNNING
    usage.containers.add(size_rw_bytes=500).state.status = ContainerState.EXITED
    usage.volumes.add(name="v", size_bytes=10)
    lines = SUMMARY.render(summary(usage)).splitlines()
    assert lines[1].split() == ["Images", "2", "1", "2kB", "1kB", "(50%)"]
    assert lines[2].split() == ["Containers", "2", "1", "1kB", "500B", "(50%)"]
    assert lines[3].split() == ["Local", "Volumes", "1", "0", "10B", "10B", "(100%)"]


@pytest.mark.parametrize(("of_host", "shown"), [("v1", "1"), ("hybrid", "1"), ("v2", "2")])
def test_the_version_of_cgroups_is_one_that_docker_knows(of_host: str, shown: str) -> None:
    assert info.info(HostInfo(cgroup_version=of_host))["CgroupVersion"] == shown
