"""A live Docker Swarm (Debian's dockerd) is taken over by a cluster of ours."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlite.testing import Cluster

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from docker_peer import DockerPeer

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]


@pytest.fixture(scope="module")
def peer() -> Iterator[DockerPeer]:
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd is not installed (Debian: docker.io)")
    with DockerPeer() as running:
        yield running


def test_a_live_docker_swarm_is_adopted(
    swarm: Cluster, peer: DockerPeer, busybox: str, tmp_path: Path
) -> None:
    peer.cli("network", "create", "-d", "overlay", "--label", "kept=1", "front")
    (tmp_path / "key").write_bytes(b"hidden\n")
    peer.cli("secret", "create", "key", str(tmp_path / "key"))
    (tmp_path / "plain").write_bytes(b"shown\n")
    peer.cli("secret", "create", "lost", str(tmp_path / "plain"))
    peer.cli("config", "create", "conf", str(tmp_path / "plain"))
    create = ("service", "create", "-d", "--no-resolve-image")
    peer.cli(
        *create, "--name", "web", "--replicas", "2", "--network", "name=front,alias=site",
        "--secret", "source=key,target=/run/key,mode=0400", "--config", "conf", "--env", "A=b c",
        "--label", "tier=1", "--publish", "8093:80", "--constraint", "node.labels.absent!=x",
        "--update-order", "start-first", "--stop-grace-period", "0s", "--limit-memory", "64m",
        "--health-cmd", "true", "--health-interval", "1s", "--restart-max-attempts", "3", busybox,
        "sh", "-c", "cat /run/key /conf; sleep 1000",
    )  # fmt: skip
    peer.cli(*create, "--name", "every", "--mode", "global", busybox, "sleep", "1000")
    peer.cli(*create, "--name", "needy", "--secret", "lost", busybox)
    peer.cli(
        *create,
        "--name",
        "odd",
        "--network",
        "name=front,driver-opt=com.docker.network.odd=1",
        busybox,
    )
    peer.cli(*create, "--name", "near", "--network", "host", "--replicas", "0", busybox)
    address = f"unix://{peer.socket}"
    words = ("adopt", "--from", address, "--secrets", str(tmp_path))
    (tmp_path / "plain").rename(tmp_path / "other")

    shown = swarm.manager.cli(*words, "--dry-run")
    for line in (
        "  network front", "  secret key (7 bytes)", "  config conf", "  service web",
        "  service every", "  secret lost: its data are not known: no API gives them back",
        "  service needy: it needs secret lost",
        "  service odd: --network driver-opt com.docker.network.odd: not",
    ):  # fmt: skip
        assert any(found.startswith(line) for found in shown.splitlines())
    assert "  service web" in shown.splitlines()
    assert swarm.manager.cli("service", "ls", "-q") == ""

    assert "made service near\n" in swarm.manager.cli(*words, "--force")
    swarm.wait_running("web", 2, 60)
    swarm.wait_running("every", 3, 60)
    ours = json.loads(swarm.manager.cli("service", "inspect", "web"))[0]["Spec"]
    theirs = json.loads(peer.cli("service", "inspect", "web"))[0]["Spec"]
    for spec in (ours, theirs):
        for network in spec["TaskTemplate"]["Networks"]:
            network.pop("Target")
        for kind in ("Secret", "Config"):
            for each in spec["TaskTemplate"]["ContainerSpec"][f"{kind}s"]:
                each.pop(f"{kind}ID")
    for key in ("Labels", "Mode", "EndpointSpec"):
        assert ours[key] == theirs[key]
    template, wanted = ours["TaskTemplate"], theirs["TaskTemplate"]
    for key, value in wanted["ContainerSpec"].items():
        if key not in ("Init", "DNSConfig"):  # which Docker's command says though they say nothing
            assert template["ContainerSpec"][key] == value, key
    assert template["Placement"]["Constraints"] == ["node.labels.absent!=x"]
    assert template["Networks"] == wanted["Networks"]
    assert template["Resources"]["Limits"] == {"MemoryBytes": 64 << 20}
    assert template["RestartPolicy"]["MaxAttempts"] == 3
    assert ours["UpdateConfig"]["Order"] == "start-first"
    assert "hidden" in swarm.manager.cli("service", "logs", "--raw", "web")
    shown = json.loads(swarm.manager.cli("network", "inspect", "front"))[0]
    assert shown["Labels"] == {"kept": "1"}

    again = swarm.manager.cli(*words, "--force")
    assert "made service" not in again
    assert "To be made" not in again
    assert "service web" in again.partition("Here already")[2]
    gone = swarm.manager.try_cli("adopt", "--from", "unix:///nowhere.sock", "--force")
    assert gone.returncode == 1
    assert len(gone.stderr.splitlines()) == 1
