"""The compose examples, deployed and asked over HTTP."""

from pathlib import Path

import pytest
from swarm_world import Deploy, in_container, put

from swarmlite.testing import Cluster, Host, demo

pytestmark = pytest.mark.timeout(240)


def test_web_example_answers_with_three_replicas(deploy: Deploy) -> None:
    cluster = deploy("web")
    shown = cluster.manager.cli("stack", "services", "web", "--format", "{{.Name}} {{.Replicas}}")
    assert "3/3" in shown
    for host in cluster.hosts:
        answers = {demo.until(lambda h=host: h.get(8080), 20, host.name) for _ in range(12)}
        assert len(answers) == 3


def test_webapp_example_counts_in_redis(deploy: Deploy) -> None:
    cluster = deploy("webapp-redis")
    first = demo.until(lambda: cluster.manager.get(8000), 40, "the web application")
    second = cluster.workers[0].get(8000)
    numbers = [
        [int(w) for w in text.replace(".", " ").split() if w.isdigit()] for text in (first, second)
    ]
    assert numbers[0] and numbers[1] and numbers[1][0] > numbers[0][0]


def test_voting_example_counts_votes_from_every_host(deploy: Deploy) -> None:
    cluster = deploy("voting")
    for host in cluster.hosts:
        demo.until(lambda h=host: h.get(demo.VOTE_PORT), 40, f"{host.name} vote")
        demo.vote(host, "a")
    assert demo.until(lambda: demo.counted_votes(cluster.manager), 60, "votes in the result")


BUILT = """
services:
  web:
    build:
      context: app
      args: {{WORD: {word}}}
      dockerfile_inline: |
        FROM {image}
        ARG WORD
        COPY page /www/
        RUN echo "$$WORD" >> /www/page
        CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
    ports: ["8099:80"]
    deploy: {{mode: global}}
"""


def test_a_build_section_is_built_here_and_runs_on_every_node(
    swarm: Cluster, busybox: str, tmp_path: Path
) -> None:
    """No registry has the image: the nodes get it from the host where it was built."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "page").write_text("built\n")
    file = tmp_path / "compose.yml"

    def deploy(word: str) -> str:
        file.write_text(BUILT.format(image=busybox, word=word))
        put(swarm.manager, tmp_path / "app" / "page")
        return swarm.manager.cli(
            *("stack", "deploy", "--detach=false", "-c", put(swarm.manager, file), "built"),
            timeout_s=120,
        )

    try:
        deploy("first")
        for host in swarm.hosts:
            page = demo.until(lambda h=host: h.get(8099, path="/page"), 40, host.name)
            assert page == "built\nfirst\n"
        assert "Unchanged service built_web" in deploy("first")
        assert "Updating service built_web" in deploy("second")
        image = swarm.manager.cli(
            "service",
            "inspect",
            "built_web",
            "--format",
            "{{.Spec.TaskTemplate.ContainerSpec.Image}}",
        )
        assert image.startswith("built-web:latest@sha256:")
        for host in swarm.hosts:
            demo.until(lambda h=host: _second(h), 60, host.name)
    finally:
        swarm.manager.cli("stack", "rm", "built")


def _second(host: Host) -> str:
    page = host.get(8099, path="/page")
    if "second" not in page:
        raise OSError(page)  # an old task answers still
    return page


MIGRATED = """
services:
  front:
    image: {image}
    command: ["sh", "-c", "sleep 3600"]
    stop_grace_period: 0s
    deploy: {{placement: {{constraints: ["node.role == manager"]}}}}
    depends_on:
      web: {{condition: service_started}}
  web:
    image: {image}
    command: ["sh", "-c", "sleep 3600"]
    environment: {{RELEASE: "{release}"}}
    stop_grace_period: 0s
    deploy:
      placement: {{constraints: ["node.hostname == worker2"]}}
      update_config: {{monitor: 0s}}
    depends_on:
      migrate: {{condition: service_completed_successfully}}
  migrate:
    image: {image}
    command: ["sh", "-c", "until [ -e /run/gate/{release} ]; do sleep 0.2; done; echo migrated"]
    stop_grace_period: 0s
    volumes: ["gate:/run/gate"]
    deploy: {{placement: {{constraints: ["node.hostname == worker1"]}}}}
    depends_on:
      db: {{condition: service_healthy}}
  db:
    image: {image}
    command: ["sh", "-c", "sleep 3600"]
    stop_grace_period: 0s
    deploy: {{placement: {{constraints: ["node.hostname == worker2"]}}}}
    healthcheck: {{test: ["CMD", "test", "-e", "/tmp/up"], interval: 500ms, timeout: 30s,
                   retries: 1000}}
volumes:
  gate: {{name: gate}}
"""


def test_a_stack_waits_for_its_migration_on_another_host(
    swarm: Cluster, busybox: str, tmp_path: Path
) -> None:
    """Each link of the chain on another node, and the next release waits as the first one did."""
    manager, worker = swarm.manager, swarm.host("worker1")
    file = tmp_path / "compose.yml"

    def deploy(release: str) -> str:
        file.write_text(MIGRATED.format(image=busybox, release=release))
        put(manager, file)
        return manager.cli("stack", "deploy", "-c", str(file), "shop")

    def says(*reasons: str) -> None:
        why = ("stack", "ps", "--no-trunc", "--format", "{{.Name}} {{.Error}}", "shop")
        for reason in reasons:
            swarm.wait(lambda reason=reason: reason in manager.cli(*why), 60, reason)

    def open_gate(release: str) -> None:
        gate = worker.cli("volume", "inspect", "-f", "{{.Mountpoint}}", "gate").strip()
        worker.run("touch", f"{gate}/{release}")

    deploy("first")
    try:
        says(
            "waiting for shop_web to start",
            "waiting for shop_migrate to complete",
            "waiting for shop_db to be healthy",
        )
        in_container(swarm.host("worker2"), "shop_db", "touch", "/tmp/up")
        assert swarm.wait_running("shop_migrate", 1) == ["worker1"]
        assert not swarm.running("shop_web") and not swarm.running("shop_front")
        open_gate("first")
        assert swarm.wait_running("shop_web", 1) == ["worker2"]
        assert swarm.wait_running("shop_front", 1) == ["manager1"]
        assert deploy("first").count("Unchanged") == 4
        said = deploy("second")
        assert said.count("Updating") == said.count("Unchanged") == 2
        status = ("service", "inspect", "-f", "{{.UpdateStatus.Message}}", "shop_web")
        swarm.wait(
            lambda: "waiting for shop_migrate to complete" in manager.cli(*status), 60, "a reason"
        )
        release = ("sh", "-c", "echo $RELEASE")
        assert in_container(swarm.host("worker2"), "shop_web", *release) == "first\n"
        open_gate("second")
        swarm.wait(lambda: manager.cli(*status).startswith("update completed"), 60, "the update")
        swarm.wait_running("shop_web", 1)
        assert in_container(swarm.host("worker2"), "shop_web", *release) == "second\n"
    finally:
        manager.cli("stack", "rm", "shop")
        worker.try_cli("volume", "rm", "-f", "gate")
