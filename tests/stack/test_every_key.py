"""Every key of the compose specification is honoured, named in a warning or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.stack.load import Stack, load

FOLDER = Path(__file__).parent
TOP = """
networks: {back: {}}
volumes: {data: {}}
secrets: {key: {content: s}}
configs: {site: {content: c}}
"""
OTHERS = "\n  db: {image: y, networks: [back, default]}\n"

HONOURED = {
    "build": ".",
    "cap_add": "[NET_ADMIN]",
    "cap_drop": "[CHOWN]",
    "cgroupns_mode": "host",
    "command": "[a, b]",
    "configs": "[site]",
    "cpu_shares": "512",
    "cpus": "0.5",
    "cpuset": "0-1",
    "depends_on": "[db]",
    "deploy": "{replicas: 3}",
    "devices": "[/dev/fuse]",
    "dns": "[192.0.2.1]",
    "dns_opt": "['ndots:3']",
    "dns_search": "[example.com]",
    "domainname": "example.com",
    "entrypoint": "[x]",
    "env_file": "[nothing]",
    "environment": "{A: b}",
    "extra_hosts": "['a:192.0.2.1']",
    "group_add": "['5']",
    "healthcheck": "{test: [CMD, x]}",
    "hostname": "h",
    "image": "other",
    "init": "true",
    "ipc": "host",
    "labels": "{a: b}",
    "links": "['db:database']",
    "logging": "{driver: local}",
    "mem_limit": "64m",
    "mem_reservation": "32m",
    "mem_swappiness": "10",
    "network_mode": "host",
    "networks": "[back]",
    "oom_score_adj": "100",
    "pid": "host",
    "pids_limit": "10",
    "ports": "['80:80']",
    "privileged": "true",
    "profiles": "[never]",
    "read_only": "true",
    "restart": "'no'",
    "scale": "2",
    "secrets": "[key]",
    "security_opt": "['no-new-privileges:true']",
    "shm_size": "1m",
    "stdin_open": "true",
    "stop_grace_period": "3s",
    "stop_signal": "SIGINT",
    "sysctls": "{net.core.somaxconn: 1}",
    "tmpfs": "/t",
    "tty": "true",
    "ulimits": "{nofile: 100}",
    "user": "'5'",
    "userns_mode": "host",
    "uts": "host",
    "volumes": "['data:/d']",
    "working_dir": "/w",
}
"""Each with a value that makes another spec."""

NAMED = {
    "annotations": "{a: b}",
    "attach": "false",
    "blkio_config": "{weight: 10}",
    "cgroup": "host",
    "cgroup_parent": "x",
    "container_name": "x",
    "cpu_count": "1",
    "cpu_percent": "1",
    "cpu_period": "1",
    "cpu_rt_period": "1",
    "cpu_rt_runtime": "1",
    "develop": "{watch: []}",
    "device_cgroup_rules": "['c 1:3 mr']",
    "expose": "['80']",
    "external_links": "[x]",
    "gpus": "all",
    "label_file": "x",
    "mac_address": "02:00:00:00:00:01",
    "models": "[x]",
    "network_mode": "'service:db'",
    "oom_kill_disable": "true",
    "platform": "linux/amd64",
    "post_start": "[{command: x}]",
    "pre_stop": "[{command: x}]",
    "provider": "{type: x}",
    "pull_policy": "never",
    "runtime": "runc",
    "storage_opt": "{size: 1G}",
    "use_api_socket": "true",
}
REFUSED = {
    "cpu_quota": "1",
    "credential_spec": "{file: x}",
    "memswap_limit": "1g",
    "volume_driver": "x",
    "volumes_from": "[db]",
}
SAME = {"isolation": "default", "pull_policy": "always"}
"""What asks for nothing else than there is."""


def stack(body: str) -> Stack:
    text = f"services:\n  web:\n    image: x\n{body}{OTHERS}{TOP}"
    return load([("c.yml", text)], "s", folder=FOLDER, environment={})


@pytest.fixture(scope="module")
def plain() -> Stack:
    return stack("")


@pytest.mark.parametrize("key", HONOURED)
def test_a_key_that_is_honoured_makes_another_stack(key: str, plain: Stack, tmp_path: Path) -> None:
    (tmp_path / "nothing").write_text("FROM_FILE=1\n")
    text = (
        f"services:\n  web:\n{'' if key == 'image' else '    image: x'}\n    {key}: {HONOURED[key]}"
    )
    text += OTHERS + TOP
    made = load([("c.yml", text)], "s", folder=tmp_path, environment={})
    assert (made.services, made.builds) != (plain.services, plain.builds)
    assert not any("Ignoring" in warning for warning in made.warnings)


@pytest.mark.parametrize("key", NAMED)
def test_a_key_that_changes_nothing_is_named_once_with_its_line(key: str, plain: Stack) -> None:
    made = stack(f"    {key}: {NAMED[key]}\n")
    assert made.services == plain.services
    [warning] = made.warnings
    assert warning.startswith(f"Ignoring unsupported options: {key} (c.yml:4:")


@pytest.mark.parametrize("key", REFUSED)
def test_a_key_that_is_refused_is_named_with_what_to_write(key: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"c\.yml:4:\d+: services\.web\.{key}: not supported"):
        stack(f"    {key}: {REFUSED[key]}\n")


@pytest.mark.parametrize("key", SAME)
def test_a_key_that_asks_for_what_is_done_anyway_says_nothing(key: str, plain: Stack) -> None:
    made = stack(f"    {key}: {SAME[key]}\n")
    assert made.warnings == []


def test_extends_is_honoured(plain: Stack) -> None:
    text = f"services:\n  web: {{extends: db}}{OTHERS}{TOP}"
    made = load([("c.yml", text)], "s", folder=FOLDER, environment={})
    assert made.services[0].task.container.image == "y"


def test_a_linked_service_answers_to_the_name_of_the_link() -> None:
    made = {s.annotations.name: s for s in stack("    links: ['db:database', db]\n").services}
    by_network = {n.target: list(n.aliases) for n in made["s_db"].task.networks}
    assert by_network == {"s_back": ["db"], "s_default": ["db", "database"]}
    with pytest.raises(InvalidSpec, match="there is no service 'nobody' here"):
        stack("    links: [nobody]\n")
    with pytest.raises(InvalidSpec, match="web and db are on no network together"):
        stack("    links: [db]\n    network_mode: host\n")


def test_the_hosts_network_is_one_of_its_own() -> None:
    made = stack("    network_mode: host\n")
    [network] = made.services[0].task.networks
    assert network.target == "host"
    with pytest.raises(InvalidSpec, match="cannot be combined with networks"):
        stack("    network_mode: host\n    networks: [back]\n")
