"""What the keys of a service need to know beside themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack.tree import Node

if TYPE_CHECKING:
    from swarmlite.stack.service.build import Build

NAMESPACE_LABEL = "com.docker.stack.namespace"
IMAGE_LABEL = "com.docker.stack.image"
DEFAULT_NETWORK = "default"


@dataclass(frozen=True)
class Definition:
    """One entry of networks, volumes, secrets or configs at the top of a file."""

    node: Node
    name: str
    """Its name in the swarm: NAMESPACE_KEY, or the one that it says."""
    external: bool


@dataclass(frozen=True)
class Link:
    """One service knows another one by a name of its own."""

    service: str
    target: str
    alias: str
    node: Node


@dataclass
class World:
    """One stack while it is read."""

    namespace: str
    folder: Path
    environment: Mapping[str, str]
    networks: Mapping[str, Definition] = field(default_factory=dict)
    volumes: Mapping[str, Definition] = field(default_factory=dict)
    secrets: Mapping[str, Definition] = field(default_factory=dict)
    configs: Mapping[str, Definition] = field(default_factory=dict)
    used_networks: set[str] = field(default_factory=set)
    ignored: dict[str, Node] = field(default_factory=dict)
    """Keys that change nothing, each with the first place where it stands."""
    links: list[Link] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    service_keys: frozenset[str] = frozenset()
    builds: dict[str, Build] = field(default_factory=dict)

    def ignore(self, key: str, node: Node) -> None:
        """Say at the end that `key` changes nothing."""
        self.ignored.setdefault(key, node)

    def scoped(self, key: str) -> str:
        """The name in the swarm of what the file calls `key`."""
        return f"{self.namespace}_{key}"

    def path(self, text: str) -> Path:
        """A path of the file: relative ones begin beside the first compose file."""
        return self.folder / Path(text).expanduser()

    def bind_source(self, text: str) -> str:
        """A bind's source, absolute but as it is written: each host follows its own links."""
        return os.path.normpath(self.path(text))


@dataclass
class Draft:
    """One service while it is read."""

    key: str
    spec: ServiceSpec
    world: World
    node: Node
