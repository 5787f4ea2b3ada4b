"""More of compose-examples/: each deployed as its README says, and asked for what it shows."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path

import pytest
from swarm_world import EXAMPLES, Deploy

from swarmlite.testing import Cluster, Host
from swarmlite.testing.registry import make_certificates

pytestmark = pytest.mark.timeout(300)
LATER = ("--detach=true",)
NEAR = 120


def test_the_shop_s_pages_wait_for_the_migration(deploy: Deploy) -> None:
    cluster = deploy("shop", *LATER)
    page = cluster.wait(lambda: cluster.workers[0].get(8081), NEAR, "the products")
    assert page == "kettle 39.00\nteapot 24.50\n"
    said = cluster.manager.cli("service", "logs", "--raw", "shop_migrate").splitlines()
    assert said.count("applied 001-products.sql") == 1
    assert "the database is up to date" in said


def test_the_queue_s_workers_are_as_many_as_are_wanted(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least number of the file is kept to by the autoscaler; each of them works."""
    monkeypatch.setenv("WORKERS", "3")
    cluster = deploy("queue", *LATER)
    host = cluster.workers[0]
    cluster.wait(lambda: "waiting" in host.get(8082), NEAR, "the queue")
    cluster.wait_running("queue_worker", 3, NEAR)
    ask = urllib.request.Request(f"http://{host.addr}:8082/?jobs=60", data=b"")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def all_worked() -> bool:
        with opener.open(ask, timeout=10):
            pass
        return "by 3 workers" in host.get(8082)

    cluster.wait(all_worked, NEAR, "three workers to work", every_s=0.5)


def test_etcd_s_members_find_each_other_by_host_name(deploy: Deploy) -> None:
    cluster = deploy("etcd", *LATER)
    for number in (1, 2, 3):
        cluster.wait_running(f"etcd_etcd{number}", 1, NEAR)

    def etcdctl(member: int, *words: str) -> str:
        return cluster.manager.cli("exec", f"etcd_etcd{member}.1", "etcdctl", *words)

    cluster.wait(lambda: etcdctl(1, "put", "greeting", "hello") == "OK\n", NEAR, "a quorum")
    for number in (2, 3):
        assert etcdctl(number, "get", "greeting") == "greeting\nhello\n"
    members = json.loads(etcdctl(2, "member", "list", "-w", "json"))["members"]
    assert sorted(url for member in members for url in member["peerURLs"]) == [
        f"http://etcd{number}:2380" for number in (1, 2, 3)
    ]


def test_redis_replicas_have_what_the_primary_was_told(deploy: Deploy) -> None:
    cluster = deploy("redis-replicas", *LATER)
    cluster.wait_running("redis-replicas_replica", 2, NEAR)

    def redis(task: str, *words: str) -> str:
        task = f"redis-replicas_{task}"
        return cluster.manager.cli("exec", task, "redis-cli", *words).strip()

    assert redis("primary.1", "set", "color", "blue") == "OK"
    cluster.wait(lambda: redis("primary.1", "wait", "2", "5000") == "2", NEAR, "both to have it")
    for replica in ("replica.1", "replica.2"):
        assert redis(replica, "get", "color") == "blue"
    assert redis("primary.1", "-h", "replica", "get", "color") == "blue"
    assert "READONLY" in redis("replica.1", "set", "color", "red")


def test_the_proxy_speaks_tls_for_the_web_servers_behind_it(
    deploy: Deploy, swarm: Cluster, tmp_path: Path
) -> None:
    trusted = certificate(tmp_path)
    swarm.manager.cli("secret", "create", "site.pem", str(tmp_path / "site.pem"))
    cluster = deploy("tls-proxy", *LATER)

    def page(host: Host) -> str:
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
        opener = urllib.request.build_opener(*handlers)
        # Port 80 sends it to 443.
        with opener.open(f"http://{host.addr}/", timeout=10) as answer:
            assert answer.url.startswith("https://")
            return str(answer.read().decode())

    servers: dict[str, set[str]] = {host.name: set() for host in cluster.hosts}

    def both(host: Host) -> bool:
        servers[host.name].add(page(host))
        return len(servers[host.name]) == 2

    for host in cluster.hosts:
        cluster.wait(lambda h=host: both(h), NEAR, host.name)  # type: ignore[misc]
        assert all(text.startswith("Hello from ") for text in servers[host.name])


def certificate(folder: Path) -> ssl.SSLContext:
    """site.pem in the folder, a certificate and its key; who trusts its CA."""
    ca, shown, key = (folder / name for name in ("ca.crt", "site.crt", "site.key"))
    make_certificates("site.example", ca, shown, key)
    (folder / "site.pem").write_text(shown.read_text() + key.read_text())
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False  # it is asked by the hosts' addresses
    return context


def test_prometheus_finds_every_task_by_dns(deploy: Deploy) -> None:
    cluster = deploy("prometheus", *LATER)

    def up() -> set[str]:
        text = cluster.manager.get(9090, "/api/v1/targets")
        active = json.loads(text)["data"]["activeTargets"]
        return {each["labels"]["instance"] for each in active if each["health"] == "up"}

    cluster.wait(lambda: len(up()) == 2, NEAR, "two targets", every_s=0.5)
    cluster.manager.cli("service", "scale", "-d", "prometheus_web=3")
    cluster.wait(lambda: len(up()) == 3, NEAR, "a third target", every_s=0.5)


def test_each_node_s_exporter_tells_of_its_node(deploy: Deploy) -> None:
    """It reads the node's own files through its binds."""
    cluster = deploy("monitoring", *LATER)
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    for host in cluster.hosts:
        text = cluster.wait(lambda h=host: h.get(9100, "/metrics"), NEAR, host.name)  # type: ignore[misc]
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        assert float(values["node_memory_MemTotal_bytes"]) == total
        assert any(key.startswith("node_filesystem_size_bytes") for key in values)


def test_a_page_of_the_static_site_that_is_changed_is_deployed_again(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = deploy("static-site", *LATER)
    host = cluster.workers[0]
    shown = cluster.wait(lambda: host.get(8083), NEAR, "the site")
    assert shown == (EXAMPLES / "static-site" / "index.html").read_text()
    assert "of static-site_site, on " in host.get(8083, "/about.html")
    (tmp_path / "index.html").write_text("another page\n")
    monkeypatch.setenv("SITE", str(tmp_path))
    deploy("static-site", *LATER)
    cluster.wait(lambda: host.get(8083) == "another page\n", NEAR, "the new page")


def test_a_cron_job_runs_when_it_is_told_to(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the deployment, but when it is due, or by --force."""
    monkeypatch.setenv("BACKUP_AT", "0 0 29 2 *")
    cluster = deploy("cron", *LATER)
    cluster.wait_running("cron_app", 1, NEAR)
    assert cluster.manager.cli("service", "ps", "-q", "cron_backup") == ""
    cluster.manager.cli("service", "update", "-d", "-q", "--force", "cron_backup")
    cluster.wait(lambda: "saved" in cluster.manager.cli("service", "logs", "cron_backup"), NEAR,
                 "a backup")  # fmt: skip
    shown = json.loads(cluster.manager.cli("service", "inspect", "cron_check"))[0]
    assert "*/5 * * * *" in json.dumps(shown)


def test_a_canary_is_one_task_until_it_is_promoted(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = deploy("canary", *LATER)
    cluster.wait_running("canary_web", 3, NEAR)
    monkeypatch.setenv("RELEASE", "2")
    deploy("canary", *LATER)

    def message() -> str:
        shape = "{{json .UpdateStatus}}"
        text = cluster.manager.cli("service", "inspect", "--format", shape, "canary_web")
        return str((json.loads(text) or {}).get("Message", ""))

    cluster.wait(lambda: "the rest waits for `service promote`" in message(), NEAR, "the canary")

    def three() -> list[str]:
        return sorted(cluster.manager.get(8084) for _ in range(3))

    cluster.wait(lambda: three() == ["release 1\n", "release 1\n", "release 2\n"], NEAR, "one of 3")
    cluster.manager.cli("service", "promote", "canary_web")
    cluster.wait(lambda: message() == "update completed", NEAR, "the rest")
    cluster.wait(lambda: three() == ["release 2\n"] * 3, NEAR, "all to be of it")
