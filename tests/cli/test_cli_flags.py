"""Flags of services become specs: create's all, and update's additions and removals."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlite.cli.image import credentials, naming
from swarmlite.cli.service import create, update
from swarmlite.cli.service import spec as specs
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import EndpointSpec, Mount, PortConfig, RestartPolicy, UpdateConfig
from swarmlite.stack.syntax import files, mounts, ports, small


def values_of(command: click.Command, args: list[str]) -> dict[str, Any]:
    return dict(command.make_context(command.name, args).params)


def created(*args: str) -> ServiceSpec:
    values = values_of(create.command, [*args, "image", "cmd", "--not-a-flag"])
    return specs.created(values.pop("image"), values.pop("args"), values)


def updated(spec: ServiceSpec, *args: str) -> ServiceSpec:
    values = values_of(update.command, [*args, "name"])
    return specs.updated(spec, values)


def test_what_follows_the_image_is_the_container_s() -> None:
    spec = created("--name", "web", "--replicas=3", "-d")
    assert list(spec.task.container.args) == ["cmd", "--not-a-flag"]
    assert (spec.annotations.name, spec.replicated.replicas) == ("web", 3)


def test_every_kind_of_flag_reaches_the_spec() -> None:
    spec = created(
        *("--entrypoint", "sh -c 'a b'", "-u", "1:2", "-w", "/x", "--hostname", "h", "--init"),
        *("--read-only=true", "--tty=false", "--stop-signal", "TERM", "--stop-grace-period", "1m"),
        *("--health-cmd", "true", "--health-interval", "5s", "--health-retries", "2"),
        *("--limit-cpu", ".5", "--limit-memory", "1g", "--limit-pids", "9", "--reserve-cpu", "1"),
        *("--memory-swap", "-1", "--memory-swappiness", "10", "--oom-score-adj", "-5"),
        *("--restart-condition", "on-failure", "--restart-delay", "1s"),
        *("--update-delay", "3s", "--update-order", "start-first", "--rollback-parallelism", "0"),
        *("--update-failure-action", "rollback", "--update-max-failure-ratio", ".2"),
        *("--endpoint-mode", "dnsrr", "--replicas-max-per-node", "2", "--constraint", "a==b"),
        *("--placement-pref", "spread=node.labels.z", "--generic-resource", "gpu=2"),
        *("--env", "A=1", "-e", "A=2", "--label", "x", "--container-label", "y=1"),
        *("--publish", "mode=host,target=80,published=8080", "--network", "name=n,alias=a"),
        *("--mount", "type=tmpfs,dst=/t,tmpfs-size=1m", "--secret", "source=s,target=t,mode=0400"),
        *("--config", "c", "--dns", "1.1.1.1", "--dns-search", "x", "--dns-option", "ndots:2"),
        *("--host", "db:10.0.0.1", "--group", "g", "--sysctl", "a.b=1", "--ulimit", "nofile=1:2"),
        *("--cap-add", "net_admin", "--cap-drop", "ALL", "--log-driver", "x", "--log-opt", "a=b"),
    )
    container, task = spec.task.container, spec.task
    assert list(container.command) == ["sh", "-c", "a b"]
    assert (container.user, container.dir, container.hostname) == ("1:2", "/x", "h")
    assert (container.init, container.read_only, container.tty) == (True, True, False)
    assert container.stop_grace_period.seconds == 60
    assert list(container.healthcheck.test) == ["CMD-SHELL", "true"]
    assert task.resources.limits.nano_cpus == 5 * 10**8
    assert (task.resources.memory_swap_bytes, task.resources.memory_swappiness) == (-1, 10)
    assert task.restart.condition == RestartPolicy.ON_FAILURE
    assert (spec.update.parallelism, spec.update.delay.seconds) == (1, 3)
    assert spec.update.failure_action == UpdateConfig.ROLLBACK
    assert spec.HasField("rollback") and spec.rollback.parallelism == 0
    assert spec.endpoint.mode == EndpointSpec.DNSRR
    assert list(container.env) == ["A=2"]
    assert dict(spec.annotations.labels) == {"x": ""}
    assert spec.endpoint.ports[0].publish_mode == PortConfig.HOST
    assert list(task.networks[0].aliases) == ["a"]
    assert container.mounts[0].type == Mount.TMPFS
    assert (container.secrets[0].file.name, container.secrets[0].file.mode) == ("t", 0o400)
    assert list(container.capability_add) == ["CAP_NET_ADMIN"]
    assert list(container.hosts) == ["10.0.0.1 db"]
    assert task.log_driver.options["a"] == "b"


def test_updates_add_replace_and_remove() -> None:
    old = created(
        *("-e", "A=1", "-e", "B=1", "-p", "80:80", "-p", "53:53/udp", "--label", "x=1"),
        *("--mount", "dst=/a", "--mount", "dst=/b", "--constraint", "a==b", "--host", "h:1.2.3.4"),
        *("--cap-add", "CHOWN", "--secret", "s", "--network", "n", "--no-healthcheck"),
    )
    new = updated(
        old,
        *("--env-rm", "A", "--env-add", "B=2", "--env-add", "C=3", "--publish-rm", "80"),
        *("--publish-add", "81:81", "--label-rm", "x", "--mount-rm", "/a", "--host-rm", "h"),
        *("--mount-add", "src=v,dst=/b", "--constraint-rm", "a==b", "--cap-drop", "CHOWN"),
        *("--secret-rm", "s", "--network-rm", "n", "--image", "i:2", "--args", "x 'y z'"),
        *("--force", "--replicas", "5", "--health-cmd", "t"),
    )
    container = new.task.container
    assert list(container.env) == ["B=2", "C=3"]
    assert [p.target_port for p in new.endpoint.ports] == [53, 81]
    assert not new.annotations.labels
    assert [(m.source, m.target) for m in container.mounts] == [("v", "/b")]
    assert not new.task.placement.constraints and not container.hosts
    assert (list(container.capability_add), list(container.capability_drop)) == ([], ["CAP_CHOWN"])
    assert not container.secrets and not new.task.networks
    assert (container.image, list(container.args)) == ("i:2", ["x", "y z"])
    assert (new.task.force_update, new.replicated.replicas) == (1, 5)
    assert list(container.healthcheck.test) == ["CMD-SHELL", "t"]
    assert list(old.task.container.env) == ["A=1", "B=1"]


def test_jobs() -> None:
    job = created("--mode", "replicated-job", "--replicas", "4", "--max-concurrent", "2")
    assert (job.replicated_job.total_completions, job.replicated_job.max_concurrent) == (4, 2)
    with pytest.raises(InvalidSpec, match="replicas can only be used with replicated"):
        updated(created("--mode", "global-job"), "--replicas", "2")


def test_env_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "o")
    path = tmp_path / "vars"
    path.write_text("# note\nA=1\n\nOUTER\nNOTSET_ANYWHERE\n B=x y\n")
    spec = created("--env-file", str(path), "-e", "A=2")
    assert list(spec.task.container.env) == ["A=2", "OUTER=o", "B=x y"]
    path.write_text("a b=1\n")
    with pytest.raises(InvalidSpec, match="white space"):
        created("--env-file", str(path))


@given(
    st.sampled_from([ports.parse, mounts.parse, files.parse_secret, small.parse_network]),
    st.text(max_size=30) | st.from_regex(r"[a-z]{1,6}(=[0-9a-z/:,-]{0,12})?(,[a-z]{1,6}=.?)?"),
)
def test_notations_give_a_message_or_one_error(parse: Any, text: str) -> None:
    try:
        assert parse(text) is not None
    except InvalidSpec as error:
        assert str(error)


@given(st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(["tcp", "udp", "sctp"]))
def test_short_ports_say_what_they_say(published: int, target: int, protocol: str) -> None:
    (port,) = ports.parse(f"{published}:{target}/{protocol}")
    assert (port.published_port, port.target_port) == (published, target)
    (long,) = ports.parse(f"published={published},target={target},protocol={protocol}")
    assert long == port


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("80-82:80-81", "differ in length"),
        ("82-80:80", "ends before it begins"),
        ("80:80/icmp", "protocol is tcp, udp or sctp"),
        ("a:b:c:d", "expected"),
        ("published=80", "target=PORT is missing"),
        ("target=80,mode=x", "mode is ingress or host"),
        ("target=80,source=x", "source is client or masquerade"),
        ("", "expected"),
    ],
)
def test_bad_ports(text: str, said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        ports.parse(text)


def test_a_port_on_one_address_that_hides_its_clients() -> None:
    (port,) = ports.parse("published=80,target=80,ip=192.0.2.1,source=masquerade")
    assert (port.host_ip, port.source) == ("192.0.2.1", PortConfig.MASQUERADE)
    (other,) = ports.parse("published=80,target=80,host_ip=192.0.2.1,source=masquerade")
    assert other == port


def test_image_names() -> None:
    assert naming.with_tag("r:5000/a") == "r:5000/a:latest"
    assert naming.with_tag("a@sha256:00") == "a@sha256:00"
    assert naming.registry_of("r:5000/a/b") == "r:5000"
    assert naming.registry_of("library/nginx") == naming.HUB


def test_credentials_come_from_docker_s_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert credentials.registry_auth("r:5000/a") == ""
    auth = base64.b64encode(b"me:se:cret").decode()
    config = {"auths": {"r:5000": {"auth": auth}}, "credHelpers": {"other:1": "pass"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    sent = json.loads(base64.b64decode(credentials.registry_auth("r:5000/a")))
    assert (sent["username"], sent["password"], sent["serveraddress"]) == (
        "me",
        "se:cret",
        "r:5000",
    )
    with pytest.raises(FailedPrecondition, match="docker-credential-pass is not installed"):
        credentials.registry_auth("other:1/a")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidSpec, match=r"config\.json: not JSON"):
        credentials.registry_auth("x")


def test_what_follows_a_container_is_its_command_s() -> None:
    from swarmlite.cli.container import exec as exec_

    values = values_of(exec_.command, ["-i", "c", "ls", "-t", "--env", "x"])
    assert (values["interactive"], values["tty"], values["env"]) == (True, False, ())
    assert values["words"] == ("ls", "-t", "--env", "x")


def test_one_secret_may_stand_under_several_targets() -> None:
    """Keyed by target; removed by the source's name or its id."""
    spec = created("--secret", "s", "--secret", "source=s,target=b", "--config", "c")
    assert [r.file.name for r in spec.task.container.secrets] == ["s", "b"]
    spec.task.container.secrets[0].secret_id = spec.task.container.secrets[1].secret_id = "id1"
    more = updated(spec, "--secret-add", "source=s,target=c", "--secret-add", "s")
    assert [r.file.name for r in more.task.container.secrets] == ["s", "b", "c"]
    for gone in ("s", "id1"):
        assert not updated(spec, "--secret-rm", gone).task.container.secrets
    assert len(updated(spec, "--secret-rm", "other").task.container.secrets) == 2


def test_two_secrets_under_one_target_are_refused_with_it() -> None:
    """Neither takes the other's place without a word."""
    from swarmlite.model.validate import validate_service

    spec = created("--name", "web", "--secret", "a", "--secret", "source=b,target=a")
    assert len(spec.task.container.secrets) == 2
    with pytest.raises(InvalidSpec, match="/run/secrets/a is specified twice"):
        validate_service(spec)


def test_credentials_go_to_the_registry_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MYREG/x is a registry of its own for the puller, so it is not given Docker Hub's key."""
    auth = base64.b64encode(b"me:secret").decode()
    config = {"auths": {naming.HUB: {"auth": auth}, "https://reg.example.org/v1/": {"auth": auth}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert credentials.registry_auth("MYREG/x") == ""
    assert naming.registry_of("MYREG/x") == "MYREG"
    assert credentials.registry_auth("library/x") != ""
    assert credentials.registry_auth("reg.example.org/x") != ""
    with pytest.raises(InvalidSpec):
        credentials.registry_auth("Nginx:FOO")
