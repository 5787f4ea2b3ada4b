"""Prometheus finds the tasks, services and nodes of a cluster through Docker's API."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmlite.testing import Cluster, reserved

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]
ROLES = ("tasks", "services", "nodes")


@pytest.fixture
def prometheus(swarm: Cluster, tmp_path: Path) -> Iterator[str]:
    """Its address; it asks the manager's socket twice a second."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed (Debian: prometheus)")
    host = f"unix://{swarm.manager.paths.docker_socket}"
    jobs = [
        {
            "job_name": role,
            "dockerswarm_sd_configs": [{"host": host, "role": role, "refresh_interval": "500ms"}],
        }
        for role in ROLES
    ]
    (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}))
    address = f"127.0.0.1:{reserved.port()}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={tmp_path}/prometheus.yml",
             f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address={address}"],
            stdout=log, stderr=log,
        )  # fmt: skip
    yield address
    process.terminate()
    process.wait()


def targets(address: str) -> dict[str, list[dict[str, str]]]:
    """What was found, by role."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/api/v1/targets", timeout=5) as answer:
            active: list[dict[str, Any]] = json.load(answer)["data"]["activeTargets"]
    except OSError:
        active = []
    return {
        role: [t["discoveredLabels"] for t in active if t["scrapePool"] == role] for role in ROLES
    }


def test_prometheus_finds_tasks_services_and_nodes(
    swarm: Cluster, busybox: str, prometheus: str
) -> None:
    swarm.manager.cli(
        "service", "create", "-q", "--name", "site", "--replicas", "2", "--label", "team=a",
        "--publish", "8094:80", busybox, "sleep", "1000", timeout_s=90,
    )  # fmt: skip

    def found() -> dict[str, list[dict[str, str]]] | None:
        known = targets(prometheus)
        counts = (len(known["tasks"]), len(known["services"]), len(known["nodes"]))
        return known if counts == (2, 1, len(swarm.hosts)) else None

    known = swarm.wait(found, 60, "Prometheus to find everything")
    meta = "__meta_dockerswarm_"
    assert known is not None
    service = known["services"][0]
    assert service[f"{meta}service_name"] == "site"
    assert service[f"{meta}service_label_team"] == "a"
    assert service[f"{meta}service_endpoint_port_publish_mode"] == "ingress"
    assert {task[f"{meta}task_slot"] for task in known["tasks"]} == {"1", "2"}
    assert {task[f"{meta}task_state"] for task in known["tasks"]} == {"running"}
    assert all(task[f"{meta}network_name"] == "ingress" for task in known["tasks"])
    names = {node[f"{meta}node_hostname"]: node[f"{meta}node_address"] for node in known["nodes"]}
    assert names == {host.name: host.addr for host in swarm.hosts}
