"""The containers of this host as a user sees them: names, images, states, from their bundles."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.engine.container_spec import IMAGE_ANNOTATION, IMAGE_ID_ANNOTATION, NAME_ANNOTATION
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.proto.containers_pb2 import Container, ContainerConfig, ContainerState
from swarmlite.proto.control_pb2 import Filter
from swarmlite.runtime.client import State
from swarmlite.storage.volumes.store import Volume

STATES = {
    "created": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "stopped": ContainerState.EXITED,
}
FILTERS = ("id", "label", "name", "status")


def read_spec(bundle: Path) -> dict[str, Any]:
    """The OCI spec of a bundle; empty when it is gone."""
    try:
        spec = json.loads((bundle / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return spec if isinstance(spec, dict) else {}


def local_container(state: State) -> Container:
    """One container with its labels."""
    spec = read_spec(state.bundle)
    annotations = spec.get("annotations", {})
    config = ContainerConfig(name=annotations.get(NAME_ANNOTATION, state.id[:12]))
    config.spec.image = annotations.get(IMAGE_ANNOTATION, "")
    return Container(
        id=state.id,
        config=config,
        created=_moment(state.created_at),
        state=ContainerState(
            status=STATES[state.status],
            pid=state.pid,
            exit_code=state.exit_code or 0,
            started=_moment(state.started_at),
            finished=_moment(state.finished_at),
        ),
        args=spec.get("process", {}).get("args", []),
        labels={k: v for k, v in annotations.items() if not k.startswith("swarmlite.")},
    )


def status_word(container: Container) -> str:
    """Docker's word for its status."""
    return ContainerState.Status.Name(container.state.status).lower()


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
        raise InvalidSpec(f"{ref} matches {len(matches)} containers: use a longer id prefix")
    if not matches:
        raise NotFound(f"No such container: {ref}")
    return matches[0]


def matches(container: Container, filters: Iterable[Filter]) -> bool:
    """Whether every filter holds. Raises InvalidSpec for an unknown one."""
    return all(
        any(_holds(container, entry.key, value) for value in entry.values) for entry in filters
    )


def _holds(container: Container, key: str, value: str) -> bool:
    if key == "id":
        return container.id.startswith(value)
    if key == "name":
        return value in container.config.name
    if key == "status":
        return status_word(container) == value
    if key == "label":
        name, separator, wanted = value.partition("=")
        return name in container.labels and (not separator or container.labels[name] == wanted)
    raise InvalidSpec(f"invalid filter {key!r}: expected one of {', '.join(FILTERS)}")


def _moment(seconds: float) -> Timestamp | None:
    if not seconds:
        return None
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
