"""What a watch tells of updates, and of what happened before it, over the real server."""

from __future__ import annotations

import time

import grpc.aio
import pytest
from api_world import Manager, ask, create, node, service_spec, task
from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.manager.controlapi.api import copy_of
from swarmlite.manager.controlapi.watch import MAX_BEHIND
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.feed import REMEMBERED
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import ManagerStatus

EVER = Timestamp(seconds=1)


async def past(
    control: ControlStub, *kinds: str, since: Timestamp = EVER
) -> list[pb.WatchResponse.Event]:
    """What is remembered of these kinds."""
    watch = control.Watch(pb.WatchRequest(kinds=kinds, since=since))
    found: list[pb.WatchResponse.Event] = []
    while events := (await watch.read()).events:
        found += events
    watch.cancel()
    return found


async def test_the_past_comes_before_the_watch_is_in_place_from_its_time_on(
    control: ControlStub, manager: Manager
) -> None:
    made = await create(control, service_spec())
    spec = copy_of(made).spec
    spec.replicated.replicas, spec.task.container.image = 7, "web:2"
    request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, spec=spec)
    await ask(control.UpdateService(request))
    first, second = await past(control, "service", "network")
    assert (first.action, second.action) == (pb.CREATE, pb.UPDATE)
    assert second.service.id == made.id
    assert dict(second.changes) == {
        "image.old": made.spec.task.container.image, "image.new": "web:2",
        "replicas.old": str(made.spec.replicated.replicas), "replicas.new": "7",
    }  # fmt: skip
    assert first.time.ToNanoseconds() < second.time.ToNanoseconds()
    (only,) = await past(control, "service", since=second.time)
    assert only == second
    assert await past(control, "network") == []
    watch = control.Watch(pb.WatchRequest(kinds=["service"]))
    assert not (await watch.read()).events  # who does not ask hears of the past nothing


async def test_an_update_says_what_changed_and_whether_anybody_is_told(
    control: ControlStub, manager: Manager
) -> None:
    manager.put(node("n1"), task("n1", "s1"))
    stored = copy_of(manager.store.view.nodes.get("n1"))
    stored.description.data_path_addr = "192.0.2.9"
    manager.put(stored)
    stored = copy_of(manager.store.view.nodes.get("n1"))
    stored.spec.annotations.labels["rack"] = "3"
    manager.put(stored)
    stored = copy_of(manager.store.view.nodes.get("n1"))
    stored.spec.availability = NodeSpec.DRAIN
    stored.manager_status.reachability = ManagerStatus.REACHABLE
    manager.put(stored)
    (running,) = manager.store.view.tasks
    running = copy_of(running)
    running.status.state = task_states.RUNNING
    manager.put(running)
    running = copy_of(manager.store.view.tasks.get(running.id))
    running.status.message = "started"
    manager.put(running)
    nodes = [
        (dict(e.changes), e.minor) for e in await past(control, "node") if e.action == pb.UPDATE
    ]
    assert nodes == [
        ({}, True),  # nobody is told of a description
        ({}, False),  # a label was asked for
        (
            {
                "availability.old": "active",
                "availability.new": "drain",
                "reachability.new": "reachable",
            },
            False,
        ),
    ]
    tasks = [(e.changes["state.new"], e.minor) for e in await past(control, "task")][1:]
    assert tasks == [("running", False), ("", True)]


async def test_of_secrets_and_configs_only_the_names_are_remembered(
    control: ControlStub, manager: Manager
) -> None:
    spec = {"annotations": {"name": "key", "labels": {"a": "b"}}, "data": b"hush"}
    secret = await ask(control.CreateSecret(pb.CreateSecretRequest(spec=spec)))
    await ask(control.CreateConfig(pb.CreateConfigRequest(spec=spec)))
    await ask(control.RemoveSecret(pb.RemoveRequest(ref=secret.id)))
    remembered = manager.store.past("secret", "config")
    assert [(e.kind, e.action.value) for e in remembered] == [
        ("secret", "create"), ("config", "create"), ("secret", "remove"),
    ]  # fmt: skip
    assert all(b"hush" not in e.obj.SerializeToString() and e.old is None for e in remembered)
    told = await past(control, "secret", "config")
    assert [e.secret.spec.annotations.labels["a"] for e in told if e.secret.id] == ["b", "b"]


async def test_a_watch_that_is_not_read_ends_instead_of_holding_ever_more(
    control: ControlStub, manager: Manager
) -> None:
    manager.put(node("n1"))
    watch = control.Watch(pb.WatchRequest(kinds=["task"]))
    assert not (await watch.read()).events
    for _ in range(MAX_BEHIND + 1):  # without an await: the watch gets to none of them
        manager.put(task("n1", "s1"))
    with pytest.raises(grpc.aio.AioRpcError, match="list and watch again"):
        await watch.read()


async def test_the_last_events_of_each_kind_are_remembered_however_many_another_has(
    control: ControlStub, manager: Manager
) -> None:
    manager.put(node("n1"))
    for _ in range(REMEMBERED + 5):
        made = task("n1", "s1")
        manager.put(made)
    assert len(manager.store.past("task")) == REMEMBERED
    assert len(manager.store.past("node")) == 1


async def test_what_was_written_together_stays_in_order_and_a_clock_that_steps_back_changes_none(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def together(number: int) -> None:
        made = (node(f"n{number}"), task(f"n{number}", "s1"))
        manager.store.commit_now([Put(obj) for obj in (*made, node(f"m{number}"))])

    together(1)
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    together(2)
    remembered = manager.store.past("task", "node")
    assert [event.kind for event in remembered] == 2 * ["node", "task", "node"]
    assert [event.obj.id for event in remembered if event.kind == "node"] == [
        "n1", "m1", "n2", "m2",
    ]  # fmt: skip
