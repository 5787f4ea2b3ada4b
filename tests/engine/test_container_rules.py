"""Docker's rules for a container's process, mounts and limits, as functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from swarmlite.agent import task_container
from swarmlite.engine import configuration, host_files, mount_plan, oci_spec, process_spec
from swarmlite.engine.container_mounts import ContainerMounts
from swarmlite.engine.oci_spec import resources, seccomp, security
from swarmlite.engine.records import Record
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import Container, ContainerConfig, ContainerResources
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import HealthConfig, Mount
from swarmlite.storage.leases import Leases
from swarmlite.storage.volumes.store import VolumeStore

IMAGE = {"Entrypoint": ["/entry"], "Cmd": ["a", "b"], "Env": ["PATH=/bin", "X=1"], "User": "app"}


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ([], [], ["/entry", "a", "b"]),
        ([], ["c"], ["/entry", "c"]),
        (["sh"], [], ["sh"]),
        (["sh"], ["-c"], ["sh", "-c"]),
    ],
)
def test_entrypoint_and_command(command: list[str], args: list[str], expected: list[str]) -> None:
    assert process_spec.arguments(ContainerSpec(command=command, args=args), IMAGE) == expected


def test_without_any_command_the_message_says_so() -> None:
    with pytest.raises(InvalidSpec, match="no command"):
        process_spec.arguments(ContainerSpec(), {})


def test_environment_replaces_and_removes() -> None:
    spec = ContainerSpec(env=["X=2", "Y=3=4", "HOSTNAME"], tty=True)
    env = process_spec.environment(spec, IMAGE, "h")
    assert env == ["PATH=/bin", "TERM=xterm", "X=2", "Y=3=4"]


def test_the_stop_signal_is_the_specs_then_the_images_then_sigterm() -> None:
    assert process_spec.stop_signal(ContainerSpec(stop_signal="RTMAX-3"), {}) == 61
    assert process_spec.stop_signal(ContainerSpec(), {"StopSignal": "SIGQUIT"}) == 3
    assert process_spec.stop_signal(ContainerSpec(), {}) == 15


def test_capabilities() -> None:
    caps = process_spec.capabilities(["CAP_CHOWN", "CAP_KILL"], ["NET_ADMIN"], ["kill"])
    assert caps == ["CAP_CHOWN", "CAP_NET_ADMIN"]
    assert process_spec.capabilities(["CAP_CHOWN"], ["cap_kill"], ["ALL"]) == ["CAP_KILL"]


def test_health_of_the_spec_over_the_images() -> None:
    image = {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 2_000_000_000}}
    spec = ContainerSpec(healthcheck=HealthConfig(timeout=Duration(seconds=1), retries=5))
    check = process_spec.health_check(spec, image)
    assert check is not None
    assert (check.command, check.interval_s) == (["/bin/sh", "-c", "true"], 2.0)
    assert (check.timeout_s, check.retries, check.start_period_s) == (1.0, 5, 0.0)
    none = ContainerSpec(healthcheck=HealthConfig(test=["NONE"]))
    assert process_spec.health_check(none, image) is None


def nobody(ref: str) -> Record:
    raise AssertionError(ref)


def store(tmp_path: Path) -> ContainerMounts:
    leases = Leases(tmp_path / "leases")
    return ContainerMounts(VolumeStore(tmp_path / "volumes", leases=leases), leases)


def no_image(mount: Mount) -> dict[str, Any]:
    raise AssertionError(mount)


def test_mounts_parents_first_and_the_images_volumes(tmp_path: Path) -> None:
    config = ContainerConfig(
        spec=ContainerSpec(
            mounts=[
                Mount(type=Mount.VOLUME, source="v1", target="/data/deep/er"),
                Mount(type=Mount.BIND, source=str(tmp_path), target="/data", readonly=True),
                Mount(type=Mount.TMPFS, target="/t", tmpfs_options={"size_bytes": 4096}),
            ]
        )
    )
    image = {"Volumes": {"/data": {}, "/own": {}}}
    mounts = mount_plan.resolve("c", config, image, nobody)
    record = Record(Container(id="c"), tmp_path)
    layer = tmp_path / "layer"
    layer.mkdir()
    points = store(tmp_path).provide(record, mounts, [layer], str)
    assert [point.destination for point in points] == ["/data", "/t", "/own", "/data/deep/er"]
    resolved = store(tmp_path).oci(mounts, no_image)
    assert "rro" in resolved[0]["options"]
    assert "size=4096" in resolved[1]["options"]
    assert points[2].name == mount_plan.anonymous("c", "/own")
    assert resolved[3]["source"] == points[3].source


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (Mount(type=Mount.BIND, source="/no/such", target="/x"), "does not exist: /no/such"),
        (Mount(type=Mount.BIND, source="rel", target="/x"), "absolute"),
        (Mount(type=Mount.TMPFS, target="x"), "absolute"),
        (Mount(type=Mount.TMPFS, target="/.."), "destination can't be '/'"),
        (Mount(type=Mount.TMPFS, target="/proc"), "/proc"),
        (Mount(type=Mount.NPIPE, target="/x"), "npipe are not supported"),
    ],
)
def test_bad_mounts_are_refused_in_one_line(tmp_path: Path, mount: Mount, message: str) -> None:
    config = ContainerConfig(spec=ContainerSpec(mounts=[mount]))
    with pytest.raises(InvalidSpec, match=message):
        mounts = mount_plan.resolve("c", config, {}, nobody)
        store(tmp_path).provide(Record(Container(id="c"), tmp_path), mounts, [], str)
        store(tmp_path).oci(mounts, no_image)


@pytest.mark.parametrize("place", ["/proc", "/"])
def test_an_images_volume_replaces_nothing_of_the_containers_own(place: str) -> None:
    with pytest.raises(InvalidSpec, match=place):
        mount_plan.resolve("c", ContainerConfig(), {"Volumes": {place: {}}}, nobody)


def built(config: ContainerConfig, **fields: Any) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "config": config,
        "image": IMAGE,
        "container_id": "cid",
        "root": Path("/c/rootfs"),
        "annotations": {"swarmlite.overlay": "lowerdir=/l"},
        "cgroups_path": "/swarmlite/cid",
        "hostname": "h",
        "netns": Path("/run/netns/x"),
        "mounts": [],
        **fields,
    }
    return oci_spec.build(oci_spec.Inputs(**inputs))


def test_the_oci_spec_of_a_task() -> None:
    task = Task(id="t", service_id="s", slot=1, service_annotations={"name": "web"})
    resources = task.spec.resources
    resources.limits.nano_cpus, resources.limits.memory_bytes = 500_000_000, 64 << 20
    resources.limits.pids = 7
    resources.memory_swap_bytes = 1 << 20
    task.spec.container.image = "busybox"
    task.spec.container.labels["mine"] = "yes"
    config = task_container.configuration(task, task.spec.container)
    assert config.name == "web.1.t"
    assert config.spec.labels["com.docker.swarm.task.name"] == "web.1.t"
    assert config.spec.labels["mine"] == "yes"
    own_shm = {"destination": "/dev/shm", "type": "tmpfs", "source": "x", "options": []}
    spec = built(config, mounts=[own_shm])
    resources_of = spec["linux"]["resources"]
    assert resources_of["cpu"] == {"quota": 50_000, "period": 100_000}
    assert resources_of["memory"] == {"limit": 64 << 20, "swap": 65 << 20}
    assert resources_of["pids"] == {"limit": 7}
    assert spec["process"]["user"]["username"] == "app"
    assert [m for m in spec["mounts"] if m["destination"] == "/dev/shm"] == [own_shm]
    # of an image or another container: the runtime lets it take no place of /dev
    allowed = json.loads(spec["annotations"]["swarmlite.system-mounts"])
    assert "/dev/shm" not in allowed
    assert "/proc" in allowed
    namespaces = {entry["type"]: entry for entry in spec["linux"]["namespaces"]}
    assert namespaces["network"]["path"] == "/run/netns/x"


def test_one_containers_spec_leaves_no_trace_in_the_next() -> None:
    privileged = ContainerConfig(spec=ContainerSpec(privileged=True, ipc_mode="host"))
    before, _, after = built(ContainerConfig()), built(privileged), built(ContainerConfig())
    assert before == after


def test_a_privileged_container_has_all_that_there_is_to_give() -> None:
    spec = built(ContainerConfig(spec=ContainerSpec(privileged=True)))
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert spec["linux"]["maskedPaths"] == spec["linux"]["readonlyPaths"] == []
    assert spec["annotations"]["swarmlite.seccomp"] == "unconfined"
    assert tuple(spec["process"]["capabilities"]["bounding"]) == security.host_capabilities()
    sysfs = next(m for m in spec["mounts"] if m["destination"] == "/sys")
    assert "ro" not in sysfs["options"]
    assert "/dev/null" in [device["path"] for device in spec["linux"]["devices"]]


def test_namespaces_of_the_host_are_left_out() -> None:
    asked = ContainerSpec(pid_mode="host", ipc_mode="host", uts_mode="host", cgroupns_mode="host")
    spec = built(ContainerConfig(spec=asked))
    assert [n["type"] for n in spec["linux"]["namespaces"]] == ["mount", "network"]
    assert spec["hostname"] == ""
    shm = next(m for m in spec["mounts"] if m["destination"] == "/dev/shm")
    assert (shm["type"], shm["source"]) == ("bind", "/dev/shm")


def test_devices_by_name_by_directory_and_by_rule() -> None:
    config = ContainerConfig(spec=ContainerSpec(devices=["/dev/null:/dev/nothing:r", "/dev/zero"]))
    config.resources.device_cgroup_rules.append("c 42:* rwm")
    spec = built(config)
    nodes = {node["path"]: (node["major"], node["minor"]) for node in spec["linux"]["devices"]}
    assert nodes == {"/dev/nothing": (1, 3), "/dev/zero": (1, 5)}
    rules = spec["linux"]["resources"]["devices"][-3:]
    assert [rule["access"] for rule in rules] == ["r", "rwm", "rwm"]
    assert "minor" not in rules[2]
    for wrong in ("null", "/dev/null:/x:/y:r", "/dev/null:/x:q", "/no/such"):
        with pytest.raises(InvalidSpec):
            built(ContainerConfig(spec=ContainerSpec(devices=[wrong])))


def test_dockers_seccomp_profile_is_resolved_for_the_container() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "amd64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "arm64", "subArchitectures": []},
        ],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN"]}},
            {"name": "ptrace", "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["late"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
        ],
    }
    made = seccomp.translate(json.dumps(profile).encode(), ["CAP_CHOWN"])
    assert [rule["names"] for rule in made["syscalls"]] == [["read"], ["ptrace"]]
    for wrong in (b"{", b"[]", b"{}", b'{"defaultAction":"x","syscalls":[3]}'):
        with pytest.raises(InvalidSpec):
            seccomp.translate(wrong, [])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"memory_bytes": 1 << 20}, "Minimum memory limit allowed is 6MB"),
        ({"memory_swap_bytes": 1 << 30}, "always set the Memory limit"),
        ({"memory_bytes": 64 << 20, "memory_swap_bytes": 32 << 20}, "larger than memory limit"),
        ({"memory_bytes": 64 << 20, "memory_reservation_bytes": 65 << 20}, "reservation"),
        ({"memory_swappiness": 101}, "0-100"),
        ({"nano_cpus": 10**15}, "Range of CPUs"),
        ({"nano_cpus": 10**9, "cpu_quota_us": 10_000}, "Conflicting options"),
        ({"cpuset_cpus": "0-99999"}, "this host has"),
        ({"cpuset_cpus": "zero"}, "expected numbers"),
        ({"blkio_weight": 5}, "from 10 to 1000"),
    ],
)
def test_limits_that_cannot_be(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        resources.check(ContainerResources(**limits))


@pytest.mark.parametrize(
    "spec",
    [
        ContainerSpec(hostname="a\n10.0.0.1 registry"),
        ContainerSpec(user="root;id"),
        ContainerSpec(mounts=[Mount(type=Mount.TMPFS, target="/proc")]),
        ContainerSpec(mounts=[Mount(type=Mount.TMPFS, target="/x/../proc")]),
        ContainerSpec(hosts=["1.2.3.4 a\n5.6.7.8 b"]),
        ContainerSpec(dir="relative"),
    ],
)
def test_what_a_template_made_is_checked_again(spec: ContainerSpec) -> None:
    spec.image = "busybox"
    with pytest.raises(InvalidSpec):
        configuration.check(ContainerConfig(spec=spec))


def test_limits_that_a_host_has_not_are_left_out_with_a_warning() -> None:
    config = ContainerConfig(
        resources=ContainerResources(memory_swappiness=0, oom_kill_disable=True, cpu_shares=5)
    )
    assert configuration.left_out(config, "v1") == []
    said = configuration.left_out(config, "v2")
    assert [line.partition("for ")[2].partition(":")[0] for line in said] == [
        "memory swappiness", "disabling the OOM killer",
    ]  # fmt: skip
    assert config.resources == ContainerResources(cpu_shares=5)


@pytest.mark.parametrize("mode", ["host", "none"])
def test_ports_that_no_network_could_publish_are_warned_of(mode: str) -> None:
    config = ContainerConfig(network_mode=mode, publish_all=True)
    config.spec.image = "busybox"
    warnings = configuration.check(config)
    assert warnings == [f"Published ports are discarded when using {mode} network mode"]


def test_hosts_file() -> None:
    content = host_files.hosts(["1.2.3.4 a b"], ["10.0.0.2/24"], "h")
    assert "1.2.3.4\ta b\n" in content
    assert content.endswith("10.0.0.2\th\n")
