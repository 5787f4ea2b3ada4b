"""Which place this node has in a swarm, as its node.json says, and the words of those without one.

Raises nothing: a file that cannot be read is a node outside of a swarm.
"""

from __future__ import annotations

import json
from typing import Any

from swarmlite.paths import Paths

_NOT_MANAGER = "This node is not a swarm manager. "


def outside(program: str) -> str:
    """What commands of the cluster are answered outside of a swarm; `program` is the client's."""
    return (
        _NOT_MANAGER + f'Use "{program} swarm init" or "{program} swarm join" to connect this node'
        " to swarm and try again."
    )


LOCKED = (
    "Swarm is encrypted and needs to be unlocked before it can be used. Please use"
    ' "{program} swarm unlock" to unlock it.'
)
WORKER = (
    _NOT_MANAGER + "Worker nodes can't be used to view or modify cluster state. Please run this"
    " command on a manager node or promote the current node to a manager."
)


def is_manager(paths: Paths) -> bool:
    """Whether this node is a manager of a swarm."""
    return bool(_node(paths).get("role") == "manager")


UNLOCKED_BY = "unlock.key"
"""Of RUN_DIR/unlocked, while an autolocked manager is unlocked."""


def is_locked(paths: Paths) -> bool:
    """Whether this node is a manager that somebody has to unlock before it runs."""
    return paths.locked_keys_file.exists() and not (paths.unlocked_dir / UNLOCKED_BY).exists()


def in_swarm(paths: Paths) -> bool:
    """Whether this node is of a swarm."""
    return bool(_node(paths))


def self_node_id(paths: Paths) -> str:
    """This node's id; empty outside of a swarm."""
    return str(_node(paths).get("node_id") or "")


def _node(paths: Paths) -> dict[str, Any]:
    try:
        found = json.loads(paths.node_file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def advertised(paths: Paths) -> str:
    """The IP at which other nodes know this one; empty outside of a swarm."""
    return str(_node(paths).get("advertise_addr") or "").rpartition(":")[0].strip("[]")


def managers(paths: Paths) -> list[str]:
    """The managers' addresses, IP:PORT, as this node knew them when it joined."""
    return [str(address) for address in _node(paths).get("managers") or []]
