"""Events of containers, with Docker's attributes."""

from __future__ import annotations

from collections.abc import Callable

from swarmlite.engine.events import Events
from swarmlite.engine.records import Record
from swarmlite.proto.containers_pb2 import EndpointState

NetworkEvent = Callable[[str, Record, EndpointState], None]
"""Tells that a container was connected or disconnected."""


class ContainerEvents:
    """Tells what happens to containers, and to networks through them."""

    def __init__(self, events: Events) -> None:
        """`events` are the host's."""
        self._events = events

    def tell(self, record: Record, action: str, **attributes: str) -> None:
        """Its labels, image and name come along."""
        self._events.tell(
            "container",
            action,
            record.id,
            {
                **record.message.labels,
                "image": record.config.spec.image,
                "name": record.name,
                **attributes,
            },
        )

    def network(self, action: str, record: Record, state: EndpointState) -> None:
        """It was connected or disconnected."""
        self._events.tell(
            "network",
            action,
            state.network_id,
            {"container": record.id, "name": state.network_name},
        )
