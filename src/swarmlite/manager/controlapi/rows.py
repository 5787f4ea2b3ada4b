"""Lists as they are printed: each service's line is kept while nothing of it has changed."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from swarmlite.model import service_rows
from swarmlite.model.naturally import naturally
from swarmlite.proto.control_pb2 import ServiceStatus
from swarmlite.proto.objects_pb2 import Service

Seen = tuple[int, int, int, int]


class Rows:
    """The lines that were made last."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Seen, Any, str]] = {}

    def text(self, services: Iterable[tuple[Service, ServiceStatus]]) -> str:
        """All of them by name: a line each, its cells separated by tabs."""
        kept = {}
        for service, status in services:
            counts = status.running_tasks, status.desired_tasks, status.completed_tasks
            seen = (service.meta.version.index, *counts)
            known = self._kept.get(service.id)
            if known is None or known[0] != seen:
                line = "\t".join(service_rows.row(service, status).values()) + "\n"
                known = seen, naturally(service.spec.annotations.name), line
            kept[service.id] = known
        self._kept = kept
        return "".join(line for _, _, line in sorted(kept.values(), key=itemgetter(1)))
