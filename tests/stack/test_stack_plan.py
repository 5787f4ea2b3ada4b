"""Which services a deployment writes."""

from __future__ import annotations

from pathlib import Path

from swarmlite.model import defaults
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack import plan
from swarmlite.stack.load import load

TEXT = "services: {web: {image: 'nginx:1', networks: [n], stop_grace_period: 10s}}\nnetworks: {n: }"


def wanted(text: str = TEXT) -> ServiceSpec:
    return load([("c", text)], "s", folder=Path("/"), environment={}).services[0]


def stored(spec: ServiceSpec) -> Service:
    """As the managers keep it: defaults said, networks by id."""
    service = Service(id="id", spec=defaults.fill_service(spec))
    service.spec.task.networks[0].target = "net1"
    service.spec.task.placement.SetInParent()
    return service


def test_defaults_and_ids_make_no_difference() -> None:
    assert not plan.change(wanted(), stored(wanted()), {"s_n": "net1"})


def test_a_changed_key_makes_one() -> None:
    changed = wanted(TEXT.replace("10s", "11s"))
    assert plan.change(changed, stored(wanted()), {"s_n": "net1"})


def test_the_pinned_image_stays_while_the_file_says_the_same() -> None:
    current = stored(wanted())
    current.spec.task.container.image = "nginx:1@sha256:00"
    assert plan.keep_image(wanted(), current, "changed")
    assert not plan.keep_image(wanted(), current, "always")
    assert not plan.keep_image(wanted(TEXT.replace("nginx:1", "nginx:2")), current, "changed")
    kept = plan.kept(wanted(), current)
    assert kept.task.container.image == "nginx:1@sha256:00"
    assert not plan.change(kept, current, {"s_n": "net1"})


def test_a_forced_update_is_not_undone_by_a_file() -> None:
    current = stored(wanted())
    current.spec.task.force_update = 3
    assert not plan.change(plan.carried(wanted(), current), current, {"s_n": "net1"})


def test_credentials_stay_where_none_are_sent_and_are_never_shown() -> None:
    current = stored(wanted())
    current.spec.task.container.pull_options.registry_auth = "b2xk"
    assert not plan.change(plan.carried(wanted(), current), current, {"s_n": "net1"})
    sent = wanted()
    sent.task.container.pull_options.registry_auth = "bmV3"
    other = plan.change(plan.carried(sent, current), current, {"s_n": "net1"})
    assert other is not None and not other.restarts
    none = plan.change(wanted(), current, {"s_n": "net1"})
    assert none is not None
    for found in (other, none):
        (line,) = map(str, found.differences)
        assert "registry_auth" in line and "b2xk" not in line and "bmV3" not in line


def test_credentials_go_to_no_other_registry_than_theirs() -> None:
    def kept(image: str, before: str) -> str:
        current = stored(wanted(TEXT.replace("nginx:1", before)))
        current.spec.task.container.pull_options.registry_auth = "b2xk"
        moved = plan.carried(wanted(TEXT.replace("nginx:1", image)), current)
        return moved.task.container.pull_options.registry_auth

    digest = f"@sha256:{'0' * 64}"
    assert kept("r.example:5000/web:2", f"r.example:5000/nginx:1{digest}") == "b2xk"
    assert kept("docker.io/library/nginx:2", "nginx:1") == "b2xk"
    assert kept("other.example/nginx:1", "r.example:5000/nginx:1") == ""
    assert kept("r.example/nginx:1", "r.example:5000/nginx:1") == ""
    assert kept("r.example/nginx:1", "nginx:1") == ""


def test_modes_sizes_and_cpus_are_shown_as_people_write_them() -> None:
    text = TEXT.replace(
        "}}", ", tmpfs: [], deploy: {resources: {limits: {cpus: '0.5', memory: 64m}}}}}"
    )
    limits = plan.change(wanted(text), stored(wanted()), {"s_n": "net1"})
    assert limits is not None
    (line,) = map(str, limits.differences)
    assert line == "+ task.resources: limits=nano_cpus=0.5,memory_bytes=64MiB"
    text = TEXT.replace("}}", ", configs: [c]}}") + "\nconfigs: {c: {content: x}}"
    found = plan.change(wanted(text), stored(wanted()), {"s_n": "net1"})
    assert found is not None
    assert any("mode=0444" in str(each) for each in found.differences)


def changed(old: str, new: str) -> plan.Change:
    found = plan.change(wanted(TEXT.replace(old, new)), stored(wanted()), {"s_n": "net1"})
    assert found is not None
    return found


def test_each_field_that_differs_is_named() -> None:
    found = changed("10s}", "11s, environment: {A: 1}, command: [a, b], deploy: {replicas: 3}}")
    assert [str(difference) for difference in found.differences] == [
        "+ task.container.args: a",
        "+ task.container.args: b",
        "+ task.container.env: A=1",
        "~ task.container.stop_grace_period: 10s -> 11s",
        "~ replicated.replicas: 1 -> 3",
    ]
    assert found.restarts


def test_what_replaces_tasks() -> None:
    """Replicas, labels of the service and placement do not; the task and its ports do."""
    assert not changed("10s}", "10s, deploy: {replicas: 3, labels: {a: b}}}").restarts
    assert not changed(
        "10s}", "10s, deploy: {placement: {constraints: [node.role==worker]}}}"
    ).restarts
    assert changed("10s}", "10s, labels: {a: b}}").restarts
    assert changed("10s}", "10s, ports: ['1:2']}").restarts


def test_names_of_enums_and_order_of_lists_are_shown() -> None:
    found = changed("10s}", "10s, deploy: {update_config: {order: start-first}}}")
    assert any("start_first" in str(difference) for difference in found.differences)
