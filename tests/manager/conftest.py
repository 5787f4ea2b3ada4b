"""Tests of the leader's loops run them in the simulated cluster of `simulation/world.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from swarmlite.manager import isolation
from swarmlite.manager.orchestrator import task as task_module

sys.path.insert(0, str(Path(__file__).parent / "simulation"))


@pytest.fixture(autouse=True)
def ids_are_random_again(monkeypatch):
    """The simulation counts ids where the orchestrator draws them; each test gives them back."""
    monkeypatch.setattr(task_module, "new_id", task_module.new_id)


@pytest.fixture(autouse=True)
def nothing_is_passed_over(monkeypatch):
    """What a loop would pass over and log is an error here, but where a test says otherwise."""

    def fail(message, *arguments):
        raise AssertionError(message % arguments) from sys.exc_info()[1]

    monkeypatch.setattr(isolation.log, "exception", fail)


@pytest.fixture
def world():
    """Three nodes, and the invariants watched at every write."""
    from checkers import Checkers
    from world import World

    world = World()
    world.checkers = Checkers(world)
    for _ in range(3):
        world.add_node()
    return world
