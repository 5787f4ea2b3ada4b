"""Every key of the compose specification below a service, and of what stands beside services: it
makes another stack, is named in a warning or is refused by its path; none is dropped in silence.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.stack.load import Stack, load

TOP = """
networks: {back: {}, six: {enable_ipv6: true}}
volumes: {data: {}}
secrets: {key: {content: s}}
configs: {site: {content: c}}
"""
SERVICE = {
    "healthcheck": (
        "test: [CMD, x]",
        ["interval: 7s", "timeout: 7s", "retries: 7", "start_period: 7s", "start_interval: 7s"],
    ),
    "deploy": (
        "replicas: 2",
        ["endpoint_mode: dnsrr", "labels: {a: b}"],
    ),
    "deploy.update_config": (
        "parallelism: 2",
        ["delay: 7s", "failure_action: rollback", "monitor: 7s", "max_failure_ratio: 0.5",
         "order: start-first"],
    ),
    "deploy.rollback_config": (
        "parallelism: 2",
        ["delay: 7s", "failure_action: continue", "monitor: 7s", "max_failure_ratio: 0.5",
         "order: start-first"],
    ),
    "deploy.resources.limits": ("cpus: '1'", ["memory: 64m", "pids: 7"]),
    "deploy.resources.reservations": (
        "cpus: '1'",
        ["memory: 64m", "generic_resources: [{discrete_resource_spec: {kind: g, value: 2}}]",
         "devices: [{capabilities: [gpu]}]"],
    ),
    "deploy.restart_policy": (
        "condition: on-failure", ["delay: 7s", "max_attempts: 7", "window: 7s"]
    ),
    "deploy.placement": (
        "max_replicas_per_node: 1",
        ["constraints: [node.role == worker]", "preferences: [{spread: node.labels.a}]"],
    ),
    "ports.0": (
        "target: 80",
        ["published: 8080", "host_ip: 192.0.2.1", "protocol: udp", "mode: host", "name: web",
         "app_protocol: http"],
    ),
    "volumes.0": (
        "{type: volume, source: data, target: /d}",
        ["read_only: true", "consistency: cached", "volume: {nocopy: true}",
         "volume: {subpath: s}", "volume: {labels: {a: b}}"],
    ),
    "volumes.1": (
        "{type: bind, source: /b, target: /d}",
        ["bind: {propagation: rshared}", "bind: {create_host_path: false}", "bind: {selinux: z}",
         "bind: {recursive: readonly}"],
    ),
    "volumes.2": (
        "{type: tmpfs, target: /d}", ["tmpfs: {size: 7m}", "tmpfs: {mode: 0700}"]
    ),
    "volumes.3": ("{type: image, source: x, target: /d}", ["image: {subpath: s}"]),
    "networks.six": (
        "",
        ["aliases: [a]", "ipv4_address: 10.0.0.7", "ipv6_address: 'fd00::7'",
         "link_local_ips: [169.254.0.7]", "mac_address: '02:00:00:00:00:07'",
         "driver_opts: {a: b}", "gw_priority: 7", "interface_name: eth7", "priority: 7"],
    ),
    "configs.0": ("source: site", ["target: /t", "uid: '7'", "gid: '7'", "mode: 0400"]),
    "secrets.0": ("source: key", ["target: t", "uid: '7'", "gid: '7'", "mode: 0400"]),
    "logging": ("driver: local", ["options: {max-size: 7m}"]),
    "depends_on.db": ("condition: service_started", ["required: false", "restart: true"]),
    "ulimits.nofile": ("{soft: 7, hard: 8}", []),
}  # fmt: skip
"""A section of a service, what it has in any case, and the keys that are tried one by one."""
BESIDE = {
    "networks.n": (
        "",
        ["driver: overlay", "driver_opts: {com.docker.network.driver.mtu: '1400'}",
         "attachable: true", "internal: true", "enable_ipv6: true", "enable_ipv4: false",
         "external: true", "name: other", "labels: {a: b}",
         "ipam: {driver: special}", "ipam: {config: [{subnet: 10.7.0.0/24}]}",
         "ipam: {config: [{subnet: 10.7.0.0/24, ip_range: 10.7.0.0/28}]}",
         "ipam: {config: [{subnet: 10.7.0.0/24, gateway: 10.7.0.7}]}",
         "ipam: {config: [{subnet: 10.7.0.0/24, aux_addresses: {a: 10.7.0.7}}]}",
         "ipam: {options: {a: b}}"],
    ),
    "volumes.n": (
        "", ["driver: other", "driver_opts: {type: nfs}", "external: true", "name: other",
             "labels: {a: b}"],
    ),
    "secrets.n": (
        "content: s",
        ["name: other", "labels: {a: b}", "template_driver: golang", "driver: x",
         "driver_opts: {a: b}"],
    ),
    "configs.n": ("content: c", ["name: other", "labels: {a: b}", "template_driver: golang"]),
}  # fmt: skip
SAYS_THE_DEFAULT = {"driver: overlay"}
"""What is so without the key."""


def text(path: str, *keys: str) -> str:
    """A file with a section in a service, or in a definition that the service uses."""
    inner = ", ".join(key.removeprefix("{").removesuffix("}") if n == 0 and key.startswith("{")
                      else key for n, key in enumerate(k for k in keys if k))  # fmt: skip
    body = f"{{{inner}}}"
    for part in reversed(path.split(".")[1:]):
        body = f"[{body}]" if part.isdigit() else f"{{{part}: {body}}}"
    return f"    {path.partition('.')[0]}: {body}\n"


def of_service(path: str, *keys: str) -> Stack | str:
    return loaded(f"services:\n  web:\n    image: x\n{text(path, *keys)}  db: {{image: y}}\n{TOP}")


def of_definition(path: str, *keys: str) -> Stack | str:
    kind = path.partition(".")[0]
    use = "    volumes: ['n:/d']\n" if kind == "volumes" else f"    {kind}: [n]\n"
    return loaded(f"services:\n  web:\n    image: x\n{use}{text(path, *keys).strip()}\n")


def loaded(file: str) -> Stack | str:
    try:
        return load([("c.yml", file)], "s", folder=Path("/nowhere"), environment={})
    except InvalidSpec as error:
        return str(error)


CASES = [
    *((of_service, path, first, key) for path, (first, keys) in SERVICE.items() for key in keys),
    *((of_definition, path, first, key) for path, (first, keys) in BESIDE.items() for key in keys),
]


@pytest.mark.parametrize(
    ("made", "path", "first", "key"), CASES, ids=[f"{c[1]} {c[3]}" for c in CASES]
)
def test_no_key_is_dropped_in_silence(made, path, first, key) -> None:
    without, found = made(path, first), made(path, first, key)
    assert isinstance(without, Stack), without
    names = {word.strip(" {[") for word in key.split(":")[:-1]}
    if isinstance(found, str):
        assert any(name in found for name in names), f"refused without its name: {found}"
    elif key not in SAYS_THE_DEFAULT:
        fresh = set(found.warnings) - set(without.warnings)
        said = any(name in line for line in fresh for name in names)
        assert said or specs(found) != specs(without), "dropped in silence"


def specs(stack: Stack) -> tuple[object, ...]:
    return (stack.services, stack.networks, stack.external_networks, stack.secrets, stack.configs)
