"""`x-swarmlite` of a service: what compose's own keys cannot say, by the names of the flags.

Docker's commands pass over keys that begin with x-, so a file that has them is good for both.
"""

from __future__ import annotations

from collections.abc import Callable

from swarmlite.model.defaults import MAX_BACKOFF
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import Placement, UpdateConfig
from swarmlite.stack import read
from swarmlite.stack.read import Handler
from swarmlite.stack.tree import Node
from swarmlite.stack.world import Draft

KEY = "x-swarmlite"
_MOST = 2**32 - 1


def section(node: Node, draft: Draft) -> None:
    """Everything below `x-swarmlite`. Raises InvalidSpec, of unknown keys too."""
    read.fields(node, KEYS, draft.spec)


def _update(spec: ServiceSpec) -> UpdateConfig:
    """The update's policy; one that the file does not name begins with a parallelism of 1."""
    if not spec.HasField("update"):
        spec.update.parallelism = 1
    return spec.update


def _canary(node: Node, spec: ServiceSpec) -> None:
    _update(spec).canary = read.integer(node, most=_MOST)


def _promote(node: Node, spec: ServiceSpec) -> None:
    _update(spec).canary_by_hand = read.word(node, {"auto": False, "manual": True})


def _deadline(node: Node, spec: ServiceSpec) -> None:
    _update(spec).progress_deadline.CopyFrom(read.duration(node))


def _autoscale(field: str) -> Callable[[Node, ServiceSpec], None]:
    def handle(node: Node, spec: ServiceSpec) -> None:
        spec.autoscale.min = spec.autoscale.min or 1
        setattr(spec.autoscale, field, read.integer(node, 1, _MOST))

    return handle


def _backoff(node: Node, spec: ServiceSpec) -> None:
    spec.task.restart.backoff = read.number(node, 1, MAX_BACKOFF)


def _max_delay(node: Node, spec: ServiceSpec) -> None:
    spec.task.restart.max_delay.CopyFrom(read.duration(node))


def _rebalance(node: Node, spec: ServiceSpec) -> None:
    spec.rebalance_on_join = read.word(node, {"never": False, "on-join": True})


def _strategy(node: Node, spec: ServiceSpec) -> None:
    words = {"spread": Placement.SPREAD, "binpack": Placement.BINPACK}
    spec.task.placement.strategy = read.word(node, words)


KEYS: dict[str, Handler[ServiceSpec]] = {
    "update-canary": _canary,
    "update-canary-promote": _promote,
    "update-progress-deadline": _deadline,
    "replicas-min": _autoscale("min"),
    "replicas-max": _autoscale("max"),
    "scale-cpu": _autoscale("cpu_percent"),
    "scale-memory": _autoscale("memory_percent"),
    "restart-backoff": _backoff,
    "restart-max-delay": _max_delay,
    "rebalance": _rebalance,
    "strategy": _strategy,
}
