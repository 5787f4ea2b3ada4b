"""What this manager counts, for who serves /metrics of its node: read when it is asked for.

Whole tables are walked in parts, so that a scrape holds up nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, TypeVar

from swarmlite.errors import SwarmliteError
from swarmlite.model import task_states
from swarmlite.model.figures import Figures
from swarmlite.proto.observed_pb2 import Observation, ObserveRequest
from swarmlite.proto.observed_pb2_grpc import ObservedServicer
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeRole, NodeStatus, UpdateStatus

from .dispatcher import Dispatcher
from .loop import Tally
from .store.api import type_of_kind
from .store.etcd import EtcdStore
from .store.etcd_client import Compacted

PART = 500
"""Objects that are looked at without giving way."""
ETCD_S = 2.0
T = TypeVar("T")


class ManagerObserved(ObservedServicer):
    """Serves Observed on the manager's own socket."""

    def __init__(
        self,
        store: EtcdStore,
        dispatcher: Dispatcher,
        tallies: Mapping[str, Tally],
        leading: Callable[[], bool],
    ) -> None:
        """`tallies` are of the leader's loops; `leading`, whether this manager leads now."""
        self._store, self._dispatcher = store, dispatcher
        self._tallies, self._leading = tallies, leading

    async def Observe(self, request: ObserveRequest, context: Any) -> Observation:
        """See observed.proto."""
        answer = Observation(ready=self._store.connected)
        if not answer.ready:
            answer.reason = "the managers have no quorum: what this one knows may be old"
        if not request.only_ready:
            answer.families.extend(await self._figures())
        return answer

    async def _figures(self) -> Iterable[Any]:
        figures = Figures("swarmlite_manager")
        figures.gauge("leader", "Whether this manager leads.", self._leading())
        await self._cluster(figures)
        self._sessions(figures)
        self._loops(figures)
        await self._etcd(figures)
        return figures.families

    async def _cluster(self, figures: Figures) -> None:
        view = self._store.view
        nodes = Counter(
            (_word(NodeStatus.State, n.status.state), _word(NodeRole, n.role),
             _word(NodeSpec.Availability, n.spec.availability))
            for n in view.nodes
        )  # fmt: skip
        for (state, role, availability), count in sorted(nodes.items()):
            figures.gauge(
                "nodes", "Nodes of the cluster.", count,
                state=state, role=role, availability=availability,
            )  # fmt: skip
        states: Counter[str] = Counter({"running": 0, "pending": 0, "failed": 0})
        running: Counter[str] = Counter()
        wanted: Counter[str] = Counter()
        async for task in _gently(view.tasks):
            states[task_states.name(task.status.state)] += 1
            if task.desired_state <= task_states.RUNNING:
                wanted[task.service_id] += 1
                running[task.service_id] += task.status.state == task_states.RUNNING
        figures.gauges("tasks", "Tasks by their observed state.", "state", states)
        updates: Counter[str] = Counter({"updating": 0, "paused": 0, "rollback_paused": 0})
        for service in view.services:
            name = service.spec.annotations.name
            help = "Tasks of a service that should run, and of those the ones that do."
            figures.gauge("service_tasks_desired", help, wanted[service.id], service=name)
            figures.gauge("service_tasks_running", help, running[service.id], service=name)
            if service.update_status.state:
                updates[_word(UpdateStatus.State, service.update_status.state)] += 1
        figures.gauges("updates", "Services by the state of their last update.", "state", updates)
        objects = {kind: len(view.table(kind)) for kind in type_of_kind}
        figures.gauges("objects", "Objects that this manager knows.", "kind", objects)

    def _sessions(self, figures: Figures) -> None:
        dispatcher, view = self._dispatcher, self._store.view
        figures.gauge("sessions", "Agents that have a session here.", len(dispatcher.sessions))
        waiting = sum(session.waiting for session in dispatcher.sessions)
        figures.gauge("assignments_waiting", "Messages that agents were not sent yet.", waiting)
        figures.gauge(
            "reports_waiting", "Agents' reports that are not in the store yet.",
            dispatcher.reports_waiting,
        )  # fmt: skip
        ages = {
            node.description.hostname or node_id: seconds
            for node_id, seconds in dispatcher.silences_s().items()
            if (node := view.nodes.get(node_id)) is not None
        }
        figures.gauges(
            "heartbeat_age_seconds", "Since an agent with a session here was heard.", "node", ages
        )

    def _loops(self, figures: Figures) -> None:
        for loop, tally in sorted(self._tallies.items()):
            figures.durations(
                "loop_plan_seconds", "How long a leader's loop decided.", tally.plans, loop=loop
            )
            figures.durations(
                "loop_commit_seconds", "How long its changes took to write.",
                tally.commits, loop=loop,
            )  # fmt: skip
            figures.counter("loop_changes", "Changes written.", tally.changes, loop=loop)
            figures.counter(
                "loop_refused", "Changes refused, since another was first.",
                tally.refused, loop=loop,
            )  # fmt: skip
            figures.counter("loop_failures", "Starts over.", tally.failures, loop=loop)

    async def _etcd(self, figures: Figures) -> None:
        store = self._store
        figures.gauge("store_connected", "Whether the view follows etcd.", store.connected)
        figures.counter(
            "store_revision", "etcd's revision, as this view has it.", store.view.revision
        )
        healed = store.check.healed if store.check is not None else 0
        figures.counter("store_healed", "Objects put right that the watch had lost.", healed)
        for call, outcomes in sorted(store.client.calls.items()):
            figures.durations(
                "etcd_call_seconds", "How long etcd took to answer.", outcomes.durations, call=call
            )
            figures.counter(
                "etcd_failures", "Calls to etcd that failed.", outcomes.ended["failed"], call=call
            )
        try:
            async with asyncio.timeout(ETCD_S):
                status = await store.client.status()
        except (SwarmliteError, Compacted, TimeoutError):
            return  # the failures are counted, and readiness says more
        figures.gauge("etcd_database_bytes", "Size of the member's data base.", status.dbSize)


async def _gently(objects: Iterable[T]) -> AsyncIterator[T]:
    """Each of them, as they are now; other work has its turn between parts."""
    for number, each in enumerate(list(objects)):
        if number % PART == PART - 1:
            await asyncio.sleep(0)
        yield each


def _word(enum: Any, value: int) -> str:
    return str(enum.Name(value)).lower()
