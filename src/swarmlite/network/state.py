"""What has to be known about sandboxes after this process restarted: a JSON file each.

They lie in the run directory, which does not survive a reboot, as the kernel's objects do not.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from swarmlite.kernel import durable
from swarmlite.network.drivers.api import Plug
from swarmlite.network.netlink import mac_bytes
from swarmlite.proto.types_pb2 import DNSConfig, PortConfig


@dataclass(frozen=True)
class AttachmentRecord:
    """A sandbox's place on one network; `port` names the bridge's end of its veth, if any."""

    network_id: str
    network_name: str
    address: str
    prefix: int
    mac: str
    port: str
    interface: str
    local: bool = False
    """On one of this host's own networks."""
    internal: bool = False
    gateway: str = ""
    """Its way out; empty without one."""
    device_route: bool = False
    """Its way out is the interface itself."""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    aliases: tuple[str, ...] = ()
    published: bool = False
    """Published ports may lead to it."""
    link_local: tuple[str, ...] = ()

    def plug(self) -> Plug:
        """As its driver sees it."""
        return Plug(
            self.port,
            self.interface,
            self.address,
            self.prefix,
            mac_bytes(self.mac),
            self.address6,
            self.prefix6,
        )


@dataclass(frozen=True)
class SandboxRecord:
    """All that it takes to adopt a sandbox."""

    id: str
    attachments: tuple[AttachmentRecord, ...] = ()
    egress_port: str = ""
    egress_address: str = ""
    ingress_addresses: tuple[str, ...] = ()
    internal: bool = False
    host: bool = False
    """On driver `host`: no namespace of its own."""
    join: str = ""
    """The sandbox whose namespace it shares."""
    mode: str = ""
    """As it was asked for; empty with a stack of its own."""
    dns: str = ""
    host_ports: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """What it is found by on user-defined networks of this host."""

    @property
    def outer_address(self) -> str:
        """What it sends from to the world by its way out."""
        return self.ingress_addresses[0] if self.ingress_addresses else self.egress_address

    @property
    def outer_addresses(self) -> list[str]:
        """Where published ports lead: its place on a network of this host, else its way out."""
        for place in self.attachments:
            if place.published:
                return [place.address, *([place.address6] if place.address6 else [])]
        return [self.outer_address] if self.outer_address else []

    def networks(self) -> tuple[str, ...]:
        """Ids of the networks that it is on."""
        return tuple(place.network_id for place in self.attachments)

    def dns_config(self) -> DNSConfig:
        """What was asked for its resolver."""
        return DNSConfig.FromString(base64.b64decode(self.dns))

    def ports(self) -> list[PortConfig]:
        """Its published host ports."""
        return [PortConfig.FromString(base64.b64decode(port)) for port in self.host_ports]


def encode(message: DNSConfig | PortConfig) -> str:
    """A message as a record holds it."""
    return base64.b64encode(message.SerializeToString()).decode()


class Records:
    """The files of all sandboxes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, record: SandboxRecord) -> None:
        """Write one, whole or not at all. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(record.id)
        # The directory does not survive a reboot: nothing has to reach a disk.
        durable.write(path, json.dumps(asdict(record)).encode(), sync=False)

    def remove(self, sandbox_id: str) -> None:
        """Forget one; safe to repeat."""
        self._path(sandbox_id).unlink(missing_ok=True)

    def load(self) -> list[SandboxRecord]:
        """All that are whole; what is not is removed."""
        found = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(_parse(json.loads(path.read_text())))
            except (ValueError, TypeError, KeyError):
                path.unlink()
        return found

    def clear(self) -> None:
        """Remove the directory and what is in it."""
        if self._directory.exists():
            for path in self._directory.iterdir():
                path.unlink()
            self._directory.rmdir()

    def _path(self, sandbox_id: str) -> Path:
        return self._directory / f"{sandbox_id}.json"


def _parse(data: dict[str, object]) -> SandboxRecord:
    attachments = data.pop("attachments")
    if not isinstance(attachments, list):
        raise TypeError("attachments")
    for name in ("ingress_addresses", "host_ports", "names"):
        value = data.get(name)
        data[name] = tuple(value) if isinstance(value, list) else ()
    for item in attachments:
        for name in ("aliases", "link_local"):
            item[name] = tuple(item.get(name, ()))
    return SandboxRecord(
        attachments=tuple(AttachmentRecord(**item) for item in attachments),
        **data,  # type: ignore[arg-type]
    )
