"""node.json: who this node is in which cluster; absent outside of a swarm. No gRPC here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from swarmlite.errors import FailedPrecondition
from swarmlite.kernel import durable
from swarmlite.paths import Paths
from swarmlite.storage import trees

ALREADY_IN_SWARM = (
    'This node is already part of a swarm. Use "swarmlite swarm leave" to leave this swarm'
    " and join another one."
)
SCRATCH = "joining"
"""Where init and join prepare everything, inside the state directory."""


def read(paths: Paths) -> dict[str, Any] | None:
    """node.json, or None outside of a swarm. Raises FailedPrecondition for one that is broken."""
    try:
        content = json.loads(paths.node_file.read_text())
        if content["role"] not in ("manager", "worker") or not content["node_id"]:
            raise ValueError("role or node_id is missing")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FailedPrecondition(f"cannot read {paths.node_file}: {error}") from error
    return dict(content)


def scratch(paths: Paths) -> Path:
    """An empty folder to prepare in; what an earlier attempt left is removed."""
    folder = paths.state_dir / SCRATCH
    trees.sweep(folder)
    folder.mkdir(mode=0o700, parents=True)
    return folder


def write_private(path: Path, content: bytes) -> None:
    """A file of mode 0600, on disk when this returns."""
    durable.create(path, content)


def put_in_place(paths: Paths, folder: Path, node: dict[str, Any]) -> None:
    """What `folder` holds (certificates, etcd) becomes the node's; node.json last.

    Without node.json the rest is ignored and removed by the next attempt: a crash in between
    leaves the node outside of the swarm.
    """
    for name in ("certificates", "etcd"):
        target = paths.state_dir / name
        trees.sweep(target)
        if (folder / name).exists():
            (folder / name).rename(target)
    write_private(folder / "node.json", json.dumps(node, indent=1).encode() + b"\n")
    durable.replace(folder / "node.json", paths.node_file)
    trees.sweep(folder)


def remove(paths: Paths) -> None:
    """Out of the swarm: node.json first, then what it named."""
    paths.node_file.unlink(missing_ok=True)
    for folder in (paths.certificates_dir, paths.etcd_dir, paths.state_dir / SCRATCH):
        trees.sweep(folder)
    # The tasks' journal stays: the agent stops what it names, and empties it.
    (paths.agent_dir / "managers.json").unlink(missing_ok=True)
