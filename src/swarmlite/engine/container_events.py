"""Events of containers, with Docker's attributes."""

from __future__ import annotations

from swarmlite.engine.events import Events
from swarmlite.engine.records import Record


class ContainerEvents:
    """Tells what happens to containers."""

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
