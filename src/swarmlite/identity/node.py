"""node.json: who this node is in which cluster; absent outside of a swarm."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmlite.errors import FailedPrecondition

MANAGER, WORKER = "manager", "worker"
DEFAULT_VXLAN_PORT = 4789


@dataclass(frozen=True)
class NodeIdentity:
    """What node.json says; whoever starts reads it once, and is started again when it changes."""

    node_id: str
    cluster_id: str
    role: str
    hostname: str
    advertise_addr: str
    listen_addr: str
    data_path_addr: str
    data_path_port: int
    managers: tuple[str, ...]
    """HOST:PORT of those that were known at the join."""
    etcd: Mapping[str, str] | None
    """Of a manager that runs a member of its own: name, client_url, peer_url, initial_cluster,
    initial_cluster_state."""
    etcd_endpoints: tuple[str, ...]
    promoted: bool = False
    """Of a worker that the cluster wants as a manager: the daemon makes one of it."""
    hindrance: str = ""
    """Why that does not work so far."""
    external_etcd: Mapping[str, str] | None = None
    """Of a manager whose store is an etcd that is not the managers' own: the prefix of its keys
    there, and the server_name that its members' certificates bear, empty without TLS."""

    @property
    def manager(self) -> bool:
        """Whether this node is a manager."""
        return self.role == MANAGER

    def encoded(self) -> bytes:
        """The file's content."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode() + b"\n"


def read(path: Path) -> NodeIdentity | None:
    """node.json, or None outside of a swarm. Raises FailedPrecondition for one that is broken."""
    try:
        return parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FailedPrecondition(f"cannot read {path}: {what}") from error


def parse(content: Mapping[str, Any]) -> NodeIdentity:
    """Raises ValueError, KeyError, TypeError, AttributeError for what is no node.json."""
    node_id, role = str(content["node_id"]), content["role"]
    if role not in (MANAGER, WORKER) or not node_id:
        raise ValueError("role or node_id is missing")
    own = str(content.get("advertise_addr") or "")
    etcd, external = content.get("etcd"), content.get("external_etcd")
    if role == MANAGER:
        content["listen_addr"], content["etcd_endpoints"]  # it starts nothing without
    return NodeIdentity(
        node_id=node_id,
        cluster_id=str(content.get("cluster_id") or ""),
        role=role,
        hostname=str(content.get("hostname") or ""),
        advertise_addr=own,
        listen_addr=str(content.get("listen_addr") or ""),
        data_path_addr=str(content.get("data_path_addr") or own.rpartition(":")[0].strip("[]")),
        data_path_port=int(content.get("data_path_port") or DEFAULT_VXLAN_PORT),
        managers=tuple(dict.fromkeys(str(each) for each in content.get("managers") or [own])),
        etcd={str(key): str(value) for key, value in etcd.items()} if etcd else None,
        etcd_endpoints=tuple(str(each) for each in content.get("etcd_endpoints") or ()),
        promoted=content.get("promoted") is True,
        hindrance=str(content.get("hindrance") or ""),
        external_etcd={key: str(external[key]) for key in ("prefix", "server_name")}
        if external
        else None,
    )
