"""Compose files become the specs that Swarm's users expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import Mount, PortConfig, RestartPolicy, UpdateConfig
from swarmlite.stack import tree
from swarmlite.stack.interpolate import substitute
from swarmlite.stack.load import Stack, combine, load
from swarmlite.stack.syntax.caches import Folder

EXAMPLES = Path(__file__).parents[2] / "compose-examples"


def stack(*texts: str, **environment: str) -> Stack:
    files = [(f"{n}.yml", text) for n, text in enumerate(texts)]
    return load(files, "s", folder=Path("/srv/app"), environment=environment)


def service(body: str, top: str = "", **environment: str) -> ServiceSpec:
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    text = f"services:\n  web:\n    image: nginx\n{lines}\n{top}"
    return stack(text, **environment).services[0]


def test_names_and_labels_bear_the_namespace() -> None:
    made = stack("services: {web: {image: 'nginx:1'}}")
    spec = made.services[0]
    assert spec.annotations.name == "s_web"
    assert dict(spec.annotations.labels) == {
        "com.docker.stack.namespace": "s",
        "com.docker.stack.image": "nginx:1",
    }
    assert spec.task.container.labels["com.docker.stack.namespace"] == "s"
    assert [n.annotations.name for n in made.networks] == ["s_default"]
    assert (spec.task.networks[0].target, list(spec.task.networks[0].aliases)) == (
        "s_default",
        ["web"],
    )


def test_yaml_scalars_keep_what_was_written() -> None:
    spec = service(
        """
environment: {PY: 3.10, YES: yes, ON: on, OCT: 0755, T: true, N: 1e3, E: , Q: "x"}
ports: [22:22]
"""
    )
    assert list(spec.task.container.env) == [
        "PY=3.10",
        "YES=yes",
        "ON=on",
        "OCT=0755",
        "T=true",
        "N=1e3",
        "Q=x",
    ]
    assert [(p.published_port, p.target_port) for p in spec.endpoint.ports] == [(22, 22)]


def test_ports_short_and_long() -> None:
    spec = service(
        """
ports:
  - 80
  - "8080-8081:80-81/udp"
  - {target: 53, published: "53", protocol: udp, mode: host}
"""
    )
    ports = [(p.published_port, p.target_port, p.protocol) for p in spec.endpoint.ports]
    assert ports == [
        (0, 80, PortConfig.TCP),
        (8080, 80, PortConfig.UDP),
        (8081, 81, PortConfig.UDP),
        (53, 53, PortConfig.UDP),
    ]
    assert spec.endpoint.ports[3].publish_mode == PortConfig.HOST


def test_volumes_short_and_long() -> None:
    spec = service(
        """
volumes:
  - data:/data:nocopy
  - ./conf:/conf:ro
  - ../up:/up
  - /anon
  - {type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 01777}}
  - {type: bind, source: ./b, target: /b, bind: {propagation: rshared}}
  - {type: volume, source: named, target: /n, volume: {subpath: x}}
tmpfs: /run
""",
        "volumes: {data: {driver: local, driver_opts: {o: bind}}, named: {name: real}}",
    )
    shown = [(m.type, m.source, m.target) for m in spec.task.container.mounts]
    assert shown == [
        (Mount.VOLUME, "s_data", "/data"),
        (Mount.BIND, "/srv/app/conf", "/conf"),
        (Mount.BIND, "/srv/up", "/up"),
        (Mount.VOLUME, "", "/anon"),
        (Mount.TMPFS, "", "/t"),
        (Mount.BIND, "/srv/app/b", "/b"),
        (Mount.VOLUME, "real", "/n"),
        (Mount.TMPFS, "", "/run"),
    ]
    mounts = spec.task.container.mounts
    assert mounts[0].volume_options.nocopy
    assert dict(mounts[0].volume_options.driver_config.options) == {"o": "bind"}
    assert mounts[1].readonly
    assert (mounts[4].tmpfs_options.size_bytes, mounts[4].tmpfs_options.mode) == (64 << 20, 0o1777)


def test_deploy_in_full() -> None:
    spec = service(
        """
deploy:
  replicas: 4
  endpoint_mode: dnsrr
  labels: [a=b, c]
  update_config: {delay: 10s, failure_action: rollback, order: start-first, max_failure_ratio: 0.5}
  rollback_config: {parallelism: 0}
  restart_policy: {condition: on-failure, delay: 1s, max_attempts: 3, window: 2m}
  resources:
    limits: {cpus: 0.5, memory: 50M, pids: 10}
    reservations:
      cpus: '0.25'
      memory: 20M
      generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]
  placement:
    constraints: [node.role == manager]
    preferences: [{spread: node.labels.zone}]
    max_replicas_per_node: 2
restart: always
"""
    )
    assert spec.replicated.replicas == 4
    assert dict(spec.annotations.labels).items() >= {"a": "b", "c": ""}.items()
    assert (spec.update.parallelism, spec.update.delay.seconds) == (1, 10)
    assert spec.update.failure_action == UpdateConfig.ROLLBACK
    assert spec.HasField("rollback") and spec.rollback.parallelism == 0
    assert spec.task.restart.condition == RestartPolicy.ON_FAILURE
    assert spec.task.restart.max_attempts == 3
    limits = spec.task.resources.limits
    assert (limits.nano_cpus, limits.memory_bytes, limits.pids) == (5 * 10**8, 50 << 20, 10)
    assert spec.task.resources.reservations.generic[0].discrete == 2
    assert spec.task.placement.max_replicas == 2


def test_modes() -> None:
    assert service("deploy: {mode: global}").WhichOneof("mode") == "global"
    job = service("deploy: {mode: replicated-job, replicas: 3}").replicated_job
    assert (job.total_completions, job.max_concurrent) == (3, 3)
    restarted = service("restart: on-failure:5").task.restart
    assert (restarted.condition, restarted.max_attempts) == (RestartPolicy.ON_FAILURE, 5)


def test_process_keys() -> None:
    spec = service(
        """
entrypoint: /bin/sh -c "a b"
command: [x, "1"]
healthcheck: {test: curl -f http://x, interval: 1m30s, timeout: 5s, retries: 3, start_period: 1s}
stop_grace_period: 1m
cap_add: [net_admin]
ulimits: {nproc: 65535, nofile: {soft: 1, hard: 2}}
extra_hosts: ["db:10.0.0.1"]
dns: 8.8.8.8
logging: {driver: json-file, options: {max-size: 10m}}
init: true
user: 1000:1000
sysctls: {net.core.somaxconn: 1024}
"""
    ).task
    container = spec.container
    assert list(container.command) == ["/bin/sh", "-c", "a b"]
    assert list(container.args) == ["x", "1"]
    assert list(container.healthcheck.test) == ["CMD-SHELL", "curl -f http://x"]
    assert container.healthcheck.interval.seconds == 90
    assert container.stop_grace_period.seconds == 60
    assert list(container.capability_add) == ["CAP_NET_ADMIN"]
    assert [(u.name, u.soft, u.hard) for u in container.ulimits] == [
        ("nproc", 65535, 65535),
        ("nofile", 1, 2),
    ]
    assert list(container.hosts) == ["10.0.0.1 db"]
    assert spec.log_driver.options["max-size"] == "10m"
    assert (container.init, container.user) == (True, "1000:1000")
    assert dict(container.sysctls) == {"net.core.somaxconn": "1024"}


def test_secrets_configs_and_networks(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\x00k")
    (tmp_path / "vars").write_text("# c\nA=1\nB=2\n\nC\n")
    text = """
services:
  web:
    image: x
    env_file: vars
    environment: [B=3]
    secrets: [key, {source: ext, target: other, uid: "5", mode: 0400}]
    configs: [conf]
    networks: {front: {aliases: [w, web]}, ext: , host: }
networks:
  front: {driver_opts: {mtu: 1400}, ipam: {config: [{subnet: 10.5.0.0/16}]}, attachable: true}
  ext: {external: true, name: real}
  host: {external: {name: host}}
  unused: {}
secrets: {key: {file: key}, ext: {external: true}}
configs: {conf: {environment: CONF}}
"""
    made = load([("c.yml", text)], "s", folder=tmp_path, environment={"CONF": "hello", "C": "out"})
    container = made.services[0].task.container
    assert list(container.env) == ["A=1", "B=3", "C=out"]
    assert [s.secret_name for s in container.secrets] == ["s_key", "ext"]
    assert (container.secrets[1].file.name, container.secrets[1].file.mode) == ("other", 0o400)
    assert container.configs[0].file.name == "/conf"
    assert [(s.annotations.name, s.data) for s in made.secrets] == [("s_key", b"\x00k")]
    assert made.configs[0].data == b"hello"
    assert [n.target for n in made.services[0].task.networks] == ["s_front", "real", "host"]
    assert list(made.services[0].task.networks[0].aliases) == ["web", "w"]
    assert [n.annotations.name for n in made.networks] == ["s_front"]
    assert made.networks[0].ipam.configs[0].subnet == "10.5.0.0/16"
    assert made.external_networks == ["real", "host"]


def test_anchors_merge_and_extensions() -> None:
    made = stack(
        """
x-env: &env {A: 1, B: 1}
x-more: &more {C: 1}
services:
  web:
    image: x
    environment: {<<: [*env, *more], B: 2}
    x-own: whatever
"""
    )
    assert sorted(made.services[0].task.container.env) == ["A=1", "B=2", "C=1"]


def test_later_files_change_earlier_ones() -> None:
    base = """
services:
  web:
    image: nginx:1
    command: [a, b]
    environment: [A=1, B=1]
    ports: ["80:80"]
    volumes: ["data:/d"]
    dns: [1.1.1.1]
volumes: {data: {}, other: {}}
"""
    over = """
services:
  web:
    image: nginx:2
    command: [c]
    environment: {B: 2}
    ports: ["80:80", "81:81"]
    volumes: ["other:/d"]
    dns: [2.2.2.2]
  more: {image: x}
"""
    made = stack(base, over)
    web = made.services[0]
    assert web.task.container.image == "nginx:2"
    assert list(web.task.container.args) == ["c"]
    assert list(web.task.container.env) == ["A=1", "B=2"]
    assert len(web.endpoint.ports) == 2
    assert [m.source for m in web.task.container.mounts] == ["s_other"]
    assert list(web.task.container.dns_config.nameservers) == ["1.1.1.1", "2.2.2.2"]
    assert [s.annotations.name for s in made.services] == ["s_web", "s_more"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A", "1"),
        ("${A}b", "1b"),
        ("$$A", "$A"),
        ("${E:-d}", "d"),
        ("${E-d}", ""),
        ("${U-d}", "d"),
        ("${U:-${A}}", "1"),
        ("${A:+r}", "r"),
        ("${E:+r}", ""),
        ("${E+r}", "r"),
        ("${U+r}", ""),
        ("${U}", ""),
        ("${L}", "${A}"),
        ("${A:?no}", "1"),
        ("${U:-}", ""),
    ],
)
def test_variables(text: str, value: str) -> None:
    environment = {"A": "1", "E": "", "L": "${A}"}
    assert substitute(text, environment, set()) == value


@given(st.text(alphabet="${}:-?+AB_ 1", max_size=30))
def test_no_text_breaks_interpolation(text: str) -> None:
    try:
        substitute(text, {"A": "x$A${B}"}, set())
    except InvalidSpec as error:
        assert str(error)


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_no_file_breaks_the_parser(text: str | bytes) -> None:
    try:
        node = tree.parse(text, "f")
    except InvalidSpec as error:
        assert str(error).startswith("f:")
        assert "\n" not in str(error)
    else:
        tree.to_yaml(node)


@given(
    st.dictionaries(
        st.text(alphabet="abc", min_size=1, max_size=3),
        st.text(alphabet="a0.:-~ontrue", max_size=6) | st.integers() | st.booleans() | st.none(),
        max_size=4,
    )
)
def test_what_is_printed_reads_as_the_same(values: dict[str, Any]) -> None:
    import json

    text = "\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    first = tree.parse(text or "{}", "f")
    second = tree.parse(tree.to_yaml(first), "f")
    assert {k: v.text for k, v in first.value.items()} == {
        k: v.text for k, v in second.value.items()
    }


def test_unset_variables_and_ignored_keys_warn() -> None:
    made = stack("services: {web: {image: 'x${TAG}', expose: [1], mac_address: x}}")
    assert made.warnings == [
        "the variable TAG is not set; it is empty",
        "Ignoring unsupported options: expose (0.yml:1:36), mac_address (0.yml:1:62)",
    ]


def test_what_a_service_shares_with_its_host_is_honoured(tmp_path: Path) -> None:
    (tmp_path / "seccomp.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    text = """
services:
  agent:
    image: agent:1
    privileged: true
    pid: host
    ipc: shareable
    uts: host
    userns_mode: host
    devices: ["/dev/fuse", "/dev/kvm:/dev/kvm:rw"]
    security_opt: ["seccomp:seccomp.json", "no-new-privileges", "systempaths=unconfined"]
"""
    made = load([("f", text)], "s", folder=tmp_path, environment={})
    spec = made.services[0].task.container
    assert made.warnings == []
    assert (spec.privileged, spec.pid_mode, spec.uts_mode) == (True, "host", "host")
    assert (spec.ipc_mode, spec.userns_mode) == ("shareable", "host")
    assert list(spec.devices) == ["/dev/fuse", "/dev/kvm:/dev/kvm:rw"]
    assert spec.privileges.seccomp.profile == b'{"defaultAction": "SCMP_ACT_ALLOW"}'
    assert spec.privileges.no_new_privileges
    assert list(spec.security_options) == ["systempaths=unconfined"]


def test_a_namespace_of_another_container_is_refused_where_it_stands() -> None:
    with pytest.raises(InvalidSpec, match=r"0.yml:1:\d+: services.web.pid: expected host"):
        stack("services: {web: {image: x, pid: 'service:db'}}")


def test_config_prints_the_merged_file() -> None:
    merged, warnings = combine(
        [("a", "services: {web: {image: '${I}', command: ['22:22']}}")], {"I": "on"}, Path("/srv")
    )
    assert tree.to_yaml(merged) == (
        "services:\n  web:\n    image: 'on'\n    command:\n    - '22:22'\n"
    )
    assert warnings == []


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*/*compose*.yml")), ids=lambda p: p.parent.name
)
def test_the_examples_load(path: Path) -> None:
    made = load(
        [(str(path), path.read_bytes())],
        "demo",
        folder=path.parent,
        environment={"REGISTRY": "192.0.2.1:5000"},
    )
    assert made.services


def test_a_build_section_is_read_whole() -> None:
    made = stack(
        """
secrets: {token: {file: FILE}, key: {environment: KEY}}
services:
  web:
    build:
      context: ./web
      dockerfile: Dockerfile.prod
      args: [A=b, HOME]
      target: prod
      labels: {l: m}
      cache_from: [r:5/c:d, "type=registry,ref=e", "type=local,src=kept"]
      network: host
      shm_size: 128m
      secrets: [token, {source: key, target: k}]
      tags: [r:5/web:1]
      platforms: [linux/arm64/v8]
      extra_hosts: {db: 10.0.0.5}
      ulimits: {nofile: {soft: 1, hard: 2}}
      ssh: [default]
      additional_contexts: {base: docker-image://alpine}
      no_cache: true
      cache_to: [x, "type=local,dest=kept,mode=max"]
      provenance: false
      sbom: true
  plain: {build: ., image: r:5/plain}
""".replace("FILE", __file__),
        HOME="/h",
        KEY="k",
    )
    web, plain = made.builds
    options = web.options
    assert (web.context, web.dockerfile, web.image) == ("./web", "Dockerfile.prod", web.image)
    assert web.image.endswith("-web:latest") and options.tags == [web.image, "r:5/web:1"]
    assert dict(options.build_args) == {"A": "b", "HOME": "/h"} and options.target == "prod"
    assert options.cache_from == ["r:5/c:d", "e:latest"] and options.network == "host"
    assert options.shm_size_bytes == 128 << 20 and options.extra_hosts == ["db:10.0.0.5"]
    assert options.platform.variant == "v8" and options.no_cache
    assert web.secret_files == {"token": __file__}
    assert web.secret_variables == {"k": "KEY"} and web.ssh == ["default"]
    assert web.contexts == {"base": "docker-image://alpine"}
    assert [one.ref for one in options.cache_to] == ["x:latest"]
    assert web.cache_sources == ["kept"] and web.cache_folders == [Folder("kept", every=True)]
    [warning] = made.warnings
    assert warning.startswith("Ignoring unsupported options: build.sbom (0.yml:")
    assert plain.image == "r:5/plain:latest" and plain.context == "."
    images = [service.task.container.image for service in made.services]
    assert images == [web.image.removesuffix(":latest"), "r:5/plain"]
