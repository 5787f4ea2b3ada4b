"""What happened lately, as `swarmlite events` tells it: the last of it, in memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from swarmlite.docker import swarmevent
from swarmlite.proto.control_pb2 import WatchResponse

KEPT = 2000
SHOWN = 50


@dataclass(frozen=True)
class Happened:
    """One line; `ids` are the objects that it is of."""

    at: str
    kind: str
    name: str
    what: str
    ids: frozenset[str]


class Events:
    """Of the whole cluster, since this process began."""

    def __init__(self) -> None:
        """Nothing happened yet."""
        self._kept: deque[Happened] = deque(maxlen=KEPT)

    def happened(self, event: WatchResponse.Event) -> None:
        """One event of a watch."""
        body = swarmevent.told(event)
        if body is None:
            return
        attributes = body["Actor"]["Attributes"]
        changes = [f"{key.removesuffix('.new')} {value}" for key, value in attributes.items()
                   if key.endswith(".new")]  # fmt: skip
        ids = {body["Actor"]["ID"], attributes.get("service", ""), attributes.get("node", "")}
        self._kept.append(Happened(
            f"{datetime.fromtimestamp(body['time'], UTC):%Y-%m-%d %H:%M:%S}",
            body["Type"],
            attributes["name"],
            ", ".join([body["Action"], *changes]),
            frozenset(ids - {""}),
        ))  # fmt: skip

    def of(self, object_id: str) -> list[Happened]:
        """The last ones of a service, a node or a task, the newest first."""
        found = [each for each in reversed(self._kept) if object_id in each.ids]
        return found[:SHOWN]
