"""Drains that replace first, canaries, and replicas by use, on a real cluster."""

from __future__ import annotations

import json

import pytest
from swarm_world import create

from swarmlite.testing import Cluster, CommandFailed

pytestmark = pytest.mark.timeout(300)


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


def test_a_service_that_works_hard_gets_more_replicas(swarm: Cluster, busybox: str) -> None:
    manager = swarm.manager
    scale = ("--replicas-max", "2", "--scale-cpu", "10", "--limit-cpu", "0.2")
    create(swarm, "--name", "busy", *scale, busybox, "sh", "-c", "while :; do :; done")
    swarm.wait_running("busy", 2, 240)
    assert "cpu " in manager.cli("service", "inspect", "--pretty", "busy")
    with pytest.raises(CommandFailed, match="--scale-memory: is of --limit-memory"):
        manager.cli("service", "update", "-d", "--scale-memory", "50", "busy")
