"""A node's figures and health, as Debian's Prometheus reads them of a real cluster."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmlite.testing import Cluster, Host
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

pytestmark = pytest.mark.timeout(600)
SHIPPED = Path(__file__).parents[2] / "deploy" / "monitoring"
ADDR, PROMETHEUS = "127.0.0.1:9323", "127.0.0.1:9090"
WAIT_S = 90


@pytest.fixture(scope="module")
def watched() -> Iterator[Cluster]:
    options = [f"--metrics-addr={ADDR}", "--log-format=json"]
    with Cluster(1, 0, daemon_options=options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def served(watched: Cluster) -> Iterator[Cluster]:
    """With a service of two tasks."""
    assert watched.lan is not None
    with Registry(watched.lan.gateway) as registry:
        registry.push(debian_images.busybox())
        watched.manager.cli(
            "service", "create", "-q", "--name", "web", "--replicas", "2",
            f"{registry.address}/busybox:latest", "sleep", "1000", timeout_s=120,
        )  # fmt: skip
        yield watched


def get(host: Host, path: str, addr: str = ADDR) -> tuple[int, str]:
    """What is answered there, on the host's own loopback: status and body."""
    form = "\n%{http_code}"
    done = host.run(
        "curl", "-s", "--max-time", "20", "-w", form, f"http://{addr}{path}", check=False
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status or 0), body


def expressions() -> dict[str, str]:
    """What the dashboard and the rules ask Prometheus for, by where."""
    dashboard = json.loads((SHIPPED / "dashboard.json").read_text())
    found = {
        f"panel {panel['title']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }
    rules = (SHIPPED / "alerts.yml").read_text()
    return found | {"alerts.yml": "\n".join(re.findall(r"(?<![\w/])swarmlite_\w+", rules))}


def test_every_figure_of_dashboard_and_rules_is_in_a_scrape_of_a_cluster(
    served: Cluster, tmp_path: Path
) -> None:
    """Debian's Prometheus loads the rules, evaluates them, and knows each name that they use."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed (Debian: prometheus)")
    checked = ["promtool", "check", "rules", str(SHIPPED / "alerts.yml")]
    assert subprocess.run(checked, capture_output=True).returncode == 0
    job = {"job_name": "swarmlite", "static_configs": [{"targets": [ADDR]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(SHIPPED / "alerts.yml")],
        "scrape_configs": [job],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    host = served.manager
    command = (
        f"echo $$ >{tmp_path}/pid; exec prometheus --config.file={tmp_path}/prometheus.yml"
        f" --storage.tsdb.path={tmp_path}/data --web.listen-address={PROMETHEUS}"
        f" >{tmp_path}/log 2>&1"
    )
    server = host.popen("sh", "-c", command)
    try:

        def asked(path: str) -> Any:
            status, body = get(host, path, PROMETHEUS)
            return json.loads(body)["data"] if status == 200 else None

        wanted = {
            name for text in expressions().values() for name in re.findall(r"\bswarmlite_\w+", text)
        }
        assert len(wanted) > 25

        def missing() -> set[str]:
            return wanted - set(asked("/api/v1/label/__name__/values") or [])

        served.wait(lambda: not missing(), WAIT_S, "Prometheus to know every figure")

        def rules() -> list[str]:
            groups = (asked("/api/v1/rules") or {}).get("groups", [])
            return [rule["health"] for group in groups for rule in group["rules"]]

        served.wait(lambda: rules() and set(rules()) == {"ok"}, WAIT_S, "the rules to be evaluated")
        query = '/api/v1/query?query=swarmlite_manager_service_tasks_running{service="web"}'
        query = query.replace("{", "%7B").replace("}", "%7D").replace('"', "%22")

        def running() -> str:
            found = (asked(query) or {}).get("result", [])
            return found[0]["value"][1] if found else ""

        served.wait(lambda: running() == "2", WAIT_S, "two running tasks to be counted")
    finally:
        host.run("kill", "-KILL", (tmp_path / "pid").read_text().strip(), check=False)
        server.communicate()


def test_starts_pulls_and_loops_are_counted(served: Cluster) -> None:
    """What happened on this node is in its figures."""
    status, body = get(served.manager, "/metrics")
    assert status == 200
    values = dict(line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
    assert float(values['swarmlite_agent_container_starts_total{outcome="done"}']) == 2
    assert float(values["swarmlite_agent_container_start_seconds_count"]) == 2
    assert float(values['swarmlite_agent_image_pulls_total{outcome="done"}']) == 1
    assert float(values["swarmlite_supervisor_containers"]) == 2
    assert float(values['swarmlite_agent_tasks{state="running"}']) == 2
    assert float(values['swarmlite_manager_tasks{state="running"}']) == 2
    assert float(values['swarmlite_manager_loop_changes_total{loop="orchestrator"}']) >= 2
    assert float(values['swarmlite_manager_etcd_call_seconds_count{call="txn"}']) > 0
    assert float(values['swarmlite_process_resident_bytes{process="supervisor"}']) > 1e6


def test_a_manager_that_hangs_or_has_no_quorum_is_told(watched: Cluster) -> None:
    """Health says which process does not answer, readiness also what an answering one lacks."""
    host = watched.manager

    def says(path: str, status: int, line: str) -> bool:
        found, body = get(host, path)
        return found == status and line in body

    def comes(path: str, status: int, line: str) -> None:
        watched.wait(lambda: says(path, status, line), WAIT_S, f"{path}: {line}")

    comes("/readyz", 200, "manager: ok")
    host.freeze("manager")
    try:
        comes("/healthz", 503, "manager: does not answer")
        comes("/healthz", 503, "supervisor: ok")
        status, body = get(host, "/metrics")
        assert status == 200
        assert 'swarmlite_up{process="manager"} 0.0' in body
    finally:
        host.thaw("manager")
    comes("/readyz", 200, "manager: ok")
    host.freeze("etcd")
    try:
        comes("/readyz", 503, "manager: not ready: the managers have no quorum")
        comes("/healthz", 200, "manager: not ready")
    finally:
        host.thaw("etcd")
    comes("/readyz", 200, "manager: ok")


def test_logs_are_objects_with_the_ids_of_nodes(served: Cluster) -> None:
    """`--log-format json`: every line of every daemon of ours is one, with its node."""
    host = served.manager
    node_id = host.status()["node_id"]
    for name in ("manager", "agent"):
        lines = (host.paths.logs_dir / f"{name}.log").read_text().splitlines()
        objects = [json.loads(line) for line in lines]
        assert {"time", "level", "logger", "message"} <= objects[-1].keys(), name
        assert objects[-1]["node"] == node_id
    began = [
        line for line in lines_of(host, "manager") if line["message"].startswith("session began")
    ]
    assert began
    assert began[0]["node"] == node_id
    assert began[0]["session"]


def lines_of(host: Host, name: str) -> list[dict[str, Any]]:
    """A daemon's log."""
    lines = (host.paths.logs_dir / f"{name}.log").read_text().splitlines()
    return [json.loads(line) for line in lines]
