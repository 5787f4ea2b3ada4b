"""Each change shows its plan and does nothing before it is confirmed; the managers say who may."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from small_manager import SmallPage, small_page

from swarmlite.ids import new_id
from swarmlite.manager.store.api import Put
from swarmlite.model import task_states
from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER, NodeStatus, UpdateStatus

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")


class World:
    """A service of two tasks that was updated once, on a worker."""

    def __init__(self, page: SmallPage) -> None:
        self.page, self.service_id, self.node_id = page, new_id(), new_id()
        service = Service(id=self.service_id)
        service.spec.annotations.name = "web"
        service.spec.task.container.image = "app:2"
        service.spec.replicated.replicas = 2
        service.previous_spec.CopyFrom(service.spec)
        service.previous_spec.task.container.image = "app:1"
        page.store.commit_now([Put(service), Put(self._worker()), *map(Put, self._tasks())])

    def _worker(self) -> Node:
        node = Node(id=self.node_id)
        node.description.hostname = "worker1"
        node.status.state = NodeStatus.READY
        return node

    def _tasks(self) -> list[Task]:
        tasks = [Task(id=new_id(), service_id=self.service_id, slot=n, node_id=self.node_id)
                 for n in (1, 2)]  # fmt: skip
        for task in tasks:
            task.desired_state = task.status.state = task_states.RUNNING
        return tasks

    def service(self) -> Service | None:
        return self.page.store.view.services.get(self.service_id)

    def node(self) -> Node | None:
        return self.page.store.view.nodes.get(self.node_id)

    def is_down(self) -> None:
        node = Node()
        node.CopyFrom(self.page.store.view.nodes.get(self.node_id))
        node.status.state = NodeStatus.DOWN
        self.page.store.commit_now([Put(node)])

    def is_drained(self) -> None:
        node = Node()
        node.CopyFrom(self.page.store.view.nodes.get(self.node_id))
        node.spec.availability = NodeSpec.DRAIN
        self.page.store.commit_now([Put(node)])


@dataclass
class Change:
    """What is asked, what its plan says, who may, and what it did."""

    path: str
    fields: dict[str, str]
    plan: str
    may: str
    done: Callable[[World], object]
    before: Callable[[World], None] = lambda world: None


def service(world: World) -> Service:
    found = world.service()
    assert found is not None
    return found


def node(world: World) -> Node:
    found = world.node()
    assert found is not None
    return found


SERVICE, NODE = "/service/web", "/node/worker1"
CHANGES = {
    "scale": Change(
        SERVICE, {"do": "scale", "replicas": "5"}, "from 2 to 5 replicas: 3 tasks start",
        "operator", lambda w: service(w).spec.replicated.replicas == 5,
    ),
    "image": Change(
        SERVICE, {"do": "image", "image": "app:3"}, "2 tasks are replaced", "operator",
        lambda w: service(w).spec.task.container.image == "app:3",
    ),
    "restart": Change(
        SERVICE, {"do": "restart"}, "2 tasks are replaced by new ones", "operator",
        lambda w: service(w).spec.task.force_update == 1,
    ),
    "rollback": Change(
        SERVICE, {"do": "rollback"}, "task.container.image: app:2 -> app:1", "operator",
        lambda w: service(w).spec.task.container.image == "app:1",
    ),
    "remove": Change(
        SERVICE, {"do": "remove"}, "the service goes, and 2 tasks end", "operator",
        lambda w: w.service() is None or service(w).pending_delete,
    ),
    "drain": Change(
        NODE, {"do": "drain"}, "its 2 tasks move to other nodes", "admin",
        lambda w: node(w).spec.availability == NodeSpec.DRAIN,
    ),
    "pause": Change(
        NODE, {"do": "pause"}, "its 2 tasks stay", "admin",
        lambda w: node(w).spec.availability == NodeSpec.PAUSE,
    ),
    "activate": Change(
        NODE, {"do": "activate"}, "it gets new tasks", "admin",
        lambda w: node(w).spec.availability == NodeSpec.ACTIVE, World.is_drained,
    ),
    "promote": Change(
        NODE, {"do": "promote"}, "it becomes a manager", "admin",
        lambda w: node(w).spec.desired_role == MANAGER,
    ),
    "remove node": Change(
        NODE, {"do": "remove"}, "its certificate is refused from then on", "admin",
        lambda w: w.node() is None, World.is_down,
    ),
}  # fmt: skip
ROLES = ("reader", "operator", "admin")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with small_page(tmp_path) as page:
        yield World(page)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_shown_first_and_done_by_whom_the_managers_let(
    world: World, name: str
) -> None:
    change, page = CHANGES[name], world.page
    change.before(world)
    for role in ROLES[: ROLES.index(change.may) + 1]:
        revision = page.store.view.revision
        status, plan = await page.post(role, f"{change.path}/plan", change.fields)
        assert (status, change.plan in lines(plan)) == (200, True), lines(plan)
        assert (page.store.view.revision, bool(change.done(world))) == (revision, False)
        status, text = await page.post(role, action(plan), hidden(plan))
        if role == change.may:
            assert (status, bool(change.done(world))) == (303, True), text
        else:
            assert (status, "may not call" in text) == (403, True), text
            assert page.store.view.revision == revision


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_is_offered_what_he_may_not_do(world: World, role: str) -> None:
    for path, least in ((SERVICE, "operator"), (NODE, "admin")):
        _, text = await world.page.get(role, path)
        offered = re.findall(r"<button[^>]*>([^<]*…)</button>", text)
        assert bool(offered) == (ROLES.index(role) >= ROLES.index(least)), (path, offered)


async def test_the_last_manager_stays_one_and_a_node_that_is_up_stays_in_the_cluster(
    world: World,
) -> None:
    """The plan is shown; the managers refuse, and the page says why."""
    for path, do, why in (
        ("/node/manager1", "demote", "last manager"),
        (NODE, "remove", "is not down"),
    ):
        _, plan = await world.page.post("admin", f"{path}/plan", {"do": do})
        status, text = await world.page.post("admin", action(plan), hidden(plan))
        assert (status, why in text) == (409, True), text


async def test_what_is_no_change_is_refused_before_anything_is_asked(world: World) -> None:
    for path, fields, why in (
        (SERVICE, {}, "unknown kind of change"),
        (SERVICE, {"do": "image", "image": "  "}, "an image has to be named"),
        (SERVICE, {"do": "rollback", "to": "7"}, "has no version 7"),
        (SERVICE, {"do": "scale", "replicas": "1e3"}, "expected a number"),
        (NODE, {"do": "explode"}, "unknown kind of change"),
    ):
        status, text = await world.page.post("admin", f"{path}/plan", fields)
        assert (status, why in text) == (400, True), text


def lines(plan: str) -> str:
    """Of a plan, as a reader sees them."""
    return html.unescape("\n".join(re.findall(r"<li>(.*?)</li>", plan)))


def action(plan: str) -> str:
    """Where its button leads."""
    (found,) = re.findall(r'<form method="post" action="/ui(/[^"]+/do)">', plan)
    return str(found)


def hidden(plan: str) -> dict[str, str]:
    """What its form has but the token."""
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', plan))
    return {name: html.unescape(value) for name, value in found.items() if name != "token"}


async def test_an_update_says_how_far_it_is_on_the_overview_and_on_the_services_page(
    world: World,
) -> None:
    """A place is done once a task of the new specification runs in it."""
    updating = Service()
    updating.CopyFrom(service(world))
    updating.update_status.state = UpdateStatus.UPDATING
    updating.update_status.message = "update in progress"
    tasks = [cast(Task, task) for task in world.page.store.view.tasks]
    old, new = tasks
    old.spec.container.image, new.spec.container.image = "app:1", "app:2"
    new.spec.CopyFrom(updating.spec.task)
    before = Task(id=new_id(), service_id=updating.id, slot=new.slot)
    before.desired_state, before.status.state = task_states.SHUTDOWN, task_states.RUNNING
    world.page.store.commit_now([Put(each) for each in (updating, old, new, before)])
    _, text = await world.page.get("reader", "/")
    assert "<td>updating, 1 of 2</td>" in text
    _, text = await world.page.get("reader", SERVICE)
    assert "Update: updating, 1 of 2: update in progress" in text
    updating.CopyFrom(service(world))
    updating.update_status.state = UpdateStatus.COMPLETED
    world.page.store.commit_now([Put(updating)])
    assert "<td>completed</td>" in (await world.page.get("reader", "/"))[1]
