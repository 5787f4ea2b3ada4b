"""The compose examples, deployed and asked over HTTP."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarmlite.testing import Cluster, demo
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

pytestmark = pytest.mark.timeout(240)
EXAMPLES = Path(__file__).parents[2] / "compose-examples"


Deploy = Callable[[str], Cluster]


@pytest.fixture
def deploy(swarm: Cluster, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    deployed: list[str] = []
    monkeypatch.setenv("REGISTRY", registry.address)

    def deploy(example: str) -> Cluster:
        debian_images.push_examples(registry.address, EXAMPLES / example)
        deployed.append(example)
        swarm.manager.cli(
            "stack",
            "deploy",
            "--detach=false",
            "-c",
            str(EXAMPLES / example / "compose.yml"),
            example,
            timeout_s=120,
        )
        return swarm

    yield deploy
    for example in deployed:
        swarm.manager.cli("stack", "rm", example)
        assert example not in swarm.manager.cli("stack", "ls")
    os.environ.pop("REGISTRY", None)


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
