"""What services do beyond Swarm's, on a real cluster: drains that replace first, canaries,
replicas by use, rebalancing, back-off, secrets that change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from swarm_world import create, in_container

from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import Filter, ListTasksRequest
from swarmlite.proto.objects_pb2 import Task
from swarmlite.testing import Cluster, CommandFailed, Host

pytestmark = pytest.mark.timeout(300)


def tasks_of(swarm: Cluster, service: str) -> Sequence[Task]:
    """Ended ones too."""
    wanted = [Filter(key="service", values=[service])]
    found: Sequence[Task] = swarm.ask("ListTasks", ListTasksRequest(filters=wanted)).tasks
    return found


def test_a_drain_starts_the_successor_before_it_ends_the_task(swarm: Cluster, busybox: str) -> None:
    """A task that takes the place of one on a drained node is no update."""
    manager = swarm.manager
    line = ("--name", "kept", "--update-order", "start-first", "--constraint", "node.role==worker")
    health = ("--health-cmd", "true", "--health-interval", "200ms")
    create(swarm, *line, *health, busybox, "sleep", "1000")
    [host] = swarm.wait_running("kept", 1)
    manager.cli("node", "update", "--availability", "drain", "--drain-deadline", "10m", host)

    def moved() -> bool:
        shown = manager.cli("service", "ps", "kept", "--format", "{{.DesiredState}}")
        return sorted(shown.split()) == ["Running", "Shutdown"] and len(swarm.running("kept")) == 1

    swarm.wait(moved, 120, "the task to move")
    ids = manager.cli("service", "ps", "-q", "--no-trunc", "kept").split()
    began = {
        each["DesiredState"]: each["Status"] for each in json.loads(manager.cli("inspect", *ids))
    }
    assert began["running"]["Timestamp"] < began["shutdown"]["Timestamp"]
    shown = json.loads(manager.cli("service", "inspect", "kept"))
    assert "UpdateStatus" not in shown[0] or not shown[0]["UpdateStatus"]
    other = next(each.name for each in swarm.hosts if each.name != host)
    with pytest.raises(CommandFailed, match="only valid with --availability drain"):
        manager.cli("node", "update", "--drain-deadline", "1m", other)


def test_canaries_wait_for_service_promote(swarm: Cluster, busybox: str) -> None:
    manager = swarm.manager
    create(swarm, "--name", "birds", "--replicas", "3", busybox, "sleep", "1000")
    swarm.wait_running("birds", 3)
    policy = ("--update-canary", "1", "--update-canary-promote", "manual", "--update-monitor", "1s")
    manager.cli("service", "update", "-d", "-q", *policy, "--env-add", "V=2", "birds")
    shape = "{{json .UpdateStatus}}"

    def message() -> str:
        status = json.loads(manager.cli("service", "inspect", "--format", shape, "birds"))
        return str((status or {}).get("Message", ""))

    swarm.wait(lambda: "1 of 3 replicas updated" in message(), 120, "the canary")
    assert "the rest waits for `service promote`" in message()
    manager.cli("service", "promote", "birds")
    swarm.wait(lambda: message() == "update completed", 120, "the rest")
    with pytest.raises(CommandFailed, match="no canaries that could be promoted"):
        manager.cli("service", "promote", "birds")
    # Nobody is needed where the monitored time decides.
    manager.cli("service", "update", "-d", "-q", "--update-canary-promote", "auto",
                "--env-add", "V=3", "birds")  # fmt: skip

    def all_are_of_it() -> bool:
        going = [t for t in tasks_of(swarm, "birds") if t.desired_state <= task_states.RUNNING]
        return all(list(t.spec.container.env) == ["V=3"] for t in going)

    swarm.wait(lambda: all_are_of_it() and message() == "update completed", 120, "the next one")


def test_a_service_that_works_hard_gets_more_replicas(swarm: Cluster, busybox: str) -> None:
    manager = swarm.manager
    scale = ("--replicas-max", "2", "--scale-cpu", "10", "--limit-cpu", "0.2")
    create(swarm, "--name", "busy", *scale, busybox, "sh", "-c", "while :; do :; done")
    swarm.wait_running("busy", 2, 240)
    assert "cpu " in manager.cli("service", "inspect", "--pretty", "busy")
    with pytest.raises(CommandFailed, match="--scale-memory: is of --limit-memory"):
        manager.cli("service", "update", "-d", "--scale-memory", "50", "busy")


def test_tasks_go_to_a_node_that_joins_where_that_was_asked_for(
    swarm: Cluster, busybox: str
) -> None:
    """By themselves with --rebalance on-join, else by `service rebalance`."""
    manager = swarm.manager
    manager.cli("node", "update", "--availability", "drain", "worker1")
    lines = {"moves": ("--rebalance", "on-join"), "stays": (), "packs": ("--strategy", "binpack")}
    for name, line in lines.items():
        create(swarm, "--name", name, "--replicas", "3", *line, busybox, "sleep", "1000")
    for name in lines:
        assert "worker1" not in swarm.wait_running(name, 3)
    assert len(set(swarm.running("packs"))) == 1
    manager.cli("node", "update", "--availability", "active", "worker1")
    hosts = {host.name for host in swarm.hosts}
    swarm.wait(lambda: set(swarm.running("moves")) == hosts, 120, "tasks to move to it")
    assert "worker1" not in swarm.running("stays")
    manager.cli("service", "rebalance", "stays")
    swarm.wait(lambda: set(swarm.running("stays")) == hosts, 120, "tasks to be moved to it")


def test_with_a_back_off_a_task_that_fails_is_started_later_each_time(
    swarm: Cluster, busybox: str
) -> None:
    line = ("--restart-delay", "400ms", "--restart-backoff", "2", "--restart-max-delay", "1m")
    manager = swarm.manager
    manager.cli("service", "create", "-d", "-q", *line, "--name", "falls", busybox, "false")

    def ends() -> list[float]:
        """When its first four tasks failed, by their nodes' one clock."""
        status = (task.status for task in tasks_of(swarm, "falls"))
        failed = (each.timestamp for each in status if each.state == task_states.FAILED)
        times = sorted(stamp.seconds + stamp.nanos / 1e9 for stamp in failed)
        return times[:4] if len(times) >= 4 else []

    between = [later - earlier for earlier, later in pairwise(swarm.wait(ends, 120, "failures"))]
    assert all(took > delay for took, delay in zip(between, (0.4, 0.8, 1.6), strict=True)), between


def test_a_secret_that_is_rotated_is_what_the_next_tasks_read(swarm: Cluster, busybox: str) -> None:
    """And so is the template of another one that names it, on whichever node a task runs."""
    manager = swarm.manager
    manager.cli("secret", "create", "word", "-", input="one")
    template = '{{.Service.Name}} {{.Node.Hostname}} {{secret "word"}} {{env "V"}}'
    manager.cli("secret", "create", "--template-driver", "golang", "made", "-", input=template)
    create(swarm, "--name", "reads", "--mode", "global", "--constraint", "node.role==worker",
           "--secret", "word", "--secret", "made", "--env", "V=on {{.Node.Hostname}}",
           "--update-monitor", "100ms", busybox, "sleep", "1000")  # fmt: skip
    swarm.wait_running("reads", 2)

    def said(host: Host) -> str:
        return in_container(host, "reads", "cat", "/run/secrets/made")

    workers = swarm.workers
    assert [said(h) for h in workers] == [f"reads {h.name} one on {h.name}" for h in workers]
    rotated = manager.cli("secret", "rotate", "word", "-", input="two", timeout_s=120)
    assert rotated.startswith("word.v2\n")
    swarm.wait_running("reads", 2)
    assert [said(h) for h in workers] == [f"reads {h.name} two on {h.name}" for h in workers]
