"""`--build-context NAME=oci-layout://FOLDER[:TAG|@DIGEST]`: one image of an OCI layout.

What is sent is a layout of that image alone, without a name, and only the blobs that it takes.
Source: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import is_digest

SCHEME = "oci-layout://"
_NAMES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
_CHUNK_BYTES = 512 * 1024
_MAX_DOCUMENT = 4 << 20
_MAX_DEPTH = 4
Json = dict[str, Any]


def sent(value: str, here: Path = Path()) -> Iterator[bytes]:
    """The tar of what the value names. Raises InvalidSpec at once for what is not there."""
    text = value.removeprefix(SCHEME)
    text, _, digest = text.partition("@")
    head, slash, last = text.rpartition("/")
    last, _, tag = last.partition(":")
    folder = here / f"{head}{slash}{last}"
    index = _document(folder / "index.json", value)
    entries = [one for one in index.get("manifests") or () if isinstance(one, dict)]
    chosen = dict(_chosen(entries, tag, digest, value))
    chosen.pop("annotations", None)
    blobs: dict[str, Path] = {}
    _collect(folder, chosen, blobs, _MAX_DEPTH, value)
    return _packed(json.dumps({"schemaVersion": 2, "manifests": [chosen]}).encode(), blobs)


def _chosen(entries: list[Json], tag: str, digest: str, value: str) -> Json:
    names = {number: _name(entry) for number, entry in enumerate(entries)}
    if digest:
        found = [entry for entry in entries if entry.get("digest") == digest]
        if not found and is_digest(digest):  # of an index within, or with no entry of its own
            found = [{"digest": digest, "mediaType": "", "size": 0}]
    elif tag:
        found = [entries[number] for number, name in names.items() if name == tag]
    else:
        found = entries if len(entries) == 1 else []
        found = found or [entries[number] for number, name in names.items() if name == "latest"]
    if not found:
        there = ", ".join(sorted({name for name in names.values() if name})) or "none with a name"
        wanted = f"no image {digest or tag}" if digest or tag else "several images: name one"
        raise InvalidSpec(f"{value}: the layout has {wanted} (there is {there})")
    return found[0]


def _name(entry: Json) -> str:
    """The tag that an entry of the index bears."""
    annotations: Any = entry.get("annotations")
    if not isinstance(annotations, dict):
        return ""
    for key in _NAMES:
        if isinstance(text := annotations.get(key), str) and text:
            return text.rpartition("/")[2].rpartition(":")[2]
    return ""


def _collect(folder: Path, entry: Json, blobs: dict[str, Path], depth: int, value: str) -> None:
    """A manifest or index, and what it names as far as it is there."""
    path = _blob(folder, entry, blobs)
    if path is None:
        raise InvalidSpec(f"{value}: the layout lacks the blob {str(entry.get('digest'))[:80]}")
    document = _document(path, value)
    entry["mediaType"] = entry.get("mediaType") or document.get("mediaType", "")
    entry["size"] = entry.get("size") or path.stat().st_size
    for part in [document.get("config"), *(document.get("layers") or ())]:
        if isinstance(part, dict):
            _blob(folder, part, blobs)
    for inner in document.get("manifests") or ():
        if isinstance(inner, dict) and depth and _blob(folder, inner, blobs) is not None:
            _collect(folder, dict(inner), blobs, depth - 1, value)


def _blob(folder: Path, descriptor: Json, blobs: dict[str, Path]) -> Path | None:
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or not is_digest(digest):
        return None
    name = f"blobs/{digest.replace(':', '/')}"
    if not (folder / name).is_file():
        return None
    blobs[name] = folder / name
    return folder / name


def _document(path: Path, value: str) -> Json:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_DOCUMENT))
    except OSError as error:
        raise InvalidSpec(f"{value}: {path}: {error.strerror}: expected an OCI layout") from error
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{value}: {path} is not JSON") from error
    if not isinstance(found, dict):
        raise InvalidSpec(f"{value}: {path} is not an object")
    return found


def _packed(index: bytes, blobs: dict[str, Path]) -> Iterator[bytes]:
    for name, data in (("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)):
        yield _header(name, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
    for name, path in sorted(blobs.items()):
        with path.open("rb") as file:
            size = path.stat().st_size
            yield _header(name, size)
            yield from _content(file, size, path)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _content(file: BinaryIO, size: int, path: Path) -> Iterator[bytes]:
    left = size
    while left:
        if not (data := file.read(min(left, _CHUNK_BYTES))):
            raise InvalidSpec(f"{path} became shorter while it was sent")
        left -= len(data)
        yield data
    yield bytes(-size % tarfile.BLOCKSIZE)
