"""The leader's loops, all of them, for one term of leadership.

Each is driven by `loop.run` in a task of the term's group, with the wall clock (`time.time`):
delays are counted from timestamps in the store, so that the next leader goes on where this one was.
"""

from __future__ import annotations

from .allocator.loop import Allocator
from .autoscaler import Autoscaler
from .enforcer import Enforcer
from .loop import Loop
from .orchestrator.loop import Orchestrator
from .reaper import Reaper
from .scheduler.loop import Scheduler

BUDGET = 500
"""Changes that a loop decides at a time, before the manager's other work has its turn."""


def leader_loops(*, budget: int = BUDGET) -> list[Loop]:
    """New loops that know nothing yet; their first `reset` reads the store."""
    return [
        Orchestrator(budget),
        Allocator(budget),
        Scheduler(budget),
        Enforcer(),
        Reaper(budget),
        Autoscaler(),
    ]
