"""What has to be known about sandboxes after this process restarted: a JSON file each.

They lie in the run directory, which does not survive a reboot, as the kernel's objects do not.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from swarmlite.kernel import durable
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
    dns: str = ""
    host_ports: tuple[str, ...] = ()

    @property
    def outer_address(self) -> str:
        """Where its host reaches it, and what it sends from to the world."""
        return self.ingress_addresses[0] if self.ingress_addresses else self.egress_address

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
    for name in ("ingress_addresses", "host_ports"):
        value = data[name]
        data[name] = tuple(value) if isinstance(value, list) else ()
    return SandboxRecord(
        attachments=tuple(AttachmentRecord(**item) for item in attachments),
        **data,  # type: ignore[arg-type]
    )
