"""Names, hosts and templates: what Docker takes is taken, what no task could use is refused."""

from __future__ import annotations

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.model.validate import validate_config, validate_secret, validate_service
from swarmlite.proto.specs_pb2 import ConfigSpec, SecretSpec, ServiceSpec
from swarmlite.proto.types_pb2 import Mount


@pytest.mark.parametrize("name", ["a", "a..b", "a.b-c_d"])
def test_names_of_secrets_that_docker_takes(name: str) -> None:
    validate_secret(SecretSpec(annotations={"name": name}, data=b"x"))
    validate_config(ConfigSpec(annotations={"name": name}, data=b"x"))


@pytest.mark.parametrize("name", ["", "a_", "a-", "a.", "a..", ".a", "a b", "a" * 65])
def test_names_of_secrets_that_docker_refuses(name: str) -> None:
    with pytest.raises(InvalidSpec):
        validate_secret(SecretSpec(annotations={"name": name}, data=b"x"))


@pytest.mark.parametrize(
    "text", ["{{if .Service.Name}}x", "{{range .X}}{{end}}", "{{ .Nope }}", '{{define "x"}}{{end}}']
)
def test_a_template_that_no_task_could_expand_is_refused_at_create(text: str) -> None:
    """And not by every task in turn."""
    spec = ConfigSpec(annotations={"name": "c"}, data=text.encode())
    validate_config(spec)  # as it is
    spec.templating.name = "golang"
    with pytest.raises(InvalidSpec, match="config c: template"):
        validate_config(spec)
    spec.data = b'{{ .Service.Name }} {{ secret "s" }} {{ env "A" }}'
    validate_config(spec)


def service(**fields: object) -> ServiceSpec:
    spec = ServiceSpec(annotations={"name": "web"})
    spec.task.container.image = "nginx"
    spec.replicated.replicas = 1
    return spec


@pytest.mark.parametrize(
    ("kind", "target", "taken"),
    [
        (Mount.BIND, "/sys", True),
        (Mount.BIND, "/dev", True),
        (Mount.BIND, "/proc", False),
        (Mount.VOLUME, "/sys", False),
        (Mount.TMPFS, "/dev", False),
    ],
)
def test_monitoring_may_bind_the_host_s_sys_and_dev(
    kind: Mount.Type.ValueType, target: str, taken: bool
) -> None:
    spec = service()
    source = "" if kind == Mount.TMPFS else "/sys" if kind == Mount.BIND else "vol"
    spec.task.container.mounts.add(type=kind, source=source, target=target)
    if taken:
        validate_service(spec)
    else:
        with pytest.raises(InvalidSpec, match="cannot be replaced"):
            validate_service(spec)


def test_everything_that_is_not_honoured_is_named_at_once() -> None:
    spec = service()
    spec.task.container.isolation = "hyperv"
    spec.task.container.privileges.selinux_context.user = "root"
    spec.task.container.mounts.add(type=Mount.CLUSTER, source="disk", target="/data")
    with pytest.raises(InvalidSpec) as raised:
        validate_service(spec)
    line = str(raised.value)
    assert line.endswith(": not supported yet")
    assert all(word in line for word in ("--isolation", "SELinux", "--mount type=cluster"))
