"""What the agent is given at its start: its directories, and node.json of a node in a swarm."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite import logs
from swarmlite.identity.files import Identity
from swarmlite.identity.node import NodeIdentity
from swarmlite.model import generic_resources, permission_words, resource_words
from swarmlite.paths import Paths
from swarmlite.proto.types_pb2 import GenericResource


@dataclass(frozen=True)
class AgentConfig:
    """Frozen at the start; the daemon starts the agent again when node.json changes."""

    paths: Paths
    cgroup_parent: str
    node: NodeIdentity | None
    generic_resources: Sequence[GenericResource] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    allowed: Sequence[str] = ()


def parse_arguments(arguments: list[str] | None = None) -> AgentConfig:
    """From the command line. Raises FailedPrecondition for a node.json that cannot be read,
    InvalidSpec for a resource.
    """
    parser = argparse.ArgumentParser(prog="swarmlite-agent", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--cgroup-parent", default="/swarmlite")
    parser.add_argument("--generic-resource", action="append", default=[])
    parser.add_argument("--label", action="append", default=[])
    parser.add_argument("--allow", default="")
    options = parser.parse_args(arguments)
    generic = generic_resources.parse(options.generic_resource)
    labels = resource_words.labels(options.label)
    allowed = permission_words.parse(options.allow)
    paths = Paths(options.state_dir.absolute(), options.run_dir.absolute())
    node = Identity(paths).read()
    logs.node_id = node.node_id if node is not None else ""
    return AgentConfig(paths, options.cgroup_parent, node, generic, labels, allowed)
