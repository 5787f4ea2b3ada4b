"""Tasks on a node that is drained, which end after their successors run.

Of services whose update order is start-first: two tasks of a place are no harm to them. The others
are stopped first, as everything is once the node's deadline has passed.
"""

from __future__ import annotations

from swarmlite.model.task_states import RUNNING
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeStatus, UpdateConfig

from ..store.tables import Tables
from ..times import seconds


class Leaving:
    """Which tasks of one service leave their node that way."""

    def __init__(self, service: Service, view: Tables, now: float) -> None:
        self._nodes, self._now = view.nodes, now
        self._gently = (
            service.spec.WhichOneof("mode") == "replicated"
            and service.spec.update.order == UpdateConfig.START_FIRST
        )

    def __call__(self, task: Task) -> bool:
        """Whether it runs, and is to run until its successor does."""
        if not self._gently or task.status.state != RUNNING or task.desired_state != RUNNING:
            return False
        return self._now < self.deadline(task)

    def deadline(self, task: Task) -> float:
        """When it ends in any case; 0 where its node is not drained."""
        node = self._nodes.get(task.node_id)
        if (
            node is None
            or node.spec.availability != NodeSpec.DRAIN
            or node.status.state == NodeStatus.DOWN
        ):
            return 0.0
        return seconds(node.drain_by)
