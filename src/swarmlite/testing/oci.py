"""Images that are made here, without any builder: layers, a config, archives of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_CREATED = "2024-01-01T00:00:00Z"  # fixed, so that the same content has the same digest


@dataclass(frozen=True)
class BuiltLayer:
    """A layer's blob on disk or in memory, and what it unpacks to."""

    diff_id: str
    digest: str
    size: int
    media_type: str
    path: Path | None = None
    data: bytes = field(default=b"", repr=False)

    def read(self) -> bytes:
        """The blob."""
        return self.path.read_bytes() if self.path else self.data

    def descriptor(self) -> dict[str, Any]:
        """As manifests name it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class BuiltImage:
    """An image; `name` is NAME:TAG without a registry, `settings` the config's `config` object."""

    name: str
    layers: tuple[BuiltLayer, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    architecture: str = ""

    @property
    def config(self) -> bytes:
        """The image configuration."""
        return _json(
            {
                "created": _CREATED,
                "architecture": self.architecture or architecture(),
                "os": "linux",
                "config": dict(self.settings),
                "rootfs": {"type": "layers", "diff_ids": [la.diff_id for la in self.layers]},
                "history": [{"created": _CREATED, "created_by": "swarmlite"} for _ in self.layers],
            }
        )

    @property
    def manifest(self) -> bytes:
        """The OCI manifest."""
        config = {"mediaType": CONFIG_TYPE, **_descriptor(self.config)}
        return _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": config,
                "layers": [layer.descriptor() for layer in self.layers],
            }
        )

    @property
    def id(self) -> str:
        """The image's id: its config's digest."""
        return digest(self.config)

    def named(self, name: str) -> BuiltImage:
        """The same under another name."""
        return replace(self, name=name)

    def with_layer(self, layer: BuiltLayer) -> BuiltImage:
        """One more layer on top."""
        return replace(self, layers=(*self.layers, layer))


def architecture() -> str:
    """This machine's, in Go's words."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def digest(data: bytes) -> str:
    """sha256:HEX."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(tar: bytes, compression: str = "gzip", path: Path | None = None) -> BuiltLayer:
    """A layer of a tar; `compression` is gzip, zstd or none; written to `path` where given."""
    if compression == "gzip":
        blob, suffix = gzip.compress(tar, 1, mtime=0), "+gzip"
    elif compression == "zstd":
        blob, suffix = zstandard.ZstdCompressor(level=1, threads=-1).compress(tar), "+zstd"
    else:
        blob, suffix = tar, ""
    result = BuiltLayer(digest(tar), digest(blob), len(blob), LAYER_TYPE + suffix, data=blob)
    if path is not None:
        path.write_bytes(blob)
        return replace(result, path=path, data=b"")
    return result


def plain_layer(path: Path) -> BuiltLayer:
    """A layer of a tar on the disk, uncompressed; it is read through and not kept in memory."""
    with path.open("rb") as file:
        found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return BuiltLayer(found, found, path.stat().st_size, LAYER_TYPE, path=path)


class TarWriter:
    """Builds a layer's tar: everything owned by root and of one date, unless said otherwise."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        """Into memory, for `tar`, or into `stream` until `close`."""
        self._buffer = io.BytesIO()
        target = stream or self._buffer
        self._tar = tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._there: set[str] = set()

    def add(
        self, info: tarfile.TarInfo, data: bytes | None = None, *, parents: bool = True
    ) -> None:
        """One member as it stands; the directories above it first, where they lack."""
        if parents and "/" in info.name:
            self.directory(info.name.rpartition("/")[0])
        self._there.add(info.name)
        self._tar.addfile(info, io.BytesIO(data) if data is not None else None)

    def add_new(self, info: tarfile.TarInfo, data: bytes | None) -> None:
        """One member, unless one of its name is there."""
        if info.name not in self._there:
            self.add(info, data)

    def directory(self, name: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """A directory, once."""
        name = name.strip("/")
        if name and name not in self._there:
            info = _info(name, tarfile.DIRTYPE, mode, uid, gid)
            self.add(info)

    def file(
        self, name: str, data: bytes | str, *, mode: int = 0o644, uid: int = 0, gid: int = 0
    ) -> None:
        """A regular file."""
        content = data.encode() if isinstance(data, str) else data
        info = _info(name.strip("/"), tarfile.REGTYPE, mode, uid, gid)
        info.size = len(content)
        self.add(info, content)

    def symlink(self, name: str, target: str) -> None:
        """A symbolic link."""
        info = _info(name.strip("/"), tarfile.SYMTYPE, 0o777, 0, 0)
        info.linkname = target
        self.add(info)

    def close(self) -> None:
        """Finish the archive."""
        self._tar.close()

    def tar(self) -> bytes:
        """The finished archive."""
        self.close()
        return self._buffer.getvalue()


def docker_archive(images: Sequence[BuiltImage]) -> bytes:
    """As `docker save` writes it: manifest.json, configs, layer.tar of each layer."""
    writer = TarWriter()
    manifest = []
    for image in images:
        names = []
        for built in image.layers:
            name = f"{built.digest[7:]}/layer.tar"
            writer.file(name, built.read())
            names.append(name)
        config = f"{image.id[7:]}.json"
        writer.file(config, image.config)
        manifest.append({"Config": config, "RepoTags": [image.name], "Layers": names})
    writer.file("manifest.json", _json(manifest))
    return writer.tar()


def oci_archive(images: Sequence[BuiltImage]) -> bytes:
    """An OCI image layout as a tar."""
    writer = TarWriter()
    entries = []
    for image in images:
        for blob in (image.config, image.manifest, *(built.read() for built in image.layers)):
            writer.file(f"blobs/sha256/{digest(blob)[7:]}", blob)
        annotations = {"org.opencontainers.image.ref.name": image.name}
        entry = {"mediaType": MANIFEST_TYPE, **_descriptor(image.manifest)}
        entries.append({**entry, "annotations": annotations})
    writer.file("oci-layout", '{"imageLayoutVersion":"1.0.0"}')
    writer.file("index.json", _json({"schemaVersion": 2, "manifests": entries}))
    return writer.tar()


def _info(name: str, kind: bytes, mode: int, uid: int, gid: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, uid, gid, 1704067200
    return info


def _descriptor(data: bytes) -> dict[str, Any]:
    return {"digest": digest(data), "size": len(data)}


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
