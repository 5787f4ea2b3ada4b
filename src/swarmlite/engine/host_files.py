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


def hosts(extra: Iterable[str], addresses: Sequence[str], hostname: str) -> str:
    """The content of /etc/hosts: loopback, the spec's "IP name [alias...]", then the container."""
    lines = ["\t".join(entry.split(maxsplit=1)) + "\n" for entry in extra if entry.strip()]
    own = [f"{address.partition('/')[0]}\t{hostname}\n" for address in addresses]
    return LOOPBACK + "".join(lines) + "".join(own)


def write(
    folder: Path, *, hosts_content: str, hostname: str, resolv_conf: str
) -> list[dict[str, Any]]:
    """Write the three files below `folder` and return the OCI mounts of them."""
    contents = {"hosts": hosts_content, "hostname": f"{hostname}\n", "resolv.conf": resolv_conf}
    mounts = []
    for name, content in contents.items():
        path = f"{folder}/{name}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, content.encode())
            os.fchmod(fd, 0o644)  # whatever the umask
        finally:
            os.close(fd)
        mounts.append(
            {
                "destination": f"/etc/{name}",
                "type": "bind",
                "source": path,
                "options": ["rbind", "rprivate", "rw"],
            }
        )
    return mounts
