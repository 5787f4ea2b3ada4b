"""The containers of this host as a user sees them: names, images, states, from their bundles."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.agent.container_spec import IMAGE_ANNOTATION, IMAGE_ID_ANNOTATION, NAME_ANNOTATION
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.proto.control_pb2 import Filter
from swarmlite.proto.engine_pb2 import LocalContainer
from swarmlite.runtime.client import State
from swarmlite.storage.volumes.store import Volume

STATES = {"created": "created", "running": "running", "stopped": "exited"}
FILTERS = ("id", "label", "name", "status")


def read_spec(bundle: Path) -> dict[str, Any]:
    """The OCI spec of a bundle; empty when it is gone."""
    try:
        spec = json.loads((bundle / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return spec if isinstance(spec, dict) else {}


def local_container(state: State) -> LocalContainer:
    """One container with its labels."""
    spec = read_spec(state.bundle)
    annotations = spec.get("annotations", {})
    return LocalContainer(
        id=state.id,
        name=annotations.get(NAME_ANNOTATION, state.id[:12]),
        image=annotations.get(IMAGE_ANNOTATION, ""),
        command=spec.get("process", {}).get("args", []),
        state=STATES.get(state.status, state.status),
        pid=state.pid,
        exit_code=state.exit_code or 0,
        created=_moment(state.created_at),
        started=_moment(state.started_at),
        labels={k: v for k, v in annotations.items() if not k.startswith("swarmlite.")},
    )


def image_ids_in_use(states: Iterable[State]) -> set[str]:
    """Ids of the images that containers were made from."""
    specs = (read_spec(state.bundle) for state in states)
    return {spec.get("annotations", {}).get(IMAGE_ID_ANNOTATION, "") for spec in specs} - {""}


def volumes_in_use(states: Iterable[State], volumes: Iterable[Volume]) -> set[str]:
    """Names of the volumes that containers have mounted, or below which they have."""
    sources = [
        Path(str(mount.get("source", "")))
        for state in states
        for mount in read_spec(state.bundle).get("mounts", [])
        if mount.get("type") == "bind"
    ]
    return {
        volume.name
        for volume in volumes
        if any(source.is_relative_to(volume.mountpoint) for source in sources)
    }


def find(states: Iterable[State], ref: str) -> State:
    """By id, name, or an id's unique prefix. Raises NotFound, InvalidSpec when several match."""
    listed = list(states)
    for state in listed:
        if ref in (state.id, read_spec(state.bundle).get("annotations", {}).get(NAME_ANNOTATION)):
            return state
    matches = [state for state in listed if ref and state.id.startswith(ref)]
    if len(matches) > 1:
        raise InvalidSpec(f"{ref} matches {len(matches)} containers: write more of the id")
    if not matches:
        raise NotFound(f"No such container: {ref}")
    return matches[0]


def matches(container: LocalContainer, filters: Iterable[Filter]) -> bool:
    """Whether every filter holds. Raises InvalidSpec for an unknown one."""
    return all(
        any(_holds(container, entry.key, value) for value in entry.values) for entry in filters
    )


def _holds(container: LocalContainer, key: str, value: str) -> bool:
    if key == "id":
        return container.id.startswith(value)
    if key == "name":
        return value in container.name
    if key == "status":
        return container.state == value
    if key == "label":
        name, separator, wanted = value.partition("=")
        return name in container.labels and (not separator or container.labels[name] == wanted)
    raise InvalidSpec(f"invalid filter {key!r}: expected one of {', '.join(FILTERS)}")


def _moment(seconds: float) -> Timestamp | None:
    if not seconds:
        return None
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
