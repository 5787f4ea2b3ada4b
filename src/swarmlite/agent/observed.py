"""What this agent counts, for who serves /metrics of its node: read when it is asked for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from swarmlite.agent.reporter import Reporter
from swarmlite.agent.session import Session
from swarmlite.agent.worker import Worker
from swarmlite.engine.engine import Engine
from swarmlite.model import task_states
from swarmlite.model.figures import Figures
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.host_pb2 import HostInfo
from swarmlite.proto.observed_pb2 import Observation, ObserveRequest
from swarmlite.proto.observed_pb2_grpc import ObservedServicer
from swarmlite.tallies import Outcomes


class AgentObserved(ObservedServicer):
    """Serves Observed on the agent's own socket."""

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        reporter: Reporter,
        session: Callable[[], Session | None],
        info: Callable[[], HostInfo],
    ) -> None:
        """`session` is the one with the managers, None outside of a swarm."""
        self._engine, self._worker, self._reporter = engine, worker, reporter
        self._session, self._info = session, info

    async def Observe(self, request: ObserveRequest, context: Any) -> Observation:
        """See observed.proto. Ready: outside of a swarm, or with a session."""
        info = self._info()
        answer = Observation(ready=info.swarm_state in ("inactive", "active"))
        if not answer.ready:
            answer.reason = info.error or f"the node's place in the swarm is {info.swarm_state}"
        if not request.only_ready:
            figures = Figures("swarmlite_agent")
            self._containers(figures)
            self._host(figures, info)
            answer.families.extend(figures.families)
        return answer

    def _containers(self, figures: Figures) -> None:
        engine = self._engine
        status = ContainerState.Status
        states = Counter(status.Name(r.state.status).lower() for r in engine.records)
        figures.gauges("containers", "Containers by state.", "state", {"running": 0, **states})
        tasks = Counter(
            task_states.name(controller.state) for controller in self._worker.controllers()
        )
        figures.gauges("tasks", "Tasks of this node by state.", "state", {"running": 0, **tasks})
        _outcomes(figures, "container_start", "Starts of containers", engine.lifecycle.starts)
        _outcomes(figures, "image_pull", "Pulls of images", engine.storage.images.pulls)
        figures.gauge("images", "Images on this host.", len(engine.storage.images.entries()))
        asked = engine.network.questions
        for answered in ("own", "forwarded", "refused"):
            figures.counter(
                "dns_questions", "Questions for names, by who answered.",
                getattr(asked, answered), answered=answered,
            )  # fmt: skip

    def _host(self, figures: Figures, info: HostInfo) -> None:
        session = self._session()
        connected = bool(session is not None and session.connected_to)
        figures.gauge("session", "Whether a manager has this agent's session.", connected)
        begun = session.begun if session is not None else 0
        figures.counter("sessions_begun", "Sessions that began.", begun)
        figures.gauge(
            "reports_waiting", "Tasks whose state managers have to be told.", self._reporter.waiting
        )
        figures.counter("reports_sent", "Reports that managers were sent.", self._reporter.sent)
        disk = os.statvfs(info.state_dir)
        figures.gauge("disk_bytes", "Size of the state directory's disk.",
                      disk.f_blocks * disk.f_frsize)  # fmt: skip
        figures.gauge("disk_free_bytes", "What is free of it.", disk.f_bavail * disk.f_frsize)
        figures.gauge("warnings", "What this host lacks or suffers.",
                      len(info.description.warnings))  # fmt: skip


def _outcomes(figures: Figures, name: str, help: str, outcomes: Outcomes) -> None:
    for outcome, count in sorted(outcomes.ended.items()):
        figures.counter(f"{name}s", f"{help}, by how they ended.", count, outcome=outcome)
    figures.durations(f"{name}_seconds", f"{help}: how long good ones took.", outcomes.durations)
