"""Links on the default bridge, which has no names: a linked container is found in /etc/hosts and
in variables of the environment, as it is when the one that links to it starts.

On a network of a user's own a link is another name of the network's DNS, for this container only
(network/resolvers.py). Pure, but for the records that are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from swarmlite.engine.network_plan import exposed_ports, link_of
from swarmlite.engine.records import SHORT, Record
from swarmlite.errors import FailedPrecondition, NotFound
from swarmlite.network.api import BRIDGE
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.types_pb2 import PortConfig

Find = Callable[[str], Record]
_NOT_OURS = ("HOME", "PATH")


@dataclass(frozen=True)
class Link:
    """One other container, running, by the name that it has in this one."""

    alias: str
    other: Record

    @property
    def address(self) -> str:
        """Of the default bridge. Raises FailedPrecondition for one that is not on it."""
        for state in self.other.message.networks:
            if state.network_name == BRIDGE and state.ipv4_address:
                return state.ipv4_address.partition("/")[0]
        raise FailedPrecondition(
            f"cannot link to {self.other.name}: it is not on the default bridge network"
        )

    def hosts(self) -> str:
        """A line of /etc/hosts."""
        names = dict.fromkeys((self.alias, self.other.id[:SHORT], self.other.name))
        return f"{self.address} {' '.join(names)}"

    def environment(self, name: str) -> Iterator[str]:
        """NAME=VALUE, for the container `name`."""
        prefix = re.sub(r"[^A-Z0-9_]", "_", self.alias.upper())
        ports = sorted(exposed_ports(self._exposed()), key=lambda port: (port[1], port[0]))
        for index, (kind, number) in enumerate(ports):
            protocol = PortConfig.Protocol.Name(kind).lower()
            whole = f"{protocol}://{self.address}:{number}"
            one = f"{prefix}_PORT_{number}_{protocol.upper()}"
            if not index:
                yield f"{prefix}_PORT={whole}"
            yield f"{one}={whole}"
            yield from (f"{one}_ADDR={self.address}", f"{one}_PORT={number}")
            yield f"{one}_PROTO={protocol}"
        yield f"{prefix}_NAME=/{name}/{self.alias}"
        for entry in self.other.message.env:
            variable, _, value = entry.partition("=")
            if variable not in _NOT_OURS:
                yield f"{prefix}_ENV_{variable}={value}"

    def _exposed(self) -> list[str]:
        message = self.other.message
        return [*message.exposed_ports, *message.config.exposed_ports]


def of_bridge(record: Record, find: Find) -> list[Link]:
    """Those of a container that is about to start.

    Raises NotFound, and FailedPrecondition for one that does not run.
    """
    texts = [
        text
        for wanted in record.message.wanted_networks
        if wanted.network == BRIDGE
        for text in wanted.links
    ]
    return [_running(record, text, find) for text in texts]


def _running(record: Record, text: str, find: Find) -> Link:
    name, alias = link_of(text)
    try:
        other = find(name)
    except NotFound as error:
        raise NotFound(f"could not get container for {name}: {error}") from error
    if other.state.status != ContainerState.RUNNING:
        raise FailedPrecondition(
            f"Cannot link to a non running container: /{other.name} AS /{record.name}/{alias}"
        )
    return Link(alias, other)


def without(record: Record, alias: str) -> bool:
    """Take a link out of what a container asks for; whether it was there."""
    found = False
    for wanted in (*record.message.wanted_networks, *record.message.config.networks):
        kept = [text for text in wanted.links if link_of(text)[1] != alias]
        found = found or len(kept) < len(wanted.links)
        wanted.links[:] = kept
    return found
