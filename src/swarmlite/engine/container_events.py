"""Events of containers, with Docker's attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from swarmlite.engine.events import Events
from swarmlite.engine.records import Record
from swarmlite.proto.containers_pb2 import EndpointState, MountPoint
from swarmlite.proto.types_pb2 import Mount

NetworkEvent = Callable[[str, Record, EndpointState], None]
"""Tells that a container was connected or disconnected."""


class ContainerEvents:
    """Tells what happens to containers, and to networks through them."""

    def __init__(self, events: Events, driver_of: Callable[[str], str]) -> None:
        """`events` are the host's; `driver_of` knows a network's driver by the network's id."""
        self._events, self._driver_of = events, driver_of

    def tell(self, record: Record, action: str, **attributes: str) -> None:
        """Its labels, image and name come along."""
        message, name = record.message, record.name

        def all_attributes() -> Mapping[str, str]:
            image = message.config.spec.image
            return {**message.labels, "image": image, "name": name, **attributes}

        self._events.tell("container", action, record.id, all_attributes)

    def exec(self, record: Record, action: str, exec_id: str, **attributes: str) -> None:
        """Something about a command in it; `action` is `exec_create: COMMAND` or the like."""
        self.tell(record, action, execID=exec_id, **attributes)

    def mounts(self, action: str, record: Record) -> None:
        """Each volume of it was mounted (`mount`) or let go (`unmount`)."""
        for point in record.message.mounts:
            if point.type == Mount.VOLUME:
                attributes = {"container": record.id, "driver": point.driver}
                if action == "mount":
                    attributes |= _mounted(point)
                self._events.tell("volume", action, point.name, attributes)

    def volumes(self, action: str, names: Iterable[str], driver: str = "local") -> None:
        """Volumes came (`create`) or went (`destroy`) with a container."""
        for name in names:
            self._events.tell("volume", action, name, {"driver": driver})

    def network(self, action: str, record: Record, state: EndpointState) -> None:
        """It was connected or disconnected."""
        self._events.tell(
            "network",
            action,
            state.network_id,
            {
                "container": record.id,
                "name": state.network_name,
                "type": self._driver_of(state.network_id),
            },
        )


def _mounted(point: MountPoint) -> dict[str, str]:
    return {
        "destination": point.destination,
        "propagation": point.propagation,
        "read/write": "true" if point.rw else "false",
    }
