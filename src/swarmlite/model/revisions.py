"""The specs that a service had before: kept with it, numbered by their versions. Pure."""

from __future__ import annotations

from datetime import datetime

from swarmlite.errors import NotFound
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ServiceSpec

KEPT = 10
KEPT_BYTES = 256 * 1024
"""Of all of them together: a service is written with each step of an update."""


def remember(service: Service, now: datetime) -> None:
    """Put the spec that is about to be replaced into the service's history, in place."""
    revision = service.history.add()
    revision.spec.CopyFrom(service.spec)
    revision.spec.task.container.pull_options.ClearField("registry_auth")
    if not revision.spec.task.container.pull_options.ByteSize():
        revision.spec.task.container.ClearField("pull_options")
    revision.spec_version.CopyFrom(service.spec_version)
    revision.replaced_at.FromDatetime(now)
    while len(service.history) > KEPT or (
        len(service.history) > 1 and sum(r.ByteSize() for r in service.history) > KEPT_BYTES
    ):
        del service.history[0]


def find(service: Service, number: int) -> ServiceSpec:
    """A copy of the spec with that number, with today's credentials. Raises NotFound."""
    for revision in service.history:
        if revision.spec_version.index == number:
            found = ServiceSpec()
            found.CopyFrom(revision.spec)
            auth = service.spec.task.container.pull_options.registry_auth
            if auth:
                found.task.container.pull_options.registry_auth = auth
            return found
    known = ", ".join(str(revision.spec_version.index) for revision in service.history)
    name = service.spec.annotations.name
    raise NotFound(f"service {name} has no revision {number}; there are: {known or 'none'}")
