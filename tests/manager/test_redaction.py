"""What a reader is not shown, and that nothing else changes for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from swarmlite.manager import auth
from swarmlite.manager.controlapi.redaction import shown
from swarmlite.proto import options_pb2
from swarmlite.proto.control_pb2 import ListServicesResponse
from swarmlite.proto.objects_pb2 import Service, Task


@pytest.fixture
def reader() -> Iterator[None]:
    """A reader calls."""
    token = auth._caller.set(auth.Caller(options_pb2.ROLE_READER, "u"))
    yield
    auth._caller.reset(token)


def test_a_reader_sees_no_credentials_and_all_else_as_it_is(reader: None) -> None:
    service = Service(id="s")
    service.spec.task.container.image = "app"
    plain = Service()
    plain.CopyFrom(service)
    service.spec.task.container.pull_options.registry_auth = "secret"
    service.previous_spec.task.container.pull_options.registry_auth = "before"
    answer = shown(ListServicesResponse(services=[service, plain]))
    assert b"secret" not in answer.SerializeToString()
    assert b"before" not in answer.SerializeToString()
    assert answer.services[1] == plain
    assert not answer.services[1].HasField("previous_spec")
    bare = Task(id="t")
    assert shown(bare).SerializeToString() == bare.SerializeToString()


def test_others_see_what_is_there() -> None:
    task = Task(id="t")
    task.spec.container.pull_options.registry_auth = "secret"
    assert shown(task) is task
