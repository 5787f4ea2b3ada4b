"""deploy/Dockerfile on real builders: ours, and Docker's classic one."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import node_image
import pytest

from swarmlite.testing import Host
from swarmlite.testing.containers import DockerCluster, image
from swarmlite.testing.containers.cluster import engine
from swarmlite.testing.oci import docker_archive

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that pip would fetch in the build, which has no network here."""
    folder = tmp_path_factory.mktemp("wheels")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    words = (
        "-m",
        "pip",
        "download",
        "-q",
        "-d",
        str(folder),
        "-c",
        str(ROOT / "requirements.lock"),
    )
    done = subprocess.run(
        [sys.executable, *words, "setuptools", *project["dependencies"]],
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        pytest.skip(f"pip cannot fetch: {done.stderr.strip().splitlines()[-1]}")
    return folder


def load_base() -> str:
    base = node_image.base_image()
    client = engine()
    client.images.load(docker_archive([base]))
    client.close()
    return base.name


def build(wheels: Path) -> str:
    """Build it, and see that a second time it is there already."""
    client = engine()
    try:
        name = image.ensure(client, base=load_base(), wheels=wheels)
        built = client.images.get(name)
        assert built.attrs["Config"]["Volumes"] == {"/var/lib/swarmlite": {}}
        assert image.ensure(client, base="swarmlite-base:test", wheels=wheels) == name
        assert client.images.get(name).id == built.id
        return name
    finally:
        client.close()


def test_our_builder_makes_the_image_of_a_cluster_s_hosts(engine_host: Host, wheels: Path) -> None:
    """And a swarm forms on them."""
    with DockerCluster(1, 1, image=build(wheels)) as cluster:
        assert cluster._states() == {"manager1 Ready", "worker1 Ready"}


@pytest.fixture
def dockerd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("docker")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from docker_peer import DockerPeer

    with DockerPeer() as peer:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{peer.socket}")
        yield


@pytest.mark.usefixtures("dockerd")
def test_docker_s_classic_builder_makes_it(wheels: Path) -> None:
    """Of the same Dockerfile and context."""
    assert build(wheels).startswith("swarmlite-node:")
