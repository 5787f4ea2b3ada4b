"""Stores, registries and tars for the tests of images."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import LayerSource, Limits
from swarmlite.testing import images as debian_images
from swarmlite.testing.oci import BuiltImage, TarWriter, layer
from swarmlite.testing.registry import Registry

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking layers needs root")
FAST = RegistrySettings(backoff_s=0.01, max_backoff_s=0.3, stall_timeout_s=3)
SMALL = Limits(entries=5000, bytes=64 << 20, memory_bytes=512 << 20)


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    with Registry() as running:
        running.push(debian_images.busybox())
        yield running


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images", settings=FAST, limits=SMALL)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the store, which no layer may change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("untouched")
    before = snapshot(folder)
    yield folder
    assert snapshot(folder) == before


def snapshot(folder: Path) -> dict[str, Any]:
    """Names, modes, owners and contents below a folder."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        facts = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, content)
        found[str(path.relative_to(folder))] = facts
    return found


class Tar:
    """A tar of whatever members, hostile ones too."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(  # noqa: SIM115
            fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape"
        )

    def add(self, name: str, data: bytes | None = None, **fields: Any) -> "Tar":
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        for key, value in fields.items():
            setattr(info, key, value)
        if data is not None:
            info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data) if data is not None else None)
        return self

    def dir(self, name: str, **fields: Any) -> "Tar":
        return self.add(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})

    def link(self, name: str, target: str) -> "Tar":
        return self.add(name, type=tarfile.SYMTYPE, linkname=target)

    def hard(self, name: str, target: str) -> "Tar":
        return self.add(name, type=tarfile.LNKTYPE, linkname=target)

    def bytes(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


async def unpack(store: ImageStore, tar: Tar | bytes, *, base: bool = False) -> Path:
    """Unpack a layer with the real unpacker's process; its directory."""
    data = tar if isinstance(tar, bytes) else tar.bytes()
    blob = store.root / "tmp" / "test.tar"
    blob.write_bytes(data)
    scratch = await store.layers.unpack(LayerSource(str(blob)), base=base, name="test")
    return scratch.path / "diff"


def image_of(name: str, *tars: bytes, compression: str = "gzip", **settings: Any) -> BuiltImage:
    """An image with one layer a tar."""
    return BuiltImage(name, tuple(layer(tar, compression) for tar in tars), settings)


def one_file(path: str, content: str | bytes) -> bytes:
    """A layer with one file."""
    writer = TarWriter()
    writer.file(path, content)
    return writer.tar()


# By mount(2): mount(8) of util-linux 2.41 ends an option at 256 bytes.
_IN_OVERLAY = """
import os, sys
from swarmlite.kernel import mounting
options = os.fsencode("lowerdir=" + sys.argv[1])
mounting.mount(b"overlay", b"/mnt", b"overlay", 0, options)
os.chdir("/mnt")
os.execvpe(sys.argv[2], sys.argv[2:], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
"""


def in_overlay(lowers: Sequence[Path], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the root of an overlay of `lowers`, in a mount namespace of its own."""
    joined = ":".join(map(str, lowers))
    return subprocess.run(
        ["unshare", "-m", sys.executable, "-c", _IN_OVERLAY, joined, *command],
        capture_output=True,
        text=True,
        check=False,
    )


def left_behind(store: ImageStore) -> list[str]:
    """What a store without images still holds in layers."""
    return [path.name for path in (store.root / "layers").iterdir()]
