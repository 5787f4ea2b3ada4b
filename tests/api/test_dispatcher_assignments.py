"""Assignments as decisions: whatever happens, increments lead where a complete set would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from api_world import node
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmlite.manager.dispatcher.assignments import KINDS, AssignmentSet
from swarmlite.manager.store.api import Action, Delete, Event, Put, kind_of
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.model import task_states
from swarmlite.proto.dispatcher_pb2 import AssignmentChange
from swarmlite.proto.objects_pb2 import Network, Secret, Service, Task

NODES = ("n1", "n2", "n3")
NETWORKS = ("a", "b", "ing")
STATES = (
    task_states.PENDING,
    task_states.ASSIGNED,
    task_states.RUNNING,
    task_states.FAILED,
)
Items = dict[tuple[str, str], Any]


def applied(items: Items, changes: Iterable[AssignmentChange]) -> Items:
    """What an agent holds after `changes`."""
    for change in changes:
        kind = change.WhichOneof("item")
        item = getattr(change, kind)
        if change.action == AssignmentChange.REMOVE:
            items.pop((kind, item.id), None)
        else:
            items[kind, item.id] = item
    return items


class World:
    """A store, an assignment set that follows it, and what each node was told."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.set = AssignmentSet()
        self.events: list[Event] = []
        self.told: dict[str, Items] = {name: {} for name in NODES}
        self.gone: Counter[str] = Counter()

    def id_of(self, task: str) -> str:
        """No task ever has the id of one that was removed."""
        return f"{task}.{self.gone[task]}" if self.gone[task] else task

    def put(self, obj: Any) -> None:
        table = self.store.view.table(kind_of(obj))
        stored = table.get(obj.id)
        obj.meta.version.index = stored.meta.version.index if stored else 0
        self.store.commit_now([Put(obj)])
        action = Action.UPDATE if stored else Action.CREATE
        self.events.append(Event(action, kind_of(obj), table.get(obj.id), stored))

    def delete(self, kind: str, object_id: str) -> None:
        stored = self.store.view.table(kind).get(object_id)
        if stored is not None:
            self.store.commit_now([Delete(stored)])
            self.events.append(Event(Action.REMOVE, kind, stored))

    def flush(self) -> None:
        self.set.observe(self.events)
        self.events.clear()
        for name, changes in self.set.flush(self.store.view, NODES).items():
            applied(self.told[name], changes)

    def check(self) -> None:
        fresh = AssignmentSet()
        fresh.reset(self.store.view)
        fresh.flush(self.store.view, ())
        for name in NODES:
            complete = applied({}, self.set.complete(self.store.view, name))
            assert without_status(self.told[name]) == without_status(complete)
            rebuilt = applied({}, fresh.complete(self.store.view, name))
            assert without_status(complete) == without_status(rebuilt)


def without_status(items: Items) -> Items:
    """An agent is not told what it reported itself."""
    found: Items = {}
    for key, item in items.items():
        copy = type(item)()
        copy.CopyFrom(item)
        if isinstance(copy, Task):
            copy.ClearField("status")
        if hasattr(copy, "meta"):
            copy.ClearField("meta")
        found[key] = copy
    return found


def network(name: str) -> Network:
    made = Network(id=name)
    made.spec.ingress = name == "ing"
    made.ipam.configs.add(subnet="10.0.0.0/24")
    return made


def make_task(number: int, on: str, state: int, networks: set[str], secret: bool) -> Task:
    made = Task(id=f"t{number}", node_id=on, service_id="s1")
    if number == 4:
        made.service_id = ""
        made.spec.attachment.container_id = "c"
    made.status.state = state  # type: ignore[assignment]
    made.status.healthy = True
    made.desired_state = task_states.RUNNING
    for name in sorted(networks):
        made.networks.add(network_id=name, addresses=[f"10.0.0.{number + 2}/24"])
    if secret:
        made.spec.container.secrets.add(secret_id="key")
    return made


def service(name: str, networks: set[str], published: bool) -> Service:
    made = Service(id=name)
    made.spec.annotations.name = name
    for target in sorted(networks):
        made.spec.task.networks.add(target=target, aliases=["x"])
        made.endpoint.virtual_ips.add(network_id=target, addr="10.0.0.200/24")
    if published:
        made.endpoint.ports.add(target_port=80, published_port=8080)
    return made


some_networks = st.sets(st.sampled_from(NETWORKS), max_size=2)
steps = st.one_of(
    st.tuples(
        st.just("task"), st.integers(0, 4), st.sampled_from(NODES), st.sampled_from(STATES),
        some_networks, st.booleans(),
    ),
    st.tuples(st.just("untask"), st.integers(0, 4)),
    st.tuples(st.just("node"), st.sampled_from(NODES), st.booleans()),
    st.tuples(st.just("unnode"), st.sampled_from(NODES)),
    st.tuples(st.just("network"), st.sampled_from(NETWORKS)),
    st.tuples(st.just("unnetwork"), st.sampled_from(NETWORKS)),
    st.tuples(st.just("service"), st.sampled_from(("s1", "s2")), some_networks, st.booleans()),
    st.tuples(st.just("unservice"), st.sampled_from(("s1", "s2"))),
    st.tuples(st.just("secret"), st.binary(max_size=3)),
    st.tuples(st.just("unsecret")),
    st.tuples(st.just("flush")),
)  # fmt: skip


def step(world: World, what: tuple[Any, ...]) -> None:
    kind, arguments = what[0], what[1:]
    if kind == "flush":
        world.flush()
        world.check()
    elif kind == "task":
        _put_task(world, make_task(*arguments))
    elif kind == "node":
        made = node(arguments[0], ready=arguments[1])
        made.attachments.add(network_id="ing", addresses=["10.0.0.99/24"])
        world.put(made)
    elif kind == "network":
        world.put(network(*arguments))
    elif kind == "service":
        world.put(service(*arguments))
    elif kind == "secret":
        world.put(Secret(id="key", spec={"data": arguments[0]}))
    elif kind == "unsecret":
        world.delete("secret", "key")
    elif kind == "unnetwork" and arguments[0] == "ing" and _is_used(world, "ing"):
        pass  # refused by the managers
    elif kind == "untask":
        name = f"t{arguments[0]}"
        world.delete("task", world.id_of(name))
        world.gone[name] += 1
    else:
        world.delete(kind.removeprefix("un"), arguments[0])


def _is_used(world: World, network_id: str) -> bool:
    tasks = world.store.view.tasks
    return any(attached.network_id == network_id for task in tasks for attached in task.networks)


def _put_task(world: World, made: Task) -> None:
    """As the store sees it: what a task names and its node never change, its state only rises.

    Nobody is attached to an ingress network that is not there.
    """
    if world.store.view.networks.get("ing") is None:
        kept = [one for one in made.networks if one.network_id != "ing"]
        del made.networks[:]
        made.networks.extend(kept)
    made.id = world.id_of(made.id)
    stored = world.store.view.tasks.get(made.id)
    if stored is not None:
        state = max(made.status.state, stored.status.state)
        made.CopyFrom(stored)
        made.status.state = state
    world.put(made)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40))
def test_increments_lead_where_a_complete_set_leads(plan: list[tuple[Any, ...]]) -> None:
    world = World()
    for what in plan:
        step(world, what)
    world.flush()
    world.check()


@settings(max_examples=50, deadline=None)
@given(st.lists(steps, max_size=30))
def test_after_lost_events_everything_is_compared(plan: list[tuple[Any, ...]]) -> None:
    world = World()
    for number, what in enumerate(plan):
        step(world, what)
        if number % 7 == 3:
            world.events.clear()
            world.set.reset(world.store.view)
    world.flush()
    world.check()


def test_what_tasks_need_comes_before_them_and_goes_after_them() -> None:
    world = World()
    world.put(network("a"))
    world.put(Secret(id="key", spec={"data": b"x"}))
    world.put(service("s1", {"a"}, False))
    world.put(node("n1"))
    world.put(make_task(0, "n1", task_states.ASSIGNED, {"a"}, True))
    world.set.reset(world.store.view)
    changes = world.set.flush(world.store.view, ["n1"])["n1"]
    kinds = [change.WhichOneof("item") for change in changes]
    assert kinds[-1] == "task"
    assert sorted(kinds[:-1]) == ["endpoint", "network", "secret", "virtual_service"]
    world.events.clear()
    world.delete("task", "t0")
    world.set.observe(world.events)
    changes = world.set.flush(world.store.view, ["n1"])["n1"]
    assert all(change.action == AssignmentChange.REMOVE for change in changes)
    kinds = [change.WhichOneof("item") for change in changes]
    assert kinds[0] == "task"
    assert kinds.index("endpoint") < kinds.index("network")


def test_what_an_agent_reported_is_not_sent_back() -> None:
    world = World()
    world.put(node("n1"))
    made = make_task(0, "n1", task_states.ASSIGNED, set(), False)
    world.put(made)
    world.set.observe(world.events)
    assert world.set.flush(world.store.view, NODES)
    world.events.clear()
    made.status.state = task_states.RUNNING
    world.put(made)
    world.set.observe(world.events)
    assert not world.set.flush(world.store.view, NODES)


def test_every_kind_that_it_follows_is_one_of_the_stores() -> None:
    assert set(KINDS) <= {"task", "node", "network", "service", "secret", "config"}
