"""An agent that misbehaves costs its own reports: managers, other nodes and loops go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_world import Agent, Manager, node, task, until
from google.protobuf.message import Message

from swarmlite.errors import InvalidSpec
from swarmlite.manager.dispatcher import assignments
from swarmlite.manager.dispatcher.reports import Reports
from swarmlite.manager.store.api import Change, Fence
from swarmlite.model import task_states
from swarmlite.model.validate import reports as bounds
from swarmlite.proto.dispatcher_pb2 import AgentMessage, HeldAttachment, TaskStatusUpdate
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import NodeDescription, NodeStatus, TaskState, TaskStatus

Agents = Callable[[str], Agent]
BIG = "x" * 3_000_000


def stored(manager: Manager, task_id: str) -> TaskStatus:
    found = manager.store.view.tasks.get(task_id)
    assert found is not None
    return found.status


async def test_a_report_of_three_megabytes_is_cut_and_the_manager_goes_on(
    manager: Manager, agents: Agents
) -> None:
    mine, others = task("n1"), task("n2")
    manager.put(node("n1"), node("n2"), mine, others)
    bad, good = await agents("n1").connect(), await agents("n2").connect()
    await bad.report(mine.id, task_states.RUNNING, message=BIG, err="a\n\x1b[2Jb")
    update = TaskStatusUpdate(task_id=mine.id)
    update.status.state = task_states.RUNNING
    update.status.container.container_id = BIG
    for _ in range(5000):
        update.status.host_ports.add(name="p" * 100, target_port=99_999)
    description = NodeDescription(hostname=BIG, kernel_version=BIG, os_name=BIG)
    for number in range(2000):
        description.engine.labels[f"label{number}"] = "v" * 1000
    description.engine.capabilities.extend(["c" * 1000] * 1000)
    await bad.call.write(AgentMessage(statuses=[update], description=description))
    await good.report(others.id, task_states.RUNNING, message="fine")
    await until(lambda: stored(manager, others.id).message == "fine")
    view = manager.store.view
    await until(lambda: view.nodes.get("n1").description.kernel_version != "")
    assert view.nodes.get("n1").ByteSize() < 400_000
    assert stored(manager, mine.id).ByteSize() < 3000
    assert stored(manager, mine.id).state == task_states.RUNNING
    assert len(manager.dispatcher.sessions) == 2


async def test_a_write_that_cannot_be_made_costs_itself_only(
    manager: Manager, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = task("n1"), task("n1", slot=2)
    manager.put(node("n1"), bad, good)
    commit_many = manager.store.commit_many

    async def fail_for_one(changes: list[Change], fence: Fence | None = None) -> list[Change]:
        if any(change.obj.id == bad.id for change in changes):
            raise RuntimeError("what nobody foresaw")
        return await commit_many(changes, fence)

    monkeypatch.setattr(manager.store, "commit_many", fail_for_one)
    agent = await agents("n1").connect()
    updates = []
    for each in (bad, good):
        updates.append(TaskStatusUpdate(task_id=each.id))
        updates[-1].status.state = task_states.RUNNING
    await agent.call.write(AgentMessage(statuses=updates))
    await until(lambda: stored(manager, good.id).state == task_states.RUNNING)
    assert stored(manager, bad.id).state == task_states.ASSIGNED
    monkeypatch.undo()
    await agent.report(bad.id, task_states.RUNNING)
    await until(lambda: stored(manager, bad.id).state == task_states.RUNNING)


async def test_an_object_that_breaks_the_assignments_is_passed_over(
    manager: Manager, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = task("n1"), task("n1", slot=2)
    changed = assignments.items.task_changed

    def fail_for_one(old: Any, new: Any) -> bool:
        if new.id == bad.id:
            raise RuntimeError("what nobody foresaw")
        return changed(old, new)

    monkeypatch.setattr(assignments.items, "task_changed", fail_for_one)
    manager.put(node("n1"), bad, good)
    agent = await agents("n1").connect()
    await agent.until(lambda: len(agent.of("task")) == 2)
    for each in (bad, good):
        each.desired_state = task_states.SHUTDOWN
        manager.put(each)
    await agent.until(lambda: agent.of("task")[good.id].desired_state == task_states.SHUTDOWN)


async def test_a_loop_of_the_dispatcher_that_fails_starts_over(
    manager: Manager, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.put(node("n1"))
    await agents("n1").connect()
    failures = iter([RuntimeError("once")])

    def fail_once(*_: object) -> dict[str, list[str]]:
        for failure in failures:
            raise failure
        return {}

    monkeypatch.setattr(manager.dispatcher._reports, "again", fail_once)
    manager.put(task("n1"))
    made = task("n1", slot=2)
    await until(lambda: not len(manager.dispatcher.sessions))
    agent = await agents("n1").connect("two")
    manager.put(made)
    await agent.until(lambda: made.id in agent.of("task"))


async def test_a_worker_cannot_silence_another_nodes_task(manager: Manager, agents: Agents) -> None:
    """Its report comes first, in the same batch as the owner's."""
    victim = task("n2")
    manager.put(node("n1"), node("n2"), victim)
    thief, owner = await agents("n1").connect(), await agents("n2").connect()
    forged = TaskStatusUpdate(task_id=victim.id)
    forged.status.state = task_states.FAILED
    for state in (task_states.PREPARING, task_states.READY, task_states.RUNNING):
        await thief.call.write(AgentMessage(statuses=[forged] * 20))
        await owner.report(victim.id, state)
        await until(lambda wanted=state: stored(manager, victim.id).state == wanted)


async def test_a_report_that_came_too_early_is_asked_for_again(
    manager: Manager, agents: Agents
) -> None:
    """This manager's view is behind the one that assigned the task."""
    mine = task("n1")
    manager.put(node("n1"))
    agent = await agents("n1").connect()
    await agent.report(mine.id, task_states.RUNNING)
    # The session's own order: once this is written, the report before it has been taken in.
    await agent.call.write(AgentMessage(description=NodeDescription(os_name="seen")))
    await until(lambda: manager.store.view.nodes.get("n1").description.os_name == "seen")
    manager.put(mine)
    await agent.until(lambda: agent.report_again == [mine.id])
    await agent.report(mine.id, task_states.RUNNING)
    await until(lambda: stored(manager, mine.id).state == task_states.RUNNING)


def test_what_is_remembered_of_early_reports_is_bounded() -> None:
    manager, now = Manager(), datetime.now(UTC)
    manager.put(node("n1"))
    reports = Reports()
    for number in range(20_000):
        update = TaskStatusUpdate(task_id=f"{number}" + "x" * 1000)
        update.status.state = task_states.RUNNING
        reports.task("n1", update, manager.store.view, now)
    assert len(reports._early) == 10_000 and max(map(len, reports._early)) <= 64
    assert not reports.again(manager.store.view, now + timedelta(minutes=2))
    assert not reports._early


def test_what_is_reported_again_while_its_batch_is_decided_is_for_the_next_batch() -> None:
    """A batch has each task once: the store would refuse the second write of one."""
    manager, now, tasks = Manager(), datetime.now(UTC), [task("n1") for _ in range(3)]
    manager.put(node("n1"), *tasks)
    reports, view = Reports(), manager.store.view

    def report(number: int, state: TaskState.ValueType) -> None:
        update = TaskStatusUpdate(task_id=tasks[number].id)
        update.status.state = state
        reports.task("n1", update, view, now)

    for number in range(3):
        report(number, task_states.STARTING)
    changes = reports.take(view, now, 2)
    report(0, task_states.RUNNING)
    assert reports.has_more
    changes += reports.take_more(view, now, 2)
    assert [change.obj.id for change in changes] == [one.id for one in tasks]
    assert not reports.has_more and reports
    reports.failed()  # all of them, with what came since
    again = {c.obj.id: c.obj for c in reports.take(view, now)}
    first = again[tasks[0].id]
    assert isinstance(first, Task) and first.status.state == task_states.RUNNING
    assert len(again) == 3


async def test_a_hello_out_of_bounds_ends_its_session_only(
    manager: Manager, agents: Agents
) -> None:
    manager.put(node("n1"), node("n2"))
    held = [HeldAttachment(container_id=str(n), network_id="x") for n in range(10_001)]
    with pytest.raises(InvalidSpec, match="10001 attachments, 10000 at most"):
        await agents("n1").connect("one", held)
    with pytest.raises(InvalidSpec, match="hello: instance"):
        await agents("n1").connect("one" * 100)
    await agents("n2").connect()
    await until(lambda: manager.store.view.nodes.get("n2").status.state == NodeStatus.READY)


def test_what_has_a_form_is_left_out_when_it_does_not_have_it() -> None:
    status = TaskStatus(state=task_states.RUNNING, message="a\r\nb\x9b", applied_by="me")
    status.timestamp.seconds = 2**60
    status.container.container_id = "../../etc"
    status.container.health = "splendid"
    status.container.pid = -7
    status.host_ports.add(target_port=80, published_port=8080, host_ip="not one")
    status.host_ports.add(target_port=0)
    kept = bounds.bounded_status(status)
    assert kept.message == "a b" and not kept.HasField("timestamp") and not kept.applied_by
    assert kept.container.container_id == kept.container.health == "" and kept.container.pid == 0
    assert [(p.published_port, p.host_ip) for p in kept.host_ports] == [(8080, "")]
    description = NodeDescription(hostname="\x1b]0;owned\x07host", data_path_addr="1.2.3")
    description.addresses.extend(["1.2.3", "fd00::1"])
    description.resources.memory_bytes = -5
    known = bounds.bounded_description(description)
    assert known.hostname == "]0;owned host" and not known.data_path_addr
    assert known.addresses == ["fd00::1"]
    description.data_path_addr = "::1"  # every other node would have to have it in its rules
    assert not bounds.bounded_description(description).data_path_addr
    assert known.resources.memory_bytes == 0


async def test_a_node_does_not_take_another_nodes_name(manager: Manager, agents: Agents) -> None:
    """Constraints go by names: tasks and their secrets would follow it."""
    manager.put(node("n1"), node("n2"))
    agent = await agents("n1").connect()
    for name, kernel, kept in (
        ("HOST-n2", "1", "host-n1"),
        ("host-new", "2", "host-new"),
        ("host-n2", "3", "host-new"),
        ("", "4", "host-new"),
    ):
        said = NodeDescription(hostname=name, kernel_version=kernel)
        await agent.call.write(AgentMessage(description=said))
        await until(
            lambda wanted=kernel: (
                manager.store.view.nodes.get("n1").description.kernel_version == wanted
            )
        )
        assert manager.store.view.nodes.get("n1").description.hostname == kept


def filled(message: Message) -> Message:
    """A message in which every field says something that is within bounds."""
    for field in message.DESCRIPTOR.fields:
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == 3
        if field.message_type is None:
            text = field.cpp_type == field.CPPTYPE_STRING
            value: Any = "127.0.0.1" if field.name.endswith(("addr", "_ip", "addresses")) else "1"
            value = value if text else task_states.RUNNING if field.name == "state" else 1
            if field.cpp_type == field.CPPTYPE_STRING and field.type == field.TYPE_BYTES:
                value = bytes(32)
            if field.name == "destination":
                value = "192.0.2.0/24"
            if field.name == "health":
                value = "healthy"
            if repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["a"] = "b"
        elif repeated:
            filled(getattr(message, field.name).add())
        else:
            filled(getattr(message, field.name))
    return message


def test_what_an_agent_says_within_bounds_is_kept_whole() -> None:
    """Also what a later release adds: a field that nobody bounds is lost, and this says so."""
    description = NodeDescription()
    filled(description)
    assert bounds.bounded_description(description) == description
    status = TaskStatus()
    filled(status)
    for of_managers in ("applied_by", "applied_at", "observed_at"):
        status.ClearField(of_managers)
    port = status.host_ports[0]
    port.published_port_end = 0
    port.ClearField("source")  # of a port in ingress mode
    assert bounds.bounded_status(status) == status
    assert status.container.health_log and status.healthy


async def test_a_message_of_half_a_million_reports_keeps_no_one_waiting(
    manager: Manager, agents: Agents
) -> None:
    mine, others = task("n1"), task("n2")
    manager.put(node("n1"), node("n2"), mine, others)
    bad, good = await agents("n1").connect(), await agents("n2").connect()
    update = TaskStatusUpdate(task_id=mine.id)
    update.status.state = task_states.RUNNING
    await bad.call.write(AgentMessage(statuses=[update] * 300_000))
    error = await bad.ended()
    assert "300000 statuses in one message, 5000 at most" in str(error)
    await good.report(others.id, task_states.RUNNING)
    await until(lambda: stored(manager, others.id).state == task_states.RUNNING)
    assert stored(manager, mine.id).state == task_states.ASSIGNED


async def test_a_report_that_breaks_its_handling_costs_itself_only(
    manager: Manager, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = task("n1"), task("n1", slot=2)
    manager.put(node("n1"), bad, good)
    reports = manager.dispatcher._reports
    take_in = reports.task

    def fail_for_one(node_id: str, update: TaskStatusUpdate, *rest: Any) -> None:
        if update.task_id == bad.id:
            raise RuntimeError("what nobody foresaw")
        take_in(node_id, update, *rest)

    fail_for_one.__name__ = "task"
    monkeypatch.setattr(reports, "task", fail_for_one)
    agent = await agents("n1").connect()
    await agent.report(bad.id, task_states.RUNNING)
    await agent.report(good.id, task_states.RUNNING)
    await until(lambda: stored(manager, good.id).state == task_states.RUNNING)
    assert len(manager.dispatcher.sessions) == 1


def test_a_route_to_everywhere_forbids_no_subnet() -> None:
    wide = ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "8000::/1")
    narrow = ("10.0.0.0/8", "fc00::/7", "192.0.2.0/24")
    description = NodeDescription()
    for destination in (*wide, *narrow):
        description.routes.add(destination=destination)
    kept = bounds.bounded_description(description).routes
    assert [route.destination for route in kept] == list(narrow)
