"""What a cluster that outlives its maker is on disk: enough for another process to go on with it.

A process is known by its pid and its start time: after a boot of the machine a pid is someone
else's.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

from .cluster import Cluster
from .host import Host
from .namespaces import Lan, Machine
from .sampler import start_ticks

FILE = "cluster.json"


def write(cluster: Cluster) -> None:
    """Put it beside the hosts' disks, whole or not at all."""
    assert cluster.lan is not None
    record = {
        "name": cluster.name,
        "cgroup_parent": cluster.cgroup_parent,
        "lan": {
            **_process(cluster.lan.machine.pid),
            "subnet": str(cluster.lan.subnet),
            "addresses": cluster.lan.addresses_given,
        },
        "hosts": [_host(host, host in cluster.managers) for host in cluster.hosts],
    }
    scratch = cluster.root / f"{FILE}.new"
    scratch.write_text(json.dumps(record, indent=2))
    scratch.rename(cluster.root / FILE)


def read(root: Path) -> Cluster:
    """The cluster again. Hosts whose processes have ended are off.

    Raises FileNotFoundError where there is none, ProcessLookupError where its LAN has ended, as
    after a boot of the machine.
    """
    record = json.loads((root / FILE).read_text())
    lan = record["lan"]
    if not _lives(lan):
        raise ProcessLookupError(lan["pid"])
    cluster = Cluster(0, 0, name=record["name"], swarm=False, outlive=True, root=root)
    cluster.root = root
    subnet = ipaddress.IPv4Network(lan["subnet"])
    machine = Machine.adopt(f"{record['name']}-lan", lan["pid"])
    cluster.lan = Lan.adopt(record["name"], machine, subnet, lan["addresses"])
    for entry in record["hosts"]:
        host = Host(
            entry["name"],
            cluster.lan,
            root,
            cluster.cgroup_parent,
            daemon_options=entry["daemon_options"],
            outlive=True,
            addr=entry["addr"],
            boots=entry["boots"],
        )
        if _lives(entry):
            host.machine = Machine.adopt(host.name, entry["pid"])
        (cluster.managers if entry["manager"] else cluster.workers).append(host)
    return cluster


def _host(host: Host, manager: bool) -> dict[str, Any]:
    return {
        "name": host.name,
        "manager": manager,
        "addr": host.addr,
        "boots": host.boots,
        "daemon_options": host.daemon_options,
        **(_process(host.pid) if host.machine is not None else {"pid": 0, "start_ticks": 0}),
    }


def _process(pid: int) -> dict[str, int]:
    return {"pid": pid, "start_ticks": start_ticks(pid)}


def _lives(entry: dict[str, Any]) -> bool:
    try:
        return bool(entry["pid"]) and start_ticks(entry["pid"]) == entry["start_ticks"]
    except OSError:
        return False
