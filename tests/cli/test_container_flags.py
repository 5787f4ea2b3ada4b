"""The flags of run and create: what they make, and what they say of what is wrong."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from google.protobuf.json_format import MessageToDict

from swarmlite.cli.app import usage_line
from swarmlite.cli.container.flags.configuration import attach_to, build
from swarmlite.cli.container.run import command
from swarmlite.cli.lazy import Failed
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerConfig, ContainerRestartPolicy
from swarmlite.proto.types_pb2 import Mount, PortConfig, Privileges


def made(line: str, image: str = "busybox") -> ContainerConfig:
    """The configuration that `run LINE busybox` asks for."""
    context = command.make_context("run", [*shlex.split(line), *shlex.split(image)])
    values = dict(context.params)
    config = build(values.pop("image"), values.pop("args"), values)
    attach_to(config, values, detach=values["detach"])
    return config


def refused(line: str) -> str:
    """The one line that `run LINE` ends with."""
    try:
        made(line)
    except click.UsageError as error:
        return usage_line(error)
    except (InvalidSpec, Failed) as error:
        return str(error)
    raise AssertionError(f"nothing was wrong with {line}")


def spec(line: str, image: str = "busybox") -> dict[str, Any]:
    return MessageToDict(made(line, image).spec, preserving_proto_field_name=True)


def test_a_plain_run_asks_for_nothing_but_the_image() -> None:
    """Everything else is left to defaults; output is attached."""
    config = made("", "busybox echo hi")
    assert MessageToDict(config) == {
        "spec": {"image": "busybox", "args": ["echo", "hi"]},
        "networkMode": "default",
        "attachStdout": True,
        "attachStderr": True,
    }


def test_links_are_of_the_first_network() -> None:
    config = made("--link db --link cache:redis")
    assert config.network_mode == "default"
    assert [(e.network, list(e.links)) for e in config.networks] == [
        ("default", ["db", "cache:redis"])
    ]
    named = made("--network front --network back --link db")
    assert [(e.network, list(e.links)) for e in named.networks] == [("front", ["db"]), ("back", [])]


def test_the_process() -> None:
    line = (
        "-it --init -u app:www --group-add 44 -w /srv -h host --domainname example.org --read-only"
        " --entrypoint sh --stop-signal SIGINT --stop-timeout 30 --sysctl net.core.somaxconn=9"
        " --ulimit nofile=10:20 --oom-score-adj -5 -e A=1"
    )
    assert spec(line, "busybox -c true") == {
        "image": "busybox",
        "command": ["sh"],
        "args": ["-c", "true"],
        "tty": True,
        "open_stdin": True,
        "init": True,
        "user": "app:www",
        "groups": ["44"],
        "dir": "/srv",
        "hostname": "host",
        "domainname": "example.org",
        "read_only": True,
        "stop_signal": "SIGINT",
        "stop_grace_period": "30s",
        "sysctls": {"net.core.somaxconn": "9"},
        "ulimits": [{"name": "nofile", "soft": "10", "hard": "20"}],
        "oom_score_adj": -5,
        "env": ["A=1"],
    }
    assert made("-i").stdin_once
    assert not made("-id").stdin_once
    assert list(made("--entrypoint ''").spec.command) == [""]


def test_limits() -> None:
    config = made(
        "-m 64m --memory-swap -1 --memory-reservation 32m --cpus 1.5 --cpu-shares 512"
        " --cpuset-cpus 0-1,3 --pids-limit 10 --blkio-weight 500 --device-read-bps /dev/sda:1mb"
        " --shm-size 128m --memory-swappiness 10"
    )
    assert MessageToDict(config.resources, preserving_proto_field_name=True) == {
        "memory_bytes": str(64 * 2**20),
        "memory_swap_bytes": "-1",
        "memory_reservation_bytes": str(32 * 2**20),
        "nano_cpus": "1500000000",
        "cpu_shares": "512",
        "cpuset_cpus": "0-1,3",
        "pids_limit": "10",
        "blkio_weight": 500,
        "device_read_bps": [{"path": "/dev/sda", "rate": str(2**20)}],
        "memory_swappiness": "10",
    }
    assert config.spec.shm_size_bytes == 128 * 2**20


def test_volumes_in_the_short_and_the_long_notation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bind's source is made absolute where the command is typed, and its links are kept."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")
    monkeypatch.setenv("PWD", str(tmp_path / "link"))
    config = made(
        "-v ./data:/a:ro,rslave -v vol:/b:nocopy -v /c --mount type=tmpfs,target=/d,tmpfs-size=1m"
        " --mount type=bind,source=./x,target=/e --tmpfs /f:size=1m,mode=700 --volumes-from db:ro"
    )
    bind, named, anonymous, long_bind = (
        next(m for m in config.spec.mounts if m.target == target)
        for target in ("/a", "/b", "/c", "/e")
    )
    assert bind.type == Mount.BIND
    assert bind.source == f"{tmp_path}/link/data"
    assert bind.readonly
    assert bind.bind_options.create_mountpoint
    assert bind.bind_options.propagation == Mount.BindOptions.RSLAVE
    assert (named.type, named.source) == (Mount.VOLUME, "vol")
    assert named.volume_options.nocopy
    assert (anonymous.type, anonymous.source) == (Mount.VOLUME, "")
    assert long_bind.source == f"{tmp_path}/link/x"
    assert not long_bind.bind_options.create_mountpoint
    tmpfs = [m for m in config.spec.mounts if m.type == Mount.TMPFS]
    assert [list(m.tmpfs_options.options) for m in tmpfs] == [[], ["size=1m", "mode=700"]]
    assert list(config.volumes_from) == ["db:ro"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80", [(80, 0, 0, "")]),
        ("8080:80", [(80, 8080, 0, "")]),
        ("0:80", [(80, 0, 0, "")]),
        ("8000-8001:80-81", [(80, 8000, 0, ""), (81, 8001, 0, "")]),
        ("8000-8002:80", [(80, 8000, 8002, "")]),
        ("127.0.0.1:8080:80", [(80, 8080, 0, "127.0.0.1")]),
        ("127.0.0.1::80", [(80, 0, 0, "127.0.0.1")]),
        ("[::1]:8080:80", [(80, 8080, 0, "::1")]),
        ("[::1]::80", [(80, 0, 0, "::1")]),
    ],
)
def test_published_ports(text: str, wanted: list[tuple[int, int, int, str]]) -> None:
    """A range for one port of the container means any port of the range that is free."""
    ports = made(f"-p {text}").ports
    assert [
        (p.target_port, p.published_port, p.published_port_end, p.host_ip) for p in ports
    ] == wanted
    assert {p.publish_mode for p in ports} == {PortConfig.HOST}


def test_networks_and_names() -> None:
    config = made(
        "--network front --network-alias web --ip 10.0.0.5 --mac-address 02-42-AC-11-00-02"
        " --network name=back,alias=a,alias=b,driver-opt=k=v,ip6=fd00::5"
        " --add-host db:10.0.0.9 --add-host host.docker.internal:host-gateway --dns 1.1.1.1"
        " --dns-search example.org --dns-option ndots:2 --expose 9000-9001/udp --expose 80 -P"
    )
    assert config.network_mode == "front"
    first, second = config.networks
    assert MessageToDict(first, preserving_proto_field_name=True) == {
        "network": "front",
        "aliases": ["web"],
        "ipv4_address": "10.0.0.5",
        "mac_address": "02:42:ac:11:00:02",
    }
    assert MessageToDict(second, preserving_proto_field_name=True) == {
        "network": "back",
        "aliases": ["a", "b"],
        "ipv6_address": "fd00::5",
        "driver_options": {"k": "v"},
    }
    assert list(config.spec.hosts) == ["10.0.0.9 db", "host-gateway host.docker.internal"]
    assert list(config.exposed_ports) == ["9000-9001/udp", "80/tcp"]
    assert config.publish_all
    assert not made("--network host").networks


def test_security(tmp_path: Path) -> None:
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    config = made(
        f"--security-opt seccomp={profile} --security-opt no-new-privileges --security-opt"
        " apparmor=unconfined --security-opt label=disable --cap-add net_admin --cap-drop ALL"
        " --device /dev/fuse --device /dev/null:/dev/x:r --device-cgroup-rule 'c 1:* rmw'"
        " --pid host --ipc container:db --uts host --userns host --cgroupns private --privileged"
    )
    privileges = config.spec.privileges
    assert privileges.seccomp.mode == Privileges.SeccompOpts.CUSTOM
    assert json.loads(privileges.seccomp.profile) == {"defaultAction": "SCMP_ACT_ALLOW"}
    assert privileges.no_new_privileges
    assert privileges.apparmor.mode == Privileges.AppArmorOpts.DISABLED
    assert list(config.spec.security_options) == ["label=disable"]
    assert list(config.spec.capability_add) == ["CAP_NET_ADMIN"]
    assert list(config.spec.devices) == ["/dev/fuse", "/dev/null:/dev/x:r"]
    assert config.spec.pid_mode == "host"
    assert config.spec.ipc_mode == "container:db"
    assert config.spec.privileged
    unconfined = made("--security-opt seccomp=unconfined").spec.privileges
    assert unconfined.seccomp.mode == Privileges.SeccompOpts.UNCONFINED


def test_policies_and_files(tmp_path: Path) -> None:
    """A variable of a file may hold a form feed and U+2028; lines end at LF and CR LF only."""
    env = tmp_path / "env"
    env.write_bytes("# no\nA=1\x0c2\r\nB=x\u2028y\rz\n\n".encode())
    labels = tmp_path / "labels"
    labels.write_text("x=1\ny=2\n")
    config = made(
        f"--env-file {env} -e C=3 --label-file {labels} -l y=3 --restart on-failure:4 --name web"
        " --log-driver local --log-opt max-size=1m --health-cmd 'curl x' --health-interval 5s"
        " --health-retries 2 --platform linux/amd64"
    )
    assert list(config.spec.env) == ["A=1\x0c2", "B=x\u2028y\rz", "C=3"]
    assert dict(config.spec.labels) == {"x": "1", "y": "3"}
    assert config.restart.condition == ContainerRestartPolicy.ON_FAILURE
    assert config.restart.max_retries == 4
    assert dict(config.log_driver.options) == {"max-size": "1m"}
    assert list(config.spec.healthcheck.test) == ["CMD-SHELL", "curl x"]
    assert config.platform.architecture == "amd64"
    assert list(made("--no-healthcheck").spec.healthcheck.test) == ["NONE"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-p 99999:80", "from 1 to 65535"),
        ("-p 8000-8001:80-82", "the ranges of '8000-8001:80-82' differ in length"),
        ("-p 8000-7000:80-81", "ends before it begins"),
        ("-p x:80:90:100", "expected [PUBLISHED:]TARGET"),
        ("-p 300.1.1.1:80:80", "'300.1.1.1' is not an IP address"),
        ("-p [fe80::1%eth0]:80:80", "'fe80::1%eth0' has a zone"),
        ("-p target=80", "expected [[IP:]PUBLISHED:]TARGET"),
        ("--expose 0", "from 1 to 65535"),
        ("-v a:b:c:d", "expected [SOURCE:]TARGET[:ro]"),
        ("-v vol:relative", "target 'relative' is not an absolute path"),
        ("-v x:/a", "'x' is not a volume's name"),
        ("-v /a:/b:rx", "unknown option 'rx'"),
        ("--mount type=bind,source=x,target=/y", "source of a bind is an absolute path"),
        ("--mount type=bind,targt=/y", "did you mean 'target'?"),
        ("--tmpfs x", "expected an absolute path"),
        ("-m lots", "'lots'"),
        ("--cpuset-cpus 3-1", "'3-1' is not a list such as 0-3 or 0,1"),
        ("--blkio-weight 5", "10 to 1000"),
        ("--device-read-bps sda:1mb", "for example /dev/sda:1mb"),
        ("--restart sometimes", "expected no, on-failure[:MAX-RETRIES], always"),
        ("--restart always:3", "can only be used with on-failure"),
        ("--restart always --rm", "cannot specify both --restart and --rm"),
        ("-d -a stdout", "cannot specify both --attach and --detach"),
        ("--name _x", "invalid container name '_x'"),
        ("--gpus all", "--gpus: GPUs are not supported"),
        ("--network host --link db", "conflicting options: --link and --network host"),
        ("--security-opt what=ever", "unknown; expected seccomp=FILE"),
        ("--pid private", "expected host or container:NAME"),
        ("--ipc x", "expected private, shareable, host, none or container:NAME"),
        ("--network host --network front", "host cannot be combined with another network"),
        ("--network host --ip 10.0.0.2", "conflicting options: --ip and --network host"),
        ("--network container:db -p 80", "--publish and --network container:db"),
        ("--network container:db -h web", "--hostname and --network container:db"),
        ("--network a --network a", "network 'a' is specified twice"),
        ("--network-alias web", "the network bridge has no names"),
        ("--network name=a,what=b", "unknown key 'what'"),
        ("--ip x", "'x' is not an IPv4 address"),
        ("--add-host db", "expected HOST:IP"),
        ("--add-host db:x", "'x' is not an IP address"),
        ("-w srv", "it needs to be an absolute path"),
        ("--stop-signal SIGNOPE", "unknown signal"),
        ("--health-cmd x --no-healthcheck", "--no-healthcheck conflicts with --health-* options"),
        ("--platform windows/amd64", "expected linux/ARCHITECTURE"),
        ("--detach-keys ctrl-1", "unknown character"),
        ("--pull maybe", "expected always, missing or never"),
        ("--oom-score-adj 2000", "from -1000 to 1000"),
        ("--env =x", "--env: '=x' is not a variable"),
    ],
)
def test_one_line_says_what_is_wrong(line: str, said: str) -> None:
    message = refused(line)
    assert said in message
    assert "\n" not in message


def test_a_command_line_that_is_not_understood_ends_with_125(run: Any) -> None:
    """As Docker's commands do; words that are missing or too many end it with 1."""
    assert run("run", "--nope", "x").status == 125
    assert run("create", "-p", "x", "y").status == 125
    assert run("run", "--restart", "always", "--rm", "x").status == 125
    assert run("run", "--gpus", "all", "x").status == 125
    assert run("create", "--runtime", "kata", "x").status == 125
    assert run("stop", "--nope").status == 125
    assert run("run").status == 1
    assert run("stop").status == 1
    assert run("ps", "x").status == 1
    assert run("prune").status == 1
