"""What a task spec names: networks, secrets, configs."""

from __future__ import annotations

from swarmlite.proto.specs_pb2 import TaskSpec

HOST_NETWORK = "host"
BRIDGE_NETWORK = "bridge"
NO_NETWORK = "none"
INGRESS_NETWORK = "ingress"
"""The name under which `swarm init` makes the network of published ports."""

PREDEFINED_NETWORKS = frozenset({HOST_NETWORK, BRIDGE_NETWORK, NO_NETWORK})
"""Networks of each node: an attachment keeps their names, and no object stands for them."""


def network_targets(spec: TaskSpec) -> set[str]:
    """Ids (names, in a spec not resolved yet) of the cluster's networks that it attaches to."""
    return {n.target for n in spec.networks} - PREDEFINED_NETWORKS


def secret_ids(spec: TaskSpec) -> set[str]:
    """Ids of the secrets that its container gets."""
    return {reference.secret_id for reference in spec.container.secrets}


def config_ids(spec: TaskSpec) -> set[str]:
    """Ids of the configs that its container gets."""
    return {reference.config_id for reference in spec.container.configs}
