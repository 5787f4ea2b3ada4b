"""Stack files of Docker's users: what they write is taken, ignored by a line, or all refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack import tree
from swarmlite.stack.load import Stack, combine, load
from swarmlite.stack.problems import Several


def stack(text: str, folder: Path = Path("/srv/app"), **environment: str) -> Stack:
    return load([("c.yml", text)], "s", folder=folder, environment=environment)


def service(body: str, folder: Path = Path("/srv/app"), **environment: str) -> ServiceSpec:
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    text = f"services:\n  web:\n    image: nginx\n{lines}\n"
    return stack(text, folder, **environment).services[0]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """A line each, with its place; not the first thing only."""
    text = (
        "services:\n  a: {image: x, tty: maybe, init: perhaps}\n"
        "  b: {imagee: y}\n  c: {image: z, volume_driver: x, cpu_quota: 2}\n"
    )
    with pytest.raises(Several) as raised:
        stack(text)
    lines = raised.value.lines
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        "services.a.tty",
        "services.a.init",
        "services.b.imagee",
        "services.c.volume_driver",
        "services.c.cpu_quota",
    ]
    assert lines[-1].endswith("not supported in a stack: use deploy.resources.limits.cpus")


def test_keys_without_meaning_in_a_swarm_are_ignored_by_a_line() -> None:
    made = stack(
        "services:\n  a:\n    image: x\n    mac_address: x\n    pull_policy: never\n"
        "    networks: {default: {ipv4_address: 10.0.0.5}}\n    deploy: {replicas: 2}\n"
    )
    assert made.warnings == [
        "Ignoring unsupported options: mac_address (c.yml:4:18), networks.ipv4_address (c.yml:2:3),"
        " pull_policy (c.yml:5:18)"
    ]
    assert not made.services[0].task.networks[0].addresses
    one = stack("services: {a: {image: x, networks: {default: {ipv4_address: 10.0.0.5}}}}\n")
    assert not one.warnings
    assert one.services[0].task.networks[0].addresses == ["10.0.0.5"]


def test_a_terminal_and_its_surroundings_are_honoured() -> None:
    """What plain containers have, a service's have too."""
    spec = service(
        "tty: true\nstdin_open: true\ncgroupns_mode: host\nshm_size: 128m\n"
        "domainname: example.org\n"
        "logging: {driver: local, options: {max-size: 1m, compress: 'true'}}"
    )
    container = spec.task.container
    assert (container.tty, container.open_stdin, container.cgroupns_mode) == (True, True, "host")
    assert (container.shm_size_bytes, container.domainname) == (128 << 20, "example.org")
    from swarmlite.model.validate import validate_service

    spec.task.networks[0].target = "net"
    validate_service(spec)


def test_an_unknown_key_guesses_only_what_is_close_and_lists_only_what_is_short() -> None:
    """The list of all keys of a service floods the screen; a far guess misleads."""
    with pytest.raises(InvalidSpec) as raised:
        stack("services: {a: {image: x, wholly: y}}")
    assert str(raised.value) == "c.yml:1:34: services.a.wholly: unknown key"
    with pytest.raises(InvalidSpec) as raised:
        stack("services: {a: {image: x, enviroment: []}}")
    assert str(raised.value).endswith("unknown key; did you mean 'environment'?")
    with pytest.raises(InvalidSpec) as raised:
        stack("services: {a: {image: x, logging: {what: y}}}")
    assert str(raised.value).endswith("unknown key; expected one of driver, options")


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("'on'", True), ("no", False)])
def test_booleans_in_yaml_s_older_words(word: str, value: bool) -> None:
    assert service(f"read_only: {word}").task.container.read_only is value


def test_empty_values_are_none() -> None:
    """As `${HOST:-}` leaves them."""
    container = service('hostname: ${NO:-}\nworking_dir: ""\nuser: ""').task.container
    assert (container.hostname, container.dir, container.user) == ("", "", "")


def test_several_ports_of_the_host_may_lead_to_one_of_the_container() -> None:
    spec = service('ports: ["8180-8182:80", "0:81", {target: 82, published: 0}]')
    found = [(p.published_port, p.target_port) for p in spec.endpoint.ports]
    assert found == [(8180, 80), (8181, 80), (8182, 80), (0, 81), (0, 82)]


def test_names_of_the_host_s_gateway_and_long_names() -> None:
    long = ".".join(["a" * 40, "b" * 40, "example.org"])
    spec = service(f'extra_hosts: ["db:host-gateway", "{long}:10.0.0.1"]')
    assert list(spec.task.container.hosts) == ["host-gateway db", f"10.0.0.1 {long}"]
    from swarmlite.model.validate import validate_service

    spec.annotations.name = "web"
    spec.task.networks[0].target = "net"
    validate_service(spec)


def test_a_bind_s_source_goes_as_it_is_written(tmp_path: Path) -> None:
    """Links are followed by the host that runs the task, and not where the command was typed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    body = "volumes:\n  - ./link/data:/a\n  - {type: bind, source: ./link, target: /b}"
    container = service(body, tmp_path).task.container
    assert [m.source for m in container.mounts] == [f"{tmp_path}/link/data", f"{tmp_path}/link"]


def test_an_env_file_s_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes("A=1\x0c2\r\nB=x\u2028y\rz\n".encode())
    env = service("env_file: env", tmp_path).task.container.env
    assert list(env) == ["A=1\x0c2", "B=x\u2028y\rz"]


@pytest.mark.parametrize("text", ["010", "0x1F", "007", "3.10", "1e3", "0o17", "-5", "true"])
def test_config_prints_scalars_as_they_are_written(text: str) -> None:
    """What it prints deploys the same containers."""
    source = f"services:\n  web:\n    image: nginx\n    environment:\n      A: {text}\n"
    printed = tree.to_yaml(combine([("c.yml", source)], {}, Path("/srv"))[0])
    assert yaml.safe_load(printed)["services"]["web"]["environment"] == {"A": text}
    assert stack(printed).services[0].task.container.env == [f"A={text}"]


def test_what_else_is_said_of_something_external_is_named_and_changes_nothing() -> None:
    """As with Docker, which takes `driver: overlay` of a network that is there already."""
    text = """
services: {web: {image: a, networks: [proxy], secrets: [key], configs: [site]}}
networks: {proxy: {external: true, driver: overlay, attachable: true}}
secrets: {key: {external: true, file: gone}}
configs: {site: {external: true, name: other}}
"""
    made = stack(text)
    (service,) = made.services
    assert [network.target for network in service.task.networks] == ["proxy"]
    assert not made.networks and not made.secrets and not made.configs
    assert made.warnings == [
        "networks.proxy (c.yml:3:12) is external: its other keys are ignored: driver, attachable",
        "secrets.key (c.yml:4:11) is external: its other keys are ignored: file",
    ]
