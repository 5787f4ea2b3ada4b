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
    assert not plan.differs(wanted(), stored(wanted()), {"s_n": "net1"})


def test_a_changed_key_makes_one() -> None:
    changed = wanted(TEXT.replace("10s", "11s"))
    assert plan.differs(changed, stored(wanted()), {"s_n": "net1"})


def test_the_pinned_image_stays_while_the_file_says_the_same() -> None:
    current = stored(wanted())
    current.spec.task.container.image = "nginx:1@sha256:00"
    assert plan.keep_image(wanted(), current, "changed")
    assert not plan.keep_image(wanted(), current, "always")
    assert not plan.keep_image(wanted(TEXT.replace("nginx:1", "nginx:2")), current, "changed")
    kept = plan.kept(wanted(), current)
    assert kept.task.container.image == "nginx:1@sha256:00"
    assert not plan.differs(kept, current, {"s_n": "net1"})


def test_a_forced_update_is_not_undone_by_a_file() -> None:
    current = stored(wanted())
    current.spec.task.force_update = 3
    assert not plan.differs(plan.forced(wanted(), current), current, {"s_n": "net1"})
