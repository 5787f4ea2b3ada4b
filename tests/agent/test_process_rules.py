"""Docker's rules for a container's process, mounts and limits, as functions."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from swarmlite.engine import container_spec, host_files, mounts, process_spec
from swarmlite.errors import InvalidSpec
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import HealthConfig, Mount

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


class OneVolume:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def provide(self, name: str, mount: Mount, target: str) -> Path:
        self.asked.append((name, target))
        return Path("/volumes") / (name or "anonymous")


def test_mounts_parents_first_and_the_images_volumes(tmp_path: Path) -> None:
    volumes = OneVolume()
    spec = ContainerSpec(
        mounts=[
            Mount(type=Mount.VOLUME, source="v", target="/data/deep/er"),
            Mount(type=Mount.BIND, source=str(tmp_path), target="/data", readonly=True),
            Mount(type=Mount.TMPFS, target="/t", tmpfs_options={"size_bytes": 4096}),
        ]
    )
    resolved = mounts.resolve(spec, {"Volumes": {"/data": {}, "/own": {}}}, volumes)
    assert [entry["destination"] for entry in resolved] == ["/data", "/t", "/own", "/data/deep/er"]
    assert volumes.asked == [("v", "/data/deep/er"), ("", "/own")]
    assert "rro" in resolved[0]["options"]
    assert "size=4096" in resolved[1]["options"]


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (Mount(type=Mount.BIND, source="/no/such", target="/x"), "does not exist: /no/such"),
        (Mount(type=Mount.BIND, source="rel", target="/x"), "absolute"),
        (Mount(type=Mount.TMPFS, target="x"), "absolute"),
        (Mount(type=Mount.TMPFS, target="/.."), "must not be '/'"),
        (Mount(type=Mount.NPIPE, target="/x"), "npipe are not supported"),
    ],
)
def test_bad_mounts_are_refused_in_one_line(mount: Mount, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        mounts.resolve(ContainerSpec(mounts=[mount]), {}, OneVolume())


def test_the_oci_spec_of_a_task(tmp_path: Path) -> None:
    task = Task(id="t", service_id="s", slot=1, service_annotations={"name": "web"})
    resources = task.spec.resources
    resources.limits.nano_cpus, resources.limits.memory_bytes = 500_000_000, 64 << 20
    resources.limits.pids = 7
    task.spec.container.image = "busybox"
    task.spec.container.labels["mine"] = "yes"
    spec = container_spec.build(
        container_spec.Inputs(
            task=task,
            spec=task.spec.container,
            image=IMAGE,
            image_id="sha256:1",
            lower_dirs=[Path("/l/a:b"), Path("/l/c")],
            bundle=tmp_path,
            container_id="cid",
            cgroups_path="/swarmlite/cid",
            hostname="h",
            netns=Path("/run/netns/x"),
            mounts=[{"destination": "/dev/shm", "type": "tmpfs", "source": "x", "options": []}],
        )
    )
    resources_of = spec["linux"]["resources"]
    assert resources_of["cpu"] == {"quota": 50_000, "period": 100_000}
    assert resources_of["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert resources_of["pids"] == {"limit": 7}
    assert spec["process"]["user"]["username"] == "app"
    assert spec["annotations"]["swarmlite.overlay"].startswith("lowerdir=/l/a\\:b:/l/c,upperdir=")
    assert spec["annotations"]["com.docker.swarm.task.name"] == "web.1.t"
    assert spec["annotations"]["mine"] == "yes"
    assert [m["type"] for m in spec["mounts"] if m["destination"] == "/dev/shm"] == ["tmpfs"]
    assert len([m for m in spec["mounts"] if m["destination"] == "/dev/shm"]) == 1
    namespaces = {entry["type"]: entry for entry in spec["linux"]["namespaces"]}
    assert namespaces["network"]["path"] == "/run/netns/x"


def test_hosts_file() -> None:
    content = host_files.hosts(["1.2.3.4 a b"], ["10.0.0.2/24"], "h")
    assert "1.2.3.4\ta b\n" in content
    assert content.endswith("10.0.0.2\th\n")
