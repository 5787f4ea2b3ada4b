"""What a session brings, handed to whom it concerns: the worker, the log shipper, the templates."""

from __future__ import annotations

import logging
from collections.abc import Callable

from swarmlite.agent.carrying.node import NodeImages
from swarmlite.agent.network_checks import NetworkChecks
from swarmlite.agent.task_workload import Surroundings
from swarmlite.agent.worker import Worker
from swarmlite.proto.dispatcher_pb2 import Assignments, LogChunk, LogSubscription, SessionInfo

log = logging.getLogger(__name__)


class Membership:
    """session.Handler of a node in a swarm."""

    def __init__(
        self,
        around: Surroundings,
        worker: Worker,
        heard: Callable[[SessionInfo], None],
        images: NodeImages,
        checks: NetworkChecks,
    ) -> None:
        """All are the node's own, for all sessions; `heard` is its identity's."""
        self._images, self._checks = images, checks
        self._around = around
        self._worker = worker
        self._heard = heard

    def session_started(self, info: SessionInfo) -> None:
        """Templates know the node as the managers do; its identity follows what they say."""
        if info.HasField("node"):
            self._around.node = info.node
        self._heard(info)
        self._images.heard(info)
        self._around.engine.network.preshare(info.network_key)
        period = info.heartbeat_period
        self._worker.contact.found(period.seconds + period.nanos / 1e9)

    def session_lost(self) -> None:
        """Containers run on; who reads logs has to ask again."""
        self._worker.contact.lost()
        self._images.lost()
        self._checks.lost()
        self._worker.assignments.restart()
        self._worker.logs.reset()

    def assigned(self, message: Assignments) -> None:
        """Raises Conflict when the message does not follow the last one."""
        self._worker.assigned(message)

    def log_subscription(self, subscription: LogSubscription) -> None:
        """Managers want log lines, or no longer."""
        self._worker.logs.subscribe(subscription)

    async def log_chunks(self) -> list[LogChunk]:
        """The next log lines to send, once there are any."""
        return await self._worker.logs.chunks()
