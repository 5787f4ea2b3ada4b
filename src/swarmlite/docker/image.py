"""An image in Docker's JSON: inspect, a list's entry, history, and what removing answers.

Keys are those of every version of the API; the gateway takes away what a client's has not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from swarmlite.docker.values import Json, time
from swarmlite.proto.images_pb2 import (
    ImageDetails,
    ImageHistory,
    ImageManifest,
    LocalImage,
    ResolvedImage,
)
from swarmlite.proto.types_pb2 import Platform

MISSING = "<missing>"
"""The id of a step of history that no image of this host stands for."""
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_NONE = "<none>:<none>"
_NONE_DIGEST = "<none>@<none>"

_CONFIG_DEFAULTS: Json = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}


def inspect(value: ImageDetails) -> Json:
    """Everything of an image; what its configuration does not say is empty."""
    image, config = value.image, _configuration(value.config_json)
    return {
        "Id": image.id,
        "RepoTags": list(image.repo_tags),
        "RepoDigests": list(image.repo_digests),
        "Parent": image.parent,
        "Comment": _comment(config),
        "Created": config.get("created") or time(image.created),
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": {**_CONFIG_DEFAULTS, **_mapping(config.get("config"))},
        "Architecture": config.get("architecture") or "",
        **({"Variant": config["variant"]} if config.get("variant") else {}),
        "Os": config.get("os") or "",
        "Size": image.size_bytes,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(value.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }


def without_empty(shown: Json) -> Json:
    """As versions since 1.52 leave out what is empty. Changes it in place."""
    for key in ("Parent", "Comment", "DockerVersion", "Author"):
        if not shown[key]:
            del shown[key]
    config = shown["Config"]
    for key in ("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "User", "Volumes", "WorkingDir"):
        if not config.get(key):
            config.pop(key, None)
    return shown


def _configuration(text: bytes) -> Json:
    try:
        return _mapping(json.loads(text or b"{}"))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _comment(config: Json) -> str:
    history = config.get("history")
    last = history[-1] if isinstance(history, list) and history else None
    return str(last.get("comment") or "") if isinstance(last, dict) else ""


def older(value: ImageDetails) -> Json:
    """What versions before 1.45 have beside `inspect`: the container that a build made it of."""
    return {
        "Container": "",
        "ContainerConfig": {**_CONFIG_DEFAULTS},
        "VirtualSize": value.image.size_bytes,
    }


def summary(value: LocalImage, *, containers: int = -1, shared_bytes: int = -1) -> Json:
    """An image as a list shows it; numbers that nobody asked for are -1."""
    return {
        "Containers": containers,
        "Created": value.created.seconds,
        "Id": value.id,
        "Labels": dict(sorted(value.labels.items())) or None,
        "ParentId": value.parent,
        "RepoDigests": list(value.repo_digests),
        "RepoTags": list(value.repo_tags),
        "SharedSize": shared_bytes,
        "Size": value.size_bytes,
        "VirtualSize": value.size_bytes,
    }


def nameless(shown: Json) -> Json:
    """As versions before 1.43 say that an image has no name: in words. Changes it in place."""
    if not shown["RepoTags"] and not shown["RepoDigests"]:
        shown["RepoTags"], shown["RepoDigests"] = [_NONE], [_NONE_DIGEST]
    return shown


def history(value: ImageHistory) -> list[Json]:
    """How it was made, the newest step first."""
    return [
        {
            "Comment": step.comment,
            "Created": step.created.seconds,
            "CreatedBy": step.created_by,
            "Id": step.id or MISSING,
            "Size": step.size_bytes,
            "Tags": list(step.tags) or None,
        }
        for step in value.steps
    ]


def removed(untagged: Iterable[str], deleted: Iterable[str]) -> list[Json]:
    """What went: names first, then images and layers."""
    return [{"Untagged": name} for name in untagged] + [{"Deleted": key} for key in deleted]


def descriptor(value: ImageDetails) -> Json | None:
    """What its name means at a registry: the index, or the one manifest; None where none is."""
    digest = value.index_digest or value.manifest_digest
    if not digest:
        return None
    own = next((m for m in value.manifests if m.digest == digest), None)
    if own is not None:
        return _descriptor(own)
    size = value.index_size_bytes
    return {"mediaType": value.index_media_type or INDEX, "digest": digest, "size": size}


def manifests(value: ImageDetails) -> list[Json]:
    """Every manifest of it, with what of each is on this host (version 1.48)."""
    return [_manifest(each, value.image) for each in value.manifests]


def _manifest(value: ImageManifest, image: LocalImage) -> Json:
    shown: Json = {
        "ID": value.digest,
        "Descriptor": _descriptor(value),
        "Available": value.available,
        "Size": {"Content": value.content_bytes, "Total": value.content_bytes},
        "Kind": ImageManifest.Kind.Name(value.kind).lower(),
    }
    if value.kind == ImageManifest.IMAGE:
        unpacked = image.size_bytes if value.image_id == image.id else 0
        shown["Size"]["Total"] += unpacked
        shown["ImageData"] = {
            "Platform": platform(value.platform),
            "Containers": [],
            "Size": {"Unpacked": unpacked},
        }
    elif value.kind == ImageManifest.ATTESTATION:
        shown["AttestationData"] = {"For": value.attests}
    return shown


def _descriptor(value: ImageManifest) -> Json:
    shown: Json = {
        "mediaType": value.media_type or MANIFEST,
        "digest": value.digest,
        "size": value.size_bytes,
    }
    if value.platform.os or value.platform.architecture:
        shown["platform"] = platform(value.platform)
    return shown


def platform(value: Platform) -> Json:
    """As OCI's documents write one."""
    shown = {"architecture": value.architecture, "os": value.os}
    return {**shown, "variant": value.variant} if value.variant else shown


def distribution(value: ResolvedImage) -> Json:
    """What a registry says of a name: its digest and platforms."""
    return {
        "Descriptor": {
            "mediaType": value.media_type or INDEX,
            "digest": value.digest,
            "size": value.size_bytes,
        },
        "Platforms": [platform(each) for each in value.platforms],
    }
