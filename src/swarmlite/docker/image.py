"""An image as Docker's inspect shows it."""

from __future__ import annotations

import json
from typing import Any

from swarmlite.docker.values import Json, time
from swarmlite.proto.images_pb2 import ImageDetails

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
        "Parent": "",
        "Comment": _comment(config),
        "Created": config.get("created") or time(image.created),
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": {**_CONFIG_DEFAULTS, **_mapping(config.get("config"))},
        "Architecture": config.get("architecture") or "",
        **({"Variant": config["variant"]} if config.get("variant") else {}),
        "Os": config.get("os") or "",
        "Size": image.size_bytes,
        "GraphDriver": {"Name": "overlay2", "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(value.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }


def _configuration(text: bytes) -> Json:
    try:
        return _mapping(json.loads(text or b"{}"))
    except ValueError:
        return {}


def _mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _comment(config: Json) -> str:
    history = config.get("history")
    last = history[-1] if isinstance(history, list) and history else None
    return str(last.get("comment") or "") if isinstance(last, dict) else ""
