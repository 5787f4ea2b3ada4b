"""What a container does, in Docker's words."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.docker.words import ago
from swarmlite.proto.containers_pb2 import ContainerState, Health


def status(state: ContainerState, now: float) -> str:
    """ "Up 3 minutes (healthy)", "Exited (0) 5 seconds ago", "Created" ..."""
    if state.status in _ALIVE:
        text = f"Up {_since(state.started, now)}"
        if state.status == ContainerState.PAUSED:
            return f"{text} (Paused)"
        health = _HEALTH.get(state.health.status, "") if state.HasField("health") else ""
        return f"{text} ({health})" if health else text
    if state.status == ContainerState.RESTARTING:
        return f"Restarting ({state.exit_code}) {ago(state.finished, now)}"
    if state.status == ContainerState.EXITED:
        return f"Exited ({state.exit_code}) {ago(state.finished, now)}"
    return _WORDS[state.status]


_HEALTH = {
    Health.STARTING: "health: starting",
    Health.HEALTHY: "healthy",
    Health.UNHEALTHY: "unhealthy",
}
_WORDS = {
    ContainerState.CREATING: "Created",
    ContainerState.CREATED: "Created",
    ContainerState.REMOVING: "Removal In Progress",
    ContainerState.DEAD: "Dead",
}


def _since(started: Timestamp, now: float) -> str:
    return ago(started, now).removesuffix(" ago")


_ALIVE = (ContainerState.RUNNING, ContainerState.PAUSED)
