"""A checker is proved by a bug put in on purpose that turns it red."""

from __future__ import annotations

import sys

import pytest
from checkers import Broken
from hypothesis.stateful import run_state_machine_as_test
from test_interleavings import Cluster, bounded

from swarmlite.manager.allocator.ipam import AddressPool
from swarmlite.manager.orchestrator import turn as turn_module
from swarmlite.manager.orchestrator.turn import Turn
from swarmlite.manager.store.memory import MemoryStore


def restart_makes_two_tasks(patch):
    def fill(self, key, tasks, previous=None):
        self.create(key)
        self.create(key)

    patch.setattr(Turn, "fill", fill)
    patch.setattr(Turn, "_keep_one", lambda self, place: None)


def replacements_do_not_wait_for_the_old_task(patch):
    patch.setattr(turn_module, "still_going", lambda task, view: False)
    patch.setattr(turn_module, "delay_s", lambda *args: 0.0)
    patch.setattr(turn_module, "start_at", lambda *args: 0.0)
    patch.setattr(Turn, "set_desired", lambda self, task, desired: None)


def every_address_is_the_first(patch):
    patch.setattr(AddressPool, "allocate", lambda self: self._first + 1)


def addresses_are_never_freed(patch):
    patch.setattr(AddressPool, "release", lambda self, address: None)


def nothing_is_reaped(patch):
    patch.setattr("swarmlite.manager.reaper.superfluous", lambda *args: [])


def ended_tasks_are_not_replaced(patch):
    patch.setattr(turn_module, "should_restart", lambda task, place: False)
    patch.setattr("swarmlite.manager.orchestrator.places.should_restart", lambda task, place: False)


def paused_updates_go_on(patch):
    patch.setattr(sys.modules["swarmlite.manager.updater.advance"], "STOPPED", ())


def a_former_leader_may_write(patch):
    commit = MemoryStore.commit_now
    patch.setattr(
        MemoryStore, "commit_now", lambda self, changes, fence=None: commit(self, changes)
    )


BUGS = [
    restart_makes_two_tasks,
    replacements_do_not_wait_for_the_old_task,
    every_address_is_the_first,
    addresses_are_never_freed,
    nothing_is_reaped,
    ended_tasks_are_not_replaced,
    paused_updates_go_on,
    a_former_leader_may_write,
]


@pytest.mark.timeout(600)  # the rarest takes half a minute of computing
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_put_in_on_purpose_is_found(bug, monkeypatch):
    """Each bug breaks an invariant in one of the examples."""
    bug(monkeypatch)
    with pytest.raises(BaseException) as caught:
        run_state_machine_as_test(Cluster, settings=bounded(150))
    assert broken(caught.value), f"found something else: {caught.value!r}"


def broken(error: BaseException) -> bool:
    """Whether a checker raised it, by itself or in a group (the teardown fails too)."""
    if isinstance(error, BaseExceptionGroup):
        return any(broken(e) for e in error.exceptions)
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, Broken | AssertionError):
            return True
        seen = seen.__context__
    return False
