"""The command line of this node's etcd member: mTLS only, on swarmlite's own ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CLIENT_PORT = 2381
PEER_PORT = 2382
QUOTA_BYTES = 4 * 1024**3
_AWAITED = "awaited"
"""In a member's directory from the join until it has data of its own."""


def await_first_start(data_dir: Path) -> None:
    """Prepare the directory of a member that the others have just added. Raises OSError."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    (data_dir / _AWAITED).touch()


def has_data(data_dir: Path) -> bool:
    """Whether the member has begun; from then on it must not begin again. Raises OSError."""
    # Its log is what etcd itself goes by: without one it begins, whatever else is there.
    begun = any((data_dir / "member" / "wal").glob("*.wal"))
    if begun:
        (data_dir / _AWAITED).unlink(missing_ok=True)
    return begun


def check_data(data_dir: Path) -> None:
    """Raise FileNotFoundError for a member whose data are gone.

    etcd itself would begin again, with nothing: the first manager's member as a cluster of its own
    that is empty, another one as a voter that has forgotten what it acknowledged.
    Source: etcd's operations guide, "runtime reconfiguration": a member that lost its data is to be
    removed, and added as another one.
    """
    if not has_data(data_dir) and not (data_dir / _AWAITED).exists():
        raise FileNotFoundError(
            f"the store's data in {data_dir} are gone. Where other managers have them: swarmlite"
            " swarm leave --force on this node, and join again; else restore a backup"
        )


def command(
    binary: str,
    member: Mapping[str, Any],
    data_dir: Path,
    certificates_dir: Path,
    extra: Sequence[str] = (),
    quota_bytes: int = QUOTA_BYTES,
) -> list[str]:
    """etcd's arguments for `member`, node.json's "etcd"."""
    own = str(certificates_dir / "node.crt")
    key = str(certificates_dir / "node.key")
    ca = str(certificates_dir / "ca.crt")
    return [
        binary,
        "--name", member["name"],
        "--data-dir", str(data_dir),
        "--listen-client-urls", member["client_url"],
        "--advertise-client-urls", member["client_url"],
        "--listen-peer-urls", member["peer_url"],
        "--initial-advertise-peer-urls", member["peer_url"],
        "--initial-cluster", member["initial_cluster"],
        "--initial-cluster-state", member["initial_cluster_state"],
        "--initial-cluster-token", "swarmlite",
        "--cert-file", own, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth",
        "--peer-cert-file", own, "--peer-key-file", key, "--peer-trusted-ca-file", ca,
        "--peer-client-cert-auth",
        # Workers' certificates are of the same root: only a manager's may enter.
        "--client-cert-allowed-hostname", "swarm-manager",
        "--peer-cert-allowed-hostname", "swarm-manager",
        # The name above is what counts; a peer may come from any address of its host.
        "--experimental-peer-skip-client-san-verification",
        "--heartbeat-interval", "50", "--election-timeout", "500", "--pre-vote",
        "--quota-backend-bytes", str(quota_bytes),
        "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "5m",
        # Its HTTP front would dial etcd itself, as no manager; nobody here speaks to it.
        "--enable-grpc-gateway=false",
        "--logger", "zap", "--log-level", "warn",
        *extra,
    ]  # fmt: skip


def client_endpoint(member: Mapping[str, Any]) -> str:
    """ "HOST:PORT" of the member's client side."""
    return str(member["client_url"]).removeprefix("https://")
