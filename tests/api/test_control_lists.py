"""What the Control API lists, counts, filters and tells to watches, over the real server."""

from __future__ import annotations

import pytest
from api_world import Manager, ask, create, node, refused, service_spec, task

from swarmlite.errors import (
    InvalidSpec,
)
from swarmlite.manager.store.api import Delete
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.types_pb2 import NodeStatus


async def test_lists_count_tasks_and_filter(control: ControlStub, manager: Manager) -> None:
    made = await create(control, service_spec())
    other = service_spec("db")
    other.annotations.labels["tier"] = "back"
    await create(control, other)
    running = task("n1", made.id)
    running.status.state = task_states.RUNNING
    manager.put(node("n1", ready=True), running, task("n1", made.id, 2))
    listed = await ask(control.ListServices(pb.ListRequest()))
    assert (listed.status[made.id].running_tasks, listed.status[made.id].desired_tasks) == (1, 2)
    for key, value, names in (
        ("name", "we", ["web"]),
        ("label", "tier=back", ["db"]),
        ("label", "none", []),
        ("mode", "global", []),
    ):
        request = pb.ListRequest(filters=[pb.Filter(key=key, values=[value])])
        found = await ask(control.ListServices(request))
        assert [s.spec.annotations.name for s in found.services] == names
    request = pb.ListRequest(filters=[pb.Filter(key="colour", values=["red"])])
    await refused(control.ListServices(request), InvalidSpec, "no such filter")


async def test_tasks_are_filtered_by_service_node_and_state(
    control: ControlStub, manager: Manager
) -> None:
    made = await create(control, service_spec())
    one, two = task("n1", made.id), task("n2", made.id, 2)
    two.desired_state = task_states.SHUTDOWN
    manager.put(node("n1"), node("n2"), one, two)
    for key, value, ids in (
        ("service", "web", {one.id, two.id}),
        ("service", made.id, {one.id, two.id}),
        ("node", "host-n1", {one.id}),
        ("desired-state", "shutdown", {two.id}),
        ("name", "web.2", {two.id}),
    ):
        request = pb.ListTasksRequest(filters=[pb.Filter(key=key, values=[value])])
        assert {t.id for t in (await ask(control.ListTasks(request))).tasks} == ids
    request = pb.ListTasksRequest(filters=[pb.Filter(key="desired-state", values=["odd"])])
    await refused(control.ListTasks(request), InvalidSpec, "desired-state")


@pytest.mark.parametrize(
    ("call", "key"),
    [
        ("ListNodes", "role"),
        ("ListNodes", "membership"),
        ("ListServices", "mode"),
        ("ListTasks", "desired-state"),
        ("ListTasks", "up-to-date"),
        ("ListNetworks", "type"),
    ],
)
async def test_a_filter_s_odd_word_is_refused_also_where_there_is_nothing_to_filter(
    control: ControlStub, call: str, key: str
) -> None:
    filters = [pb.Filter(key=key, values=["odd"])]
    request = (pb.ListTasksRequest if call == "ListTasks" else pb.ListRequest)(filters=filters)
    await refused(getattr(control, call)(request), InvalidSpec, f"{key}=odd")


async def test_who_has_seen_a_list_of_services_is_sent_it_again_once_it_or_its_counts_change(
    control: ControlStub, manager: Manager
) -> None:
    """A task that begins to run changes no service, and what is counted of it all the same."""
    made = await create(control, service_spec())
    one = task("n1", made.id)
    manager.put(node("n1"), one)

    async def listed(seen: str, *filters: pb.Filter) -> tuple[str, dict[str, int]]:
        found = await ask(control.ListServices(pb.ListRequest(seen=seen, filters=filters)))
        assert {service.id for service in found.services} == set(found.status)
        return found.tag, {key: value.running_tasks for key, value in found.status.items()}

    tag, counts = await listed("")
    assert counts == {made.id: 0}
    assert await listed(tag) == (tag, {})
    assert await listed(tag, pb.Filter(key="name", values=["web"])) == (tag, {})
    one.status.state = task_states.RUNNING
    manager.put(one)
    counted, counts = await listed(tag)
    assert counted != tag and counts == {made.id: 1}
    assert (await listed(tag))[1] == {made.id: 1}  # an older list than the last one
    await ask(control.RemoveService(pb.RemoveRequest(ref=made.id)))
    assert (await listed(counted))[0] != counted


async def test_who_has_seen_a_list_of_tasks_is_sent_it_again_once_it_changes(
    control: ControlStub, manager: Manager
) -> None:
    """The tag that it came with says so, of the same tasks under whatever filters."""
    made = await create(control, service_spec())
    one, two = task("n1", made.id), task("n1", made.id, 2)
    manager.put(node("n1"), one, two)

    async def listed(seen: str, *filters: pb.Filter) -> tuple[str, set[str]]:
        request = pb.ListTasksRequest(seen=seen, filters=filters)
        found = await ask(control.ListTasks(request))
        return found.tag, {found_task.id for found_task in found.tasks}

    tag, ids = await listed("")
    assert ids == {one.id, two.id}
    assert await listed(tag) == (tag, set())
    assert await listed(tag, pb.Filter(key="node", values=["n1"])) == (tag, set())
    second = pb.Filter(key="name", values=["web.2"])
    assert (await listed(tag, second))[1] == {two.id}
    tag, ids = await listed(tag)
    assert ids == {one.id, two.id}  # the last list was another
    two.status.message = "changed"
    manager.put(two)
    changed, ids = await listed(tag)
    assert changed != tag and ids == {one.id, two.id}


async def test_a_watch_of_one_service_shows_no_others(
    control: ControlStub, manager: Manager
) -> None:
    watch = control.Watch(
        pb.WatchRequest(kinds=["task"], filters=[pb.Filter(key="service", values=["svc"])])
    )
    assert not (await watch.read()).events
    mine, other = task("n1", "svc"), task("n1", "another")
    manager.put(other, mine)
    event = (await watch.read()).events[0]
    assert (event.action, event.task.id) == (pb.CREATE, mine.id)
    watch.cancel()
    named = [pb.Filter(key="service", values=["second"])]
    watch = control.Watch(pb.WatchRequest(kinds=["service"], filters=named))
    assert not (await watch.read()).events
    for name in ("first", "second"):
        spec = service_spec()
        spec.annotations.name = name
        await create(control, spec)
    event = (await watch.read()).events[0]
    assert event.service.spec.annotations.name == "second"
    watch.cancel()
    await refused(
        control.Watch(pb.WatchRequest(kinds=["pods"])).read(), InvalidSpec, "unknown kind"
    )


async def test_tasks_on_a_node_that_is_down_do_not_count_as_running(
    control: ControlStub, manager: Manager
) -> None:
    made = await create(control, service_spec())
    tasks = [task(f"n{slot}", made.id, slot) for slot in (1, 2)]
    for one in tasks:
        one.status.state = task_states.RUNNING
    dead = node("n2", ready=True)
    dead.status.state = NodeStatus.DOWN
    manager.put(node("n1", ready=True), dead, *tasks)

    async def running() -> int:
        answer = await ask(control.ListServices(pb.ListRequest()))
        return int(answer.status[made.id].running_tasks)

    assert await running() == 1
    manager.store.commit_now([Delete(manager.store.view.tasks.get(tasks[1].id))])
    assert await running() == 1
    manager.store.commit_now([Delete(manager.store.view.tasks.get(tasks[0].id))])
    assert await running() == 0


async def test_jobs_count_what_runs_and_what_completed(
    control: ControlStub, manager: Manager
) -> None:
    spec = service_spec("job")
    spec.replicated_job.total_completions = 5
    spec.replicated_job.max_concurrent = 2
    made = await create(control, spec)
    assert made.spec.task.restart.condition == made.spec.task.restart.ON_FAILURE
    for slot, state in enumerate((task_states.COMPLETE, task_states.RUNNING), 1):
        one = task("n1", made.id, slot)
        one.desired_state = task_states.COMPLETE
        one.status.state = state
        one.job_iteration.index = made.job_status.job_iteration
        manager.put(one)
    status = (await ask(control.ListServices(pb.ListRequest()))).status[made.id]
    assert (status.running_tasks, status.desired_tasks, status.completed_tasks) == (1, 2, 1)
