"""The swarm in `GET /info`: this node's place, and on a manager what the cluster is."""

from __future__ import annotations

from typing import Any

from swarmlite.client import membership
from swarmlite.docker import cluster as docker
from swarmlite.errors import SwarmliteError
from swarmlite.gateway.request import Call
from swarmlite.gateway.swarm import ask
from swarmlite.proto.control_pb2 import GetRequest, ListRequest
from swarmlite.proto.host_pb2 import HostInfo

TWO_MANAGERS = (
    "WARNING: Running Swarm in a two-manager configuration. This configuration provides\n"
    "         no fault tolerance, and poses a high risk to lose control over the cluster.\n"
    "         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the\n"
    "         Swarm for fault-tolerance."
)


async def swarm_section(call: Call, host: HostInfo) -> dict[str, Any]:
    """Docker's Swarm object. What managers that do not answer would say stands in its Error."""
    paths = call.settings.paths
    shown: dict[str, Any] = {
        "NodeID": membership.self_node_id(paths),
        "NodeAddr": membership.advertised(paths),
        "LocalNodeState": host.swarm_state or "inactive",
        "ControlAvailable": False,
        "Error": host.error,
        "RemoteManagers": None,
    }
    if not membership.in_swarm(paths):
        return shown
    known = membership.managers(paths)
    shown["RemoteManagers"] = [{"NodeID": "", "Addr": address} for address in known] or None
    if membership.is_manager(paths) and not membership.is_locked(paths):
        try:
            await _of_manager(call, shown)
        except SwarmliteError as error:
            shown["Error"] = str(error)
    return shown


async def _of_manager(call: Call, shown: dict[str, Any]) -> None:
    control = call.backends.control
    cluster = await ask(control.GetCluster, GetRequest(ref="default"))
    nodes = (await ask(control.ListNodes, ListRequest())).nodes
    managers = [node for node in nodes if node.HasField("manager_status")]
    shown["RemoteManagers"] = [
        {"NodeID": node.id, "Addr": node.manager_status.addr} for node in managers
    ]
    shown.update(
        ControlAvailable=True,
        Nodes=len(nodes),
        Managers=len(managers),
        Cluster=docker.cluster(cluster),
    )
    if len(managers) == 2:
        shown["Warnings"] = [TWO_MANAGERS]
