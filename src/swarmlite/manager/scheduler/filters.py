"""Which nodes can take a task: one class a rule, each saying why a node cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from swarmlite.model import constraints, encryption, permissions
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeStatus, Platform

from .nodes import Demand, NodeInfo


class Filter(Protocol):
    """One rule, made for a group of tasks."""

    def check(self, info: NodeInfo) -> str | None:
        """None when the node passes; else why not, in words that take "on 3 nodes" after them."""


class Ready:
    """The node lives and takes new tasks."""

    def check(self, info: NodeInfo) -> str | None:
        """As Filter.check."""
        if info.node.status.state != NodeStatus.READY:
            return "not ready"
        if info.node.spec.availability != NodeSpec.ACTIVE:
            return "not available for new tasks"
        return None


class EnoughResources:
    """What the tasks reserve is left on the node."""

    def __init__(self, demand: Demand) -> None:
        self._demand = demand

    def check(self, info: NodeInfo) -> str | None:
        """As Filter.check."""
        demand = self._demand
        if info.cpus < demand.cpus:
            return "insufficient cpu"
        if info.memory < demand.memory:
            return "insufficient memory"
        for kind, amount in demand.generic.items():
            if info.generic[kind] < amount:
                return f"insufficient {kind}"
        if demand.by_name and (lacking := info.lacks(demand.by_name)):
            return f"no free {lacking[0]} {lacking[1]}"
        return None


class Constraints:
    """The placement constraints hold."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._constraints = constraints.parse(texts)

    def check(self, info: NodeInfo) -> str | None:
        """As Filter.check."""
        for constraint in self._constraints:
            if not constraint.matches(info.node):
                return f"constraint {constraint} not met"
        return None


class Allowed:
    """The node's owner allowed what the tasks need of the host."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = wanted

    def check(self, info: NodeInfo) -> str | None:
        """As Filter.check."""
        missing = permissions.missing(self._wanted, info.node)
        return f"{missing} not allowed" if missing else None


class Encrypts:
    """The node can take part in the tasks' encrypted networks."""

    def __init__(self, networks: Sequence[str], displaced: Mapping[str, str]) -> None:
        """`networks`: their names; `displaced`: nodes whose place inside is another's, and why."""
        self._names, self._displaced = ", ".join(networks), displaced

    def check(self, info: NodeInfo) -> str | None:
        """As Filter.check."""
        reason = encryption.hindrance(info.node) or self._displaced.get(info.node.id)
        return f"cannot encrypt network {self._names}: {reason}" if reason else None


class Platforms:
    """The image exists for the node's platform, when it is known for which it does."""

    def __init__(self, platforms: Sequence[Platform]) -> None:
        self._wanted = [(p.os, constraints.architecture(p.architecture)) for p in platforms]

    def check(self, info: NodeInfo) -> str | None:
        """As Filter.check."""
        platform = info.node.description.platform
        has = platform.os, constraints.architecture(platform.architecture)
        if any(
            (not os or os == has[0]) and (not arch or arch == has[1]) for os, arch in self._wanted
        ):
            return None
        return f"no image for {has[0]}/{has[1]}"


class HostPorts:
    """The ports that are published on the node itself are free."""

    def __init__(self, demand: Demand) -> None:
        self._ports = demand.host_ports

    def check(self, info: NodeInfo) -> str | None:
        """As Filter.check."""
        if not info.host_ports:
            return None
        for protocol, number, address in self._ports:
            for taken, other, where in info.host_ports:
                if (taken, other) != (protocol, number):
                    continue
                if where == address or not where or not address:
                    return f"host port {number} in use"
        return None


class MaxReplicas:
    """No more tasks of the service than its placement allows on one node."""

    def __init__(self, limit: int, service_id: str) -> None:
        self._limit, self._service_id = limit, service_id

    def check(self, info: NodeInfo) -> str | None:
        """As Filter.check."""
        if info.of_service[self._service_id] >= self._limit:
            return f"max replicas per node ({self._limit}) reached"
        return None


class Filters:
    """The rules for one group: those that a placement does not change, and those that it does."""

    def __init__(self, task: Task, demand: Demand, encrypts: Encrypts | None = None) -> None:
        """`encrypts`: where the tasks are on encrypted networks."""
        placement = task.spec.placement
        self.steady: list[Filter] = [Ready()]
        if placement.constraints:
            self.steady.append(Constraints(placement.constraints))
        if needed := permissions.needed(task.spec.container):
            self.steady.append(Allowed(needed))
        if encrypts is not None:
            self.steady.append(encrypts)
        if placement.platforms:
            self.steady.append(Platforms(placement.platforms))
        self.changing: list[Filter] = []
        if demand.cpus or demand.memory or demand.generic:
            self.changing.append(EnoughResources(demand))
        if demand.host_ports:
            self.changing.append(HostPorts(demand))
        if placement.max_replicas:
            self.changing.append(MaxReplicas(placement.max_replicas, task.service_id))

    def check(self, info: NodeInfo) -> str | None:
        """None when the node can take one more task of the group, else why not."""
        for rule in self.steady:
            reason = rule.check(info)
            if reason is not None:
                return reason
        return self.check_again(info)

    def check_again(self, info: NodeInfo) -> str | None:
        """The same for a node that passed before tasks were placed on it."""
        for rule in self.changing:
            reason = rule.check(info)
            if reason is not None:
                return reason
        return None

    def explain(self, infos: Iterable[NodeInfo]) -> str:
        """Why no node can take a task of the group, the commonest reason first."""
        reasons = Counter(reason for reason in map(self.check, infos) if reason is not None)
        parts = [
            f"{reason} on {count} node{'s' if count > 1 else ''}"
            for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ]
        return f"no suitable node ({'; '.join(parts)})" if parts else "no suitable node"
