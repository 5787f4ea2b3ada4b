"""What the agent is given at its start: its directories, and node.json of a node in a swarm."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from swarmlite.identity.files import Identity
from swarmlite.identity.node import NodeIdentity
from swarmlite.paths import Paths


@dataclass(frozen=True)
class AgentConfig:
    """Frozen at the start; the daemon starts the agent again when node.json changes."""

    paths: Paths
    cgroup_parent: str
    node: NodeIdentity | None


def parse_arguments(arguments: list[str] | None = None) -> AgentConfig:
    """From the command line. Raises FailedPrecondition for a node.json that cannot be read."""
    parser = argparse.ArgumentParser(prog="swarmlite-agent", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--cgroup-parent", default="/swarmlite")
    options = parser.parse_args(arguments)
    paths = Paths(options.state_dir.absolute(), options.run_dir.absolute())
    return AgentConfig(paths, options.cgroup_parent, Identity(paths).read())
