"""No spec crashes a manager, nor what an agent makes of its tasks: it is refused in words or runs.

Messages are filled field by field with what hurts: extremes, control characters, words of others.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from world import World, service_spec

from swarmlite.agent.task_container import configuration
from swarmlite.docker import services
from swarmlite.errors import SwarmliteError
from swarmlite.manager.controlapi.references import resolve_references
from swarmlite.model import defaults
from swarmlite.model.validate import validate_service
from swarmlite.proto.specs_pb2 import ServiceSpec

WORDS = (
    "", "a", "web", "0", "-1", "../x", "/", "a b", "\x00", "a\nb", "\u202e", "x" * 300, "{{",
    "{{.Task.Slot}}", "node.role==worker", "host", "10.0.0.1", "10.0.0.0/8", "::1", "a=b", "=",
    "99", "SIGTERM", "0-3", "9-1", "*/5 * * * *", "@daily", "busybox@sha256:" + "0" * 64, "local",
    "NONE",
)  # fmt: skip
PARTS = (
    "", "task", "task.container", "task.placement", "update", "endpoint", "task.restart",
    "task.resources", "autoscale", "task.container.healthcheck",
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 80, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1)
F = FieldDescriptor
_SIGNED = {F.CPPTYPE_INT32: 2**31, F.CPPTYPE_INT64: 2**63}
_BOUND = {F.CPPTYPE_INT32: 2**31, F.CPPTYPE_UINT32: 2**32, F.CPPTYPE_INT64: 2**63}


def value_of(field: Any, draw: Any) -> Any:
    """A value of a field that is no message."""
    kind = field.cpp_type
    if kind == F.CPPTYPE_STRING:
        text = draw(some.sampled_from(WORDS))
        return text.encode() if field.type == F.TYPE_BYTES else text
    if kind == F.CPPTYPE_BOOL:
        return draw(some.booleans())
    if kind == F.CPPTYPE_ENUM:
        return draw(some.sampled_from([*field.enum_type.values_by_number, 77]))
    if kind in (F.CPPTYPE_DOUBLE, F.CPPTYPE_FLOAT):
        return draw(some.sampled_from([0.0, 0.5, -1.0, 1e30, float("nan"), float("inf")]))
    number = draw(some.sampled_from(NUMBERS)) % _BOUND.get(kind, 2**64)
    return -number if kind in _SIGNED and draw(some.booleans()) else number


def fill(message: Message, draw: Any, depth: int = 6) -> None:
    """Some of the fields, and some of those below them."""
    fields = tuple(message.DESCRIPTOR.fields)
    if not fields:
        return
    chosen = some.lists(some.sampled_from(fields), max_size=4, unique_by=lambda f: f.name)
    for field in draw(chosen):
        holder = getattr(message, field.name)
        entry = field.message_type and field.message_type.GetOptions().map_entry
        if entry:
            key, item = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            if item.message_type is None:
                holder[value_of(key, draw)] = value_of(item, draw)
        elif field.message_type and depth:
            inner = holder.add() if hasattr(holder, "add") else holder
            inner.SetInParent()
            fill(inner, draw, depth - 1)
        elif not field.message_type:
            if hasattr(holder, "append"):
                holder.extend(value_of(field, draw) for _ in range(draw(some.integers(0, 2))))
            else:
                setattr(message, field.name, value_of(field, draw))


@some.composite
def specs(draw: Any) -> ServiceSpec:
    """A small sound service with a few of its parts spoilt."""
    spec = service_spec("web", replicas=draw(some.integers(0, 3)))
    part = draw(some.sampled_from(PARTS))
    target: Any = spec
    for name in filter(None, part.split(".")):
        target = getattr(target, name)
    fill(target, draw)
    return spec


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs())
def test_a_spec_is_refused_in_one_line_or_served(spec: ServiceSpec) -> None:
    world = World()
    for _ in range(2):
        world.add_node()
    world.add_network("a")
    try:
        validate_service(spec)
        filled = resolve_references(world.view, defaults.fill_service(spec))
    except SwarmliteError as error:
        assert str(error) and "\n" not in str(error)
        assert str(error).isprintable()
        return
    most = max(filled.replicated.replicas, filled.autoscale.min)
    if most > 3 or filled.replicated_job.total_completions > 3:
        return  # as sound as fewer of them, and slower
    service_id = world.create_service(filled)
    world.settle()
    service = world.view.services.get(service_id)
    services.service_spec(service.spec)
    for task in world.tasks(service_id):
        configuration(task, task.spec.container).SerializeToString()
    other = ServiceSpec()
    other.CopyFrom(filled)
    other.task.force_update += 1
    world.update_service(service_id, lambda s: s.CopyFrom(other))
    world.settle()
    world.leader.elect()
    world.settle()


@pytest.mark.parametrize("text", ["\x00", "a\nb", "x" * 300])
def test_what_hurts_is_refused_in_a_name(text: str) -> None:
    with pytest.raises(SwarmliteError):
        validate_service(service_spec(text))


@pytest.mark.parametrize("text", ["\x00", "a\nb", "\u202e"])
def test_what_hurts_is_written_out_in_the_error(text: str) -> None:
    spec = service_spec("web")
    spec.task.log_driver.name = text
    with pytest.raises(SwarmliteError, match="unknown log driver") as refused:
        validate_service(spec)
    assert str(refused.value).isprintable()
