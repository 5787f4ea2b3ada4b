"""`NodeNetwork`: everything of one host's wiring behind one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from swarmlite.paths import Paths
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import DNSConfig, NetworkAttachment, PortConfig


class FdStore(Protocol):
    """Holds descriptors while this process restarts; `runtime.client.Supervisor` is one."""

    async def keep_fds(self, name: str, fds: Sequence[int]) -> None:
        """Hold duplicates of `fds` under `name`, replacing what was there."""

    async def kept_fds(self, name: str) -> list[int]:
        """Duplicates of what is held, the caller's to close; empty when nothing is."""

    async def drop_fds(self, name: str) -> None:
        """Close what is held; nothing held is no error."""


@dataclass(frozen=True)
class Sandbox:
    """A container's network stack, ready to be entered."""

    netns: Path
    """For the OCI spec's network namespace; of a sandbox on driver `host` the host's own."""
    resolv_conf: str
    """The content of /etc/resolv.conf."""
    hosts: list[tuple[str, str]] = field(default_factory=list)
    """(address, network's name) in the order of the attachments."""
    host_ports: list[PortConfig] = field(default_factory=list)
    """As asked, every published_port set."""


class NodeNetwork:
    """One host's wiring. All methods are for one event loop; see the room's docstring."""

    def __init__(
        self,
        paths: Paths,
        *,
        node_id: str,
        data_path_addr: str,
        vxlan_port: int,
        fds: FdStore,
        host_netns: Path | None = None,
        control_ports: Sequence[int] = (2377, 2381, 2382),
    ) -> None:
        """`host_netns`: the host's network namespace, this process's own when None."""
        self._paths = paths

    async def start(self) -> None:
        """Probe, and take up what the run directory and the fd store hold."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop serving DNS; containers' wiring and their DNS sockets stay as they are."""
        raise NotImplementedError

    async def update(
        self,
        *,
        networks: Mapping[str, Network],
        endpoints: Mapping[str, Endpoint],
        services: Mapping[str, VirtualService],
    ) -> None:
        """Replace all that the node was assigned."""
        raise NotImplementedError

    async def apply(self, changes: Sequence[AssignmentChange]) -> None:
        """Take network, endpoint and virtual_service items, in order; others are ignored."""
        raise NotImplementedError

    async def create_sandbox(
        self,
        sandbox_id: str,
        *,
        attachments: Sequence[NetworkAttachment],
        dns: DNSConfig,
        host_ports: Sequence[PortConfig] = (),
    ) -> Sandbox:
        """Make a sandbox."""
        raise NotImplementedError

    async def delete_sandbox(self, sandbox_id: str) -> None:
        """Let a sandbox go; safe to repeat."""
        raise NotImplementedError

    def sandboxes(self) -> list[str]:
        """The ids of what exists."""
        raise NotImplementedError

    async def reconcile(self) -> None:
        """Repair what someone deleted by hand."""
        raise NotImplementedError

    async def teardown(self) -> None:
        """Leave nothing of ours in the kernel or the run directory."""
        raise NotImplementedError
