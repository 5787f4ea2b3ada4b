"""Changing a service: read it, change its spec, write it against the version that was read."""

from __future__ import annotations

from collections.abc import Callable

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.errors import Conflict, InvalidSpec
from swarmlite.proto.control_pb2 import GetRequest, UpdateServiceRequest
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ServiceSpec

Change = Callable[[ServiceSpec], ServiceSpec]
Touched = tuple[str, Service | None]
"""The id of a service that was made or changed, and what it was before."""

ATTEMPTS = 2


def get(session: Session, ref: str) -> Service:
    """The service of this id or name. Raises NotFound."""
    service: Service = client.call(session.control.GetService, GetRequest(ref=ref))
    return service


def change(session: Session, ref: str, edit: Change) -> Service:
    """Write what `edit` makes of the spec; read again once when someone else was quicker.

    Answers the service as it was before, whose update status tells an old one from ours.
    """
    for attempt in range(ATTEMPTS):
        before = get(session, ref)
        request = UpdateServiceRequest(
            service_id=before.id, version=before.meta.version, spec=edit(before.spec)
        )
        try:
            client.call(session.control.UpdateService, request)
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            break
    return before


def roll_back(session: Session, ref: str, to: int = 0) -> Service:
    """Ask for the spec before, or that of number `to`; answers the service as it was."""
    before = get(session, ref)
    request = UpdateServiceRequest(
        service_id=before.id,
        version=before.meta.version,
        spec=before.spec,
        rollback=UpdateServiceRequest.PREVIOUS,
        rollback_to=to,
    )
    client.call(session.control.UpdateService, request)
    return before


def set_replicas(spec: ServiceSpec, replicas: int) -> None:
    """Scale in place. Raises InvalidSpec for a mode that has no replicas."""
    which = spec.WhichOneof("mode")
    if which == "replicated":
        spec.replicated.replicas = replicas
    elif which == "replicated_job":
        spec.replicated_job.total_completions = replicas
        spec.replicated_job.max_concurrent = replicas
    else:
        raise InvalidSpec("replicas can only be used with replicated or replicated-job mode")
