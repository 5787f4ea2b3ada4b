"""Which changes of a service replace its tasks."""

from __future__ import annotations

from swarmlite.model import defaults, dirty, task_states
from swarmlite.proto.objects_pb2 import Node, Service, Task


def pair() -> tuple[Service, Task]:
    service = Service(id="s")
    service.spec.annotations.name = "web"
    service.spec.task.container.image = "a"
    service.spec.CopyFrom(defaults.fill_service(service.spec))
    service.spec_version.index = 2
    task = Task(id="t", service_id="s")
    task.spec.CopyFrom(service.spec.task)
    task.spec_version.index = 1
    task.endpoint.spec.CopyFrom(service.spec.endpoint)
    return service, task


def test_a_change_of_replicas_or_labels_replaces_nothing() -> None:
    service, task = pair()
    service.spec.replicated.replicas = 9
    service.spec.annotations.labels["a"] = "b"
    assert not dirty.is_task_dirty(service, task)


def test_a_change_of_the_task_or_the_endpoint_replaces() -> None:
    service, task = pair()
    service.spec.task.force_update = 1
    assert dirty.is_task_dirty(service, task)
    service, task = pair()
    service.spec.endpoint.ports.add(target_port=80)
    assert dirty.is_task_dirty(service, task)


def test_the_same_version_is_never_dirty() -> None:
    service, task = pair()
    service.spec.task.force_update = 1
    task.spec_version.index = 2
    assert not dirty.is_task_dirty(service, task)


def test_a_change_of_placement_alone_replaces_only_where_the_node_no_longer_fits() -> None:
    service, task = pair()
    service.spec.task.placement.constraints.append("node.labels.ssd==true")
    fits, other = Node(id="a"), Node(id="b")
    fits.spec.annotations.labels["ssd"] = "true"
    assert not dirty.is_task_dirty(service, task, fits)
    assert dirty.is_task_dirty(service, task, other)
    assert dirty.is_task_dirty(service, task)
    service.spec.task.force_update = 1
    assert dirty.is_task_dirty(service, task, fits)


def test_other_credentials_replace_only_what_has_still_to_pull() -> None:
    """A login that is renewed each night restarts nothing."""
    service, task = pair()
    service.spec.task.container.pull_options.registry_auth = "new"
    for state, replaced in (
        (task_states.PREPARING, True),
        (task_states.READY, False),
        (task_states.RUNNING, False),
    ):
        task.status.state = state
        assert dirty.is_task_dirty(service, task) == replaced
        service.spec.task.placement.constraints[:] = ["node.hostname!=b"]
        assert dirty.is_task_dirty(service, task, Node(id="a")) == replaced
        service.spec.task.ClearField("placement")
    service.spec.task.container.image = "b"
    assert dirty.is_task_dirty(service, task)


def test_states_rise_in_swarm_s_order() -> None:
    going = ["new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"]
    ended = ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"]
    states = [task_states.parse(name) for name in going + ended]
    assert states == sorted(states)
    assert [task_states.name(state) for state in states] == going + ended
    assert [state for state in states if task_states.is_terminal(state)] == states[len(going) :]


def test_states_have_the_names_that_users_read() -> None:
    assert task_states.title(task_states.RUNNING) == "Running"
    assert task_states.parse("Shutdown") == task_states.SHUTDOWN
    assert task_states.is_terminal(task_states.COMPLETE)
    assert not task_states.is_terminal(task_states.RUNNING)
