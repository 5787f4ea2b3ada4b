"""`swarmlite dev up` and `dev down`: a cluster on this machine for a person to use."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from swarmlite.errors import AlreadyExists, FailedPrecondition, NotFound
from swarmlite.storage import trees

from . import cgroup_sweep
from .cluster import Cluster
from .namespaces import kill_machine

ROOT = Path("/var/tmp/swarmlite-dev")
NAME = "dev"


def up(nodes: int = 3, *, managers: int = 1, daemon_options: tuple[str, ...] = ()) -> Cluster:
    """Bring up `nodes` hosts that outlive this process and answer the cluster.

    Raises AlreadyExists when one is up, FailedPrecondition without root.
    """
    import os

    if os.geteuid() != 0:
        raise FailedPrecondition(
            "swarmlite dev makes hosts of namespaces: run it as root, or with sudo"
        )
    if (ROOT / "cluster.json").exists():
        raise AlreadyExists("a development cluster is up already: `swarmlite dev down` ends it")
    ROOT.mkdir(mode=0o700, parents=True, exist_ok=True)
    cluster = Cluster(
        managers,
        nodes - managers,
        name=NAME,
        outlive=True,
        root=ROOT,
        swarm=False,
        daemon_options=daemon_options,
    )
    cluster.up()
    assert cluster.lan is not None
    record = {
        "lan": {
            "pid": cluster.lan.machine.pid,
            "uplink": f"sl-{NAME}",
            "gateway": cluster.lan.gateway,
        },
        "hosts": {h.name: {"pid": h.pid, "addr": h.addr, **h.environment} for h in cluster.hosts},
    }
    # Before the swarm forms: whatever fails from here on, `dev down` finds what to end.
    (ROOT / "cluster.json").write_text(json.dumps(record, indent=2))
    _write_shells(cluster)
    try:
        cluster.form_swarm()
    except BaseException:
        cluster.collect()
        down()
        raise
    return cluster


def _write_shells(cluster: Cluster) -> None:
    """One script a host: NAME COMMAND... runs a command there; without one, a shell."""
    (ROOT / "bin").mkdir(exist_ok=True)
    for host in cluster.hosts:
        variables = " ".join(
            f"{key}={shlex.quote(value)}" for key, value in host.environment.items()
        )
        path = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
        enter = shlex.join(host.machine.enter([]) if host.machine else [])
        script = ROOT / "bin" / host.name
        script.write_text(
            f'#!/bin/sh\n[ $# -gt 0 ] || set -- sh\nexec env {variables} {path} {enter} "$@"\n'
        )
        script.chmod(0o755)


def environment(host: str = "manager1") -> dict[str, str]:
    """The variables that make the CLI of this shell talk to a host. Raises NotFound."""
    try:
        record = json.loads((ROOT / "cluster.json").read_text())
    except FileNotFoundError as error:
        raise NotFound("no development cluster is up: `swarmlite dev up` makes one") from error
    found = record["hosts"][host]
    return {key: found[key] for key in ("SWARMLITE_STATE_DIR", "SWARMLITE_RUN_DIR")}


def down() -> None:
    """End the hosts and remove all that `up` made. Raises NotFound when nothing is up."""
    try:
        record = json.loads((ROOT / "cluster.json").read_text())
    except FileNotFoundError as error:
        raise NotFound("no development cluster is up") from error
    for host in record["hosts"].values():
        kill_machine(host["pid"])
    kill_machine(record["lan"]["pid"])
    subprocess.run(["ip", "link", "del", record["lan"]["uplink"]], capture_output=True)
    cgroup_sweep.remove(f"/swarmlite-{NAME}")
    trees.sweep(ROOT)
