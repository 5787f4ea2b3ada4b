"""How pulls, pushes and loads go, as the JSON objects that Docker's API streams.

A stream is of one command; each class holds what its lines depend on: which layers were heard of.
"""

from __future__ import annotations

from swarmlite.docker.values import Json
from swarmlite.model import units
from swarmlite.model.references import Reference
from swarmlite.proto.images_pb2 import ImageProgress, LocalImage, PushedTag

_BAR = 50
_MOVING = ("Downloading", "Extracting", "Pushing", "Loading")
_FIRST = {"Waiting": "Pulling fs layer"}
"""Docker's words for what a layer does first, where ours are others."""


def failed(message: str) -> Json:
    """An error in mid-stream; nothing comes after it."""
    return {"errorDetail": {"message": message}, "error": message}


def step(value: ImageProgress) -> Json | None:
    """A layer's progress; None for what is of no layer."""
    if not value.layer:
        return None
    status = _FIRST.get(value.status, value.status)
    shown: Json = {"status": status, "progressDetail": {}, "id": value.layer}
    if value.status in _MOVING and value.total_bytes:
        detail = {"current": value.current_bytes, "total": value.total_bytes}
        shown |= {"progressDetail": detail, "progress": bar(**detail)}
    return shown


def bar(current: int, total: int) -> str:
    """ "[=====>      ]  1.5MB/3MB"."""
    done = min(_BAR, current * _BAR // total) if total else 0
    drawn = f"{'=' * max(0, done - 1)}>" if done else ">"
    now, whole = units.format_size(current), units.format_size(total)
    return f"[{drawn:<{_BAR}}] {now:>8}/{whole}"


def pulling(reference: Reference) -> Json:
    """A pull's first line."""
    path = reference.path if reference.domain == "docker.io" else f"{reference.name}"
    return {"status": f"Pulling from {path}", "id": reference.target}


def pulled(reference: Reference, image: LocalImage, *, new: bool) -> list[Json]:
    """A pull's last lines; `new`: whether the name meant another image before."""
    name = reference.name
    lines: list[Json] = []
    digests = [d.partition("@") for d in image.repo_digests]
    if reference.digest:
        lines.append({"status": f"Digest: {reference.digest}"})
    else:
        found = [digest for of, _, digest in digests if of == name]
        lines += [{"status": f"Digest: {digest}"} for digest in found[-1:]]
    how = "Downloaded newer image for" if new else "Image is up to date for"
    shown = str(reference)
    return [*lines, {"status": f"Status: {how} {shown}"}]


def pushing(reference: Reference) -> Json:
    """A push's first line."""
    return {"status": f"The push refers to repository [{reference.domain}/{reference.path}]"}


def pushed(value: PushedTag) -> list[Json]:
    """What a name's push ends with: for people, and for programs."""
    tag, digest, size = value.tag.rpartition(":")[2], value.digest, value.size_bytes
    return [
        {"status": f"{tag}: digest: {digest} size: {size}"},
        {"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": size}},
    ]


def loaded(image: LocalImage) -> list[Json]:
    """What an image's load ends with: a line for each name that it came with."""
    if not image.repo_tags:
        return [{"stream": f"Loaded image ID: {image.id}\n"}]
    return [{"stream": f"Loaded image: {name}\n"} for name in image.repo_tags]
