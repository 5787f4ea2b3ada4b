"""How fast a member's disk takes its writes, by the member's own count (its /metrics)."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

TIMEOUT_S = 5.0
SLOW_S = 0.064
"""A bucket of etcd's: with more than one sync in ten above it a member may lose its leader, whose
heart beats every 50 ms.
"""
_BUCKET = re.compile(r'^etcd_disk_wal_fsync_duration_seconds_bucket\{le="([^"]+)"\} (\S+)', re.M)


def counted(metrics: str) -> dict[float, float]:
    """How many of its syncs took no longer than so many seconds."""
    return {float(bound): float(count) for bound, count in _BUCKET.findall(metrics)}


def nine_of_ten(before: Mapping[float, float], now: Mapping[float, float]) -> float:
    """In how many seconds nine of ten syncs since `before` were done; 0.0 without any."""
    since = {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
    total = max(since.values(), default=0.0)
    if total <= 0:
        return 0.0
    done = sorted(bound for bound, count in since.items() if count >= 0.9 * total)
    finite = [bound for bound in since if bound != float("inf")]
    return min(done[0], 2 * max(finite)) if done and finite else 0.0


def read(endpoint: str, certificates_dir: Path, server_name: str) -> str:
    """The member's metrics. Blocks. Raises OSError."""
    context = ssl.create_default_context(cafile=str(certificates_dir / "ca.crt"))
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.load_cert_chain(certificates_dir / "node.crt", certificates_dir / "node.key")
    host, _, port = endpoint.rpartition(":")
    with (
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as secured,
    ):
        secured.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        parts = []
        while part := secured.recv(65536):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")
