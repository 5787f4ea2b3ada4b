"""Archives of `docker save` and OCI layouts are taken in whole, or not at all."""

import asyncio
import gzip
import io
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard
from image_world import FAST, Tar, image_of, left_behind, needs_root, one_file

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Limits
from swarmlite.testing import images as debian_images
from swarmlite.testing.oci import TarWriter, digest, docker_archive, oci_archive

pytestmark = needs_root


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 65_537):
        yield data[at : at + 65_537]


@pytest.mark.parametrize("kind", [docker_archive, oci_archive])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
async def test_archives_of_both_kinds_plain_or_compressed(
    store: ImageStore, kind: object, compress: object
) -> None:
    base = one_file("base", "b")
    built = [image_of("one:1", base, one_file("a", "1")), image_of("127.0.0.1:9/x/two:2", base)]
    data = compress(kind(built))  # type: ignore[operator]
    one, two = await store.load(pieces(data))
    assert (one.id, two.id) == (built[0].id, built[1].id)
    assert (one.repo_tags, two.repo_tags) == (("one:1",), ("127.0.0.1:9/x/two:2",))
    assert (store.lower_dirs(one)[0] / "a").read_text() == "1"
    assert one.layers[0] == two.layers[0]
    assert store.get("one:1") == one


async def test_an_image_of_docker_itself(store: ImageStore, tmp_path: Path) -> None:
    """What Debian's docker saves, where one is installed to do so."""
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd is not installed")
    tar = debian_images.busybox()
    socket = tmp_path / "docker.sock"
    command = ["dockerd", "--data-root", tmp_path / "d", "--exec-root", tmp_path / "e"]
    command += ["--host", f"unix://{socket}", "--iptables=false", "--bridge=none"]
    command += ["--pidfile", tmp_path / "pid", "--storage-driver=vfs"]
    (tmp_path / "config.json").write_text("{}")
    command += ["--config-file", tmp_path / "config.json"]
    inner = f"ip link set lo up; exec {' '.join(map(str, command))}"
    daemon = subprocess.Popen(  # noqa: ASYNC220
        ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", inner],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def docker(*words: str, data: bytes | None = None) -> bytes:
        return subprocess.run(
            ["docker", "--host", f"unix://{socket}", *words],
            input=data,
            capture_output=True,
            check=True,
            timeout=30,
        ).stdout

    try:
        await asyncio.to_thread(_wait_for, socket, daemon)
        if not socket.exists():
            pytest.skip("dockerd does not start on this machine")
        docker("load", data=docker_archive([tar]))
        saved = docker("save", "busybox:latest")
    finally:
        daemon.kill()  # unshare, whose death ends its namespace's first process
        await asyncio.to_thread(daemon.wait, 20)
    (image,) = await store.load(io.BytesIO(saved))
    assert image.repo_tags == ("busybox:latest",) and image.id == tar.id
    assert (store.lower_dirs(image)[0] / "bin/busybox").stat().st_size > 500_000


def _wait_for(socket: Path, daemon: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while not socket.exists() and daemon.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def edited(change: object) -> bytes:
    """A docker archive whose manifest was changed."""
    image = image_of("x:1", one_file("a", "1"))
    writer = TarWriter()
    layer = image.layers[0]
    entry = {"Config": "config.json", "RepoTags": ["x:1"], "Layers": ["layer.tar"]}
    manifest = change(entry)  # type: ignore[operator]
    writer.file("config.json", image.config)
    writer.file("layer.tar", layer.read())
    writer.file("manifest.json", json.dumps(manifest))
    return writer.tar()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"nothing", "is refused"),
        (one_file("x", "y"), "neither manifest.json nor index.json"),
        (edited(lambda e: [e | {"Config": "../../etc/passwd"}]), "does not hold"),
        (edited(lambda e: [e | {"Layers": []}]), "names 1 layers"),
        (edited(lambda e: [e | {"Layers": ["/etc/passwd"]}]), "does not hold"),
        (edited(lambda e: [e | {"Layers": ["config.json"]}]), "is refused"),
        (edited(lambda e: [e | {"RepoTags": ["../x"]}]), "invalid image reference"),
        (edited(lambda e: e), "not a list of images"),
        (edited(lambda e: [e, e | {"Config": 7}]), "not a string"),
        (Tar().link("manifest.json", "manifest.json").bytes(), "neither"),
        (Tar().add("../x", b"").bytes(), "outside"),
        (gzip.compress(b"x" * 5000)[:-9], "ends early"),
    ],
)
async def test_bad_archives_leave_nothing(store: ImageStore, data: bytes, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        await store.load(io.BytesIO(data))
    assert store.list() == [] and left_behind(store) == []


async def test_a_layer_that_is_not_what_the_config_names(store: ImageStore) -> None:
    image = image_of("x:1", one_file("a", "1"))
    writer = TarWriter()
    writer.file("config.json", image.config)
    writer.file("layer.tar", one_file("a", "another"))
    entry = {"Config": "config.json", "RepoTags": ["x:1"], "Layers": ["layer.tar"]}
    writer.file("manifest.json", json.dumps([entry]))
    with pytest.raises(InvalidSpec, match="but the config names"):
        await store.load(io.BytesIO(writer.tar()))
    assert store.list() == [] and left_behind(store) == []


async def test_a_layout_with_a_changed_blob(store: ImageStore) -> None:
    image = image_of("x:1", one_file("a", "1"))
    data = oci_archive([image])
    changed = data.replace(b'"created_by":"swarmlite"', b'"created_by":"somebody!"')
    assert changed != data and digest(changed) != digest(data)
    with pytest.raises(InvalidSpec, match="another content"):
        await store.load(io.BytesIO(changed))


async def test_an_archive_that_is_too_long(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images", settings=FAST, limits=Limits(archive_bytes=1 << 20))
    bomb = gzip.compress(b"\0" * (8 << 20))
    for data in (bytes(2 << 20), bomb):
        with pytest.raises(ResourceExhausted, match=r"longer than|unpacks to more"):
            await store.load(pieces(data))
