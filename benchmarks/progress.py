"""200 users who look at `service create` until it is done: what the manager takes of a core.

Their services want a node that is not there, so each view stays open. A view is what
cli/service/progress.py does, in threads of this process.
"""

from __future__ import annotations

import threading
import time

from swarmlite.cli.output.display import Display
from swarmlite.cli.service.progress import _Follower
from swarmlite.cli.session import Session
from swarmlite.proto.control_pb2 import CreateServiceRequest
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import UpdateStatus

from .simulated_swarm import CALL_S, SimulatedSwarm
from .table import Row, alone_row, median, spread_note

VIEWS, AGENTS, ROUNDS = 200, 10, 3
SETTLE_S, WINDOW_S = 5.0, 10.0


def measure() -> list[Row]:
    """The share with the views, without what the same services take when nobody looks."""
    with SimulatedSwarm(AGENTS) as swarm:
        services = [_create(swarm, f"waiting{number}") for number in range(VIEWS)]
        time.sleep(SETTLE_S)
        alone = [swarm.share_of_a_core(WINDOW_S) for _ in range(ROUNDS)]
        paths = swarm.cluster.manager.paths
        for service in services:
            follower = _Follower(
                Session(paths), service, Display(quiet=True), UpdateStatus(), False
            )
            threading.Thread(target=_follow, args=(follower,), daemon=True).start()
        time.sleep(SETTLE_S)
        watched = [swarm.share_of_a_core(WINDOW_S) for _ in range(ROUNDS)]
    share = median(watched) - median(alone)
    what = f"{VIEWS} open progress views: the manager's CPU{spread_note(watched)}"
    return [alone_row(what, "% of a core", share, at_most=5)]


def _create(swarm: SimulatedSwarm, name: str) -> str:
    spec = ServiceSpec()
    spec.annotations.name = name
    spec.task.container.image = "busybox:latest"
    spec.task.placement.constraints.append("node.hostname == nowhere")
    spec.replicated.replicas = 2
    made = swarm.control.CreateService(CreateServiceRequest(spec=spec), timeout=CALL_S)
    return str(made.id)


def _follow(follower: _Follower) -> None:
    try:
        follower.run()
    except Exception:
        return  # the swarm goes down under it at the end
