"""Archives and registries shared with Docker's own engine (Debian's docker.io), both ways."""

import io
import json
import lzma
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.docker_peer import DockerPeer
from image_world import FAST, image_of, one_file

from swarmlite.storage.images.copies import places
from swarmlite.storage.images.copies.copying import copy
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Limits, Platform
from swarmlite.testing import images as debian_images
from swarmlite.testing.oci import docker_archive

pytestmark = [
    pytest.mark.skipif(
        shutil.which("dockerd") is None,
        reason="needs docker.io (deploy/packages.sh bench installs it)",
    ),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerPeer]:
    with DockerPeer("192.168.97.1") as peer:
        yield peer


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return ImageStore(tmp_path_factory.mktemp("with-docker") / "images", settings=FAST)


def inspected(docker: DockerPeer, name: str) -> Any:
    return json.loads(docker.cli("image", "inspect", name))[0]


async def test_docker_loads_and_runs_what_is_saved(
    docker: DockerPeer, store: ImageStore, tmp_path: Path
) -> None:
    """Also of layers that are zstd and of images made here; ids and layers are the same."""
    busybox = debian_images.busybox().named("ours/busybox:1")
    await store.load(io.BytesIO(docker_archive([busybox])))
    base = store.get("ours/busybox:1")
    config = {"os": "linux", "architecture": Platform.of_host().architecture}
    config |= {"config": {"Cmd": ["cat", "/made"]}}  # type: ignore[dict-item]
    await store.make(config, io.BytesIO(one_file("made", "here")), base=base, tag="ours/made:1")
    archive = tmp_path / "saved.tar"
    with archive.open("wb") as file:
        file.writelines(store.save(["ours/busybox:1", "ours/made:1"]))
    said = docker.cli("load", "-i", str(archive))
    assert "Loaded image: ours/busybox:1" in said and "Loaded image: ours/made:1" in said
    for name in ("ours/busybox:1", "ours/made:1"):
        shown, own = inspected(docker, name), store.inspect(name)
        assert shown["Id"] == own.image.id
        assert shown["RootFS"]["Layers"] == list(own.diff_ids)
    assert docker.cli("run", "--rm", "--network", "none", "ours/made:1") == "here"


async def test_what_docker_saves_is_loaded_and_comes_back(
    docker: DockerPeer, store: ImageStore, tmp_path: Path
) -> None:
    archive, back = tmp_path / "docker.tar", tmp_path / "back.tar"
    built = image_of("theirs:1", one_file("a", "1"), one_file("b", "2"), compression="none")
    (tmp_path / "first.tar").write_bytes(docker_archive([built]))
    docker.cli("load", "-i", str(tmp_path / "first.tar"))
    docker.cli("save", "-o", str(archive), "theirs:1")
    with archive.open("rb") as file:
        (loaded,) = await store.load(file)
    assert (loaded.id, loaded.repo_tags) == (built.id, ("theirs:1",))
    await copy(
        places.parse(f"docker-archive:{archive}:theirs:1"),
        places.parse(f"docker-archive:{back}:copied:2"),
        lambda _: None,
        settings=FAST,
        limits=Limits(),
    )
    docker.cli("rmi", "theirs:1")
    assert "Loaded image: copied:2" in docker.cli("load", "-i", str(back))
    assert inspected(docker, "copied:2")["Id"] == built.id


async def test_an_import_gives_the_layer_that_docker_makes_of_it(
    docker: DockerPeer, store: ImageStore, tmp_path: Path
) -> None:
    tar = tmp_path / "root.tar"
    tar.write_bytes(one_file("data", "x" * 10_000))
    squeezed = tmp_path / "root.tar.xz"
    squeezed.write_bytes(lzma.compress(tar.read_bytes()))
    docker.cli("import", str(tar), "imported:1")
    theirs = inspected(docker, "imported:1")["RootFS"]["Layers"]
    for path in (tar, squeezed):
        with path.open("rb") as file:
            image = await store.make({"os": "linux"}, file, tag="imported:1")
        assert list(store.inspect(image.id).diff_ids) == theirs
