"""What a manager assigned to this node: COMPLETE sets and INCREMENTAL changes, made into one delta.

Pure: `AssignmentSet.receive` changes its own memory and says what differs; `worker` acts on it.
Secrets and configs stay in memory only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from swarmlite.errors import Conflict
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Assignments, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Config, Network, Secret, Task

NETWORK_ITEMS = frozenset({"network", "endpoint", "virtual_service"})


@dataclass
class Delta:
    """What one message (or one COMPLETE set) changes."""

    complete: bool
    tasks: list[Task] = field(default_factory=list)  # new or changed, in the order received
    removed_tasks: list[str] = field(default_factory=list)
    network_changes: list[AssignmentChange] = field(default_factory=list)  # INCREMENTAL only
    networks: dict[str, Network] = field(default_factory=dict)  # COMPLETE only: all there are
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    services: dict[str, VirtualService] = field(default_factory=dict)
    payloads_changed: bool = False
    services_gone: bool = False


class AssignmentSet:
    """The tasks, secrets and configs assigned to this node, and the sequence they stand at."""

    def __init__(self) -> None:
        """Empty: before the first COMPLETE nothing is known."""
        self.task_ids: set[str] = set()
        self.secrets: dict[str, Secret] = {}
        self.configs: dict[str, Config] = {}
        self.service_ids: set[str] = set()
        self._sequence: str | None = None
        self._parts: list[AssignmentChange] = []
        self.unknown: set[str] = set()
        """Tasks that a restored store does not know of: they run on until somebody decides."""

    def restart(self) -> None:
        """A new session: the next message must be a COMPLETE one; what is known stays."""
        self._sequence = None
        self._parts.clear()

    def adopt(self, task_ids: set[str]) -> None:
        """The tasks on disk, so that a COMPLETE without them removes them."""
        self.task_ids |= task_ids

    def receive(self, message: Assignments) -> Delta | None:
        """The delta of `message`; None while more parts of a COMPLETE set are to come.

        Raises Conflict when an INCREMENTAL message applies to another sequence: the caller connects
        again and gets a COMPLETE one.
        """
        if message.type == Assignments.COMPLETE:
            self._parts.extend(message.changes)
            if message.more:
                return None
            changes, self._parts = self._parts, []
            self._sequence = message.results_in
            return self._complete(changes, message.keep_unknown)
        if self._sequence is None or message.applies_to != self._sequence:
            raise Conflict(
                f"assignments apply to {message.applies_to!r}, not to {self._sequence!r}"
            )
        self._sequence = message.results_in
        return self._incremental(message.changes)

    def _complete(self, changes: list[AssignmentChange], keep_unknown: bool = False) -> Delta:
        delta = Delta(complete=True, payloads_changed=True)
        before = self.task_ids
        self.task_ids, self.secrets, self.configs = set(), {}, {}
        for change in changes:
            self._add(delta, change)
        delta.services_gone = bool(self.service_ids - delta.services.keys())
        self.service_ids = set(delta.services)
        unnamed = before - self.task_ids
        self.unknown = unnamed if keep_unknown else set()
        self.task_ids |= self.unknown
        delta.removed_tasks = sorted(unnamed - self.unknown)
        return delta

    def _add(self, delta: Delta, change: AssignmentChange) -> None:
        kind = change.WhichOneof("item")
        if kind == "network":
            delta.networks[change.network.id] = change.network
        elif kind == "endpoint":
            delta.endpoints[change.endpoint.id] = change.endpoint
        elif kind == "virtual_service":
            delta.services[change.virtual_service.id] = change.virtual_service
        else:
            self._update(delta, change)

    def _incremental(self, changes: Iterable[AssignmentChange]) -> Delta:
        delta = Delta(complete=False)
        for change in changes:
            if change.WhichOneof("item") in NETWORK_ITEMS:
                delta.network_changes.append(change)
                self._follow_service(delta, change)
            elif change.action == AssignmentChange.REMOVE:
                self._remove(delta, change)
            else:
                self._update(delta, change)
        return delta

    def _follow_service(self, delta: Delta, change: AssignmentChange) -> None:
        if change.WhichOneof("item") != "virtual_service":
            return
        if change.action == AssignmentChange.REMOVE:
            self.service_ids.discard(change.virtual_service.id)
            delta.services_gone = True
        else:
            self.service_ids.add(change.virtual_service.id)

    def _update(self, delta: Delta, change: AssignmentChange) -> None:
        kind = change.WhichOneof("item")
        if kind == "task":
            self.task_ids.add(change.task.id)
            delta.tasks.append(change.task)
        elif kind == "secret":
            self.secrets[change.secret.id] = change.secret
            delta.payloads_changed = True
        elif kind == "config":
            self.configs[change.config.id] = change.config
            delta.payloads_changed = True

    def _remove(self, delta: Delta, change: AssignmentChange) -> None:
        kind = change.WhichOneof("item")
        if kind == "task":
            self.task_ids.discard(change.task.id)
            delta.removed_tasks.append(change.task.id)
        elif kind == "secret":
            self.secrets.pop(change.secret.id, None)
        elif kind == "config":
            self.configs.pop(change.config.id, None)
