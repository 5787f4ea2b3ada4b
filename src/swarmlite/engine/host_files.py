"""A container's /etc/hosts, /etc/hostname and /etc/resolv.conf."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

LOOPBACK = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


NAMES = ("hosts", "hostname", "resolv.conf")


def hosts(
    extra: Iterable[str],
    addresses: Sequence[str],
    hostname: str,
    *,
    domain: str = "",
    base: str = LOOPBACK,
) -> str:
    """The content of /etc/hosts: `base`, the spec's "IP name [alias...]", then the container."""
    lines = ["\t".join(entry.split(maxsplit=1)) + "\n" for entry in extra if entry.strip()]
    name = f"{hostname}.{domain} {hostname}" if domain else hostname
    own = [f"{address.partition('/')[0]}\t{name}\n" for address in addresses]
    return base + "".join(lines) + "".join(own)


def write(
    folder: Path, *, hosts_content: str, hostname: str, resolv_conf: str
) -> tuple[str, list[dict[str, Any]]]:
    """Write the three files below `folder` and return it and their OCI mounts. Raises OSError."""
    for name, content in zip(NAMES, (hosts_content, f"{hostname}\n", resolv_conf), strict=True):
        path = f"{folder}/{name}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, content.encode())
            os.fchmod(fd, 0o644)  # whatever the umask
        finally:
            os.close(fd)
    return str(folder), mounts(folder)


def mounts(folder: Path | str) -> list[dict[str, Any]]:
    """The OCI mounts of the three files of `folder`."""
    return [
        {
            "destination": f"/etc/{name}",
            "type": "bind",
            "source": f"{folder}/{name}",
            "options": ["rbind", "rprivate", "rw"],
        }
        for name in NAMES
    ]
