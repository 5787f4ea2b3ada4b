"""What a task may have of its host, and where: only on nodes whose owner allowed it.

A node allows by `node update --allow`, or by its own configuration (`swarmlited --node-allow`).
"""

from __future__ import annotations

from collections.abc import Iterable

from swarmlite.model.permission_words import DEVICES, NAMESPACES, PRIVILEGED
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import ContainerSpec

HOST = "host"


def needed(spec: ContainerSpec) -> tuple[str, ...]:
    """What a node must have allowed before a container of this spec runs on it."""
    found = []
    if spec.privileged or "systempaths=unconfined" in spec.security_options:
        found.append(PRIVILEGED)
    if spec.devices:
        found.append(DEVICES)
    if HOST in (spec.pid_mode, spec.ipc_mode, spec.uts_mode):
        found.append(NAMESPACES)
    return tuple(found)


def missing(wanted: Iterable[str], node: Node) -> str:
    """The first of `wanted` that the node does not allow; empty when it allows all."""
    return next(
        (
            word
            for word in wanted
            if word not in node.spec.allowed and word not in node.description.engine.allowed
        ),
        "",
    )
