"""deploy/Dockerfile on real builders: ours, and Docker's classic one."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import node_image
import pytest

from swarmlite.testing import Host, images
from swarmlite.testing.containers import DockerCluster, image
from swarmlite.testing.containers.cluster import engine
from swarmlite.testing.demo import until
from swarmlite.testing.oci import docker_archive

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
BUILD_S = 600.0


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


def test_the_command_line_builds_the_image_and_runs_a_node_of_it(
    engine_host: Host, wheels: Path, tmp_path: Path
) -> None:
    """As docs/guide/install.md says it: a cluster of one, whose service runs inside."""
    base = load_base()
    with tarfile.open(fileobj=io.BytesIO(image.build_context(wheels))) as context:
        context.extractall(tmp_path / "clone", filter="data")
    arguments = (f"BASE={base}", "PIP_NO_INDEX=1")
    words = [word for each in arguments for word in ("--build-arg", each)]
    clone = str(tmp_path / "clone")
    dockerfile = f"{clone}/deploy/Dockerfile"
    tag = ("-t", "swarmlite-node:own")
    engine_host.cli("build", "-q", "-f", dockerfile, *words, *tag, clone, timeout_s=BUILD_S)
    run = ("run", "-d", "--privileged", "--tmpfs", "/run", "--hostname", "node1", "--name", "node")
    engine_host.cli(*run, "swarmlite-node:own")
    try:
        inside = ("exec", "node", "swarmlite")
        until(lambda: engine_host.cli(*inside, "swarm", "init"), BUILD_S, "the node")
        archive = tmp_path / "busybox.tar"
        archive.write_bytes(docker_archive([images.busybox()]))
        engine_host.cli("cp", str(archive), "node:/busybox.tar")
        engine_host.cli(*inside, "load", "-q", "-i", "/busybox.tar")
        create = ("service", "create", "--quiet", "--name", "web", "busybox:latest", "sleep", "600")
        engine_host.cli(*inside, *create, timeout_s=120)
        form = ("--format", "{{.Node}} {{.CurrentState}}")
        shown = engine_host.cli(*inside, "service", "ps", *form, "web")
        assert shown.startswith("node1 Running")
    finally:
        engine_host.cli("rm", "-f", "-v", "node")


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
