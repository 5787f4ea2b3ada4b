"""What the agent is given at its start: its directories, and node.json of a node in a swarm."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.paths import Paths

DEFAULT_VXLAN_PORT = 4789


@dataclass(frozen=True)
class NodeConfig:
    """The part of node.json that the agent reads."""

    node_id: str
    cluster_id: str
    manager: bool
    data_path_addr: str
    vxlan_port: int
    managers: tuple[str, ...]


@dataclass(frozen=True)
class AgentConfig:
    """Frozen at the start; the daemon starts the agent again when node.json changes."""

    paths: Paths
    cgroup_parent: str
    node: NodeConfig | None


def parse_arguments(arguments: list[str] | None = None) -> AgentConfig:
    """From the command line. Raises FailedPrecondition for a node.json that cannot be read."""
    parser = argparse.ArgumentParser(prog="swarmlite-agent", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--cgroup-parent", default="/swarmlite")
    options = parser.parse_args(arguments)
    paths = Paths(options.state_dir.absolute(), options.run_dir.absolute())
    return AgentConfig(paths, options.cgroup_parent, read_node(paths.node_file))


def read_node(path: Path) -> NodeConfig | None:
    """The node's identity; None outside of a swarm."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f"cannot read {path}: {error}") from error
    try:
        own = str(content.get("advertise_addr") or "")
        return NodeConfig(
            node_id=str(content["node_id"]),
            cluster_id=str(content.get("cluster_id") or ""),
            manager=content.get("role") == "manager",
            data_path_addr=str(content.get("data_path_addr") or own.rpartition(":")[0]),
            vxlan_port=int(content.get("data_path_port") or DEFAULT_VXLAN_PORT),
            managers=tuple(dict.fromkeys(str(entry) for entry in content.get("managers") or [own])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FailedPrecondition(f"{path} is not whole: {error!r}") from error
