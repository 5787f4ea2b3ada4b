"""Published ports are the cluster's: two services cannot have one in ingress mode.

Unless each is published on another of the nodes' addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.manager.store.tables import Tables
from swarmlite.model.validate.endpoint import describe, meet
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.types_pb2 import PortConfig


def check_ports(view: Tables, service: Service) -> None:
    """Raise InvalidSpec when another service has a published port of `service`.

    Raises FailedPrecondition when there is no ingress network for its ports.

    Ports in host mode are each node's own: two services may have one on different nodes, which the
    scheduler sees to. With one in ingress mode they collide on every node.
    """
    ingress = [p for p in service.spec.endpoint.ports if p.publish_mode == PortConfig.INGRESS]
    if ingress and not any(n.spec.ingress and not n.pending_delete for n in view.networks):
        raise FailedPrecondition(
            f"--publish {describe(ingress[0])}: there is no ingress network; make one with"
            " network create --driver overlay --ingress ingress, or publish with mode=host"
        )
    wanted = [port for port in service.spec.endpoint.ports if port.published_port]
    if not wanted:
        return
    numbers = {port.published_port for port in wanted}
    for other in view.services:
        if other.id == service.id:
            continue
        for taken in _ports(other):
            if taken.published_port not in numbers:
                continue
            port = next((port for port in wanted if meet(port, taken)), None)
            if port is not None and PortConfig.INGRESS in (port.publish_mode, taken.publish_mode):
                raise InvalidSpec(
                    f"--publish {describe(port)}: port {port.published_port} is already in use by"
                    f" service {other.spec.annotations.name}"
                )


def _ports(service: Service) -> Iterator[PortConfig]:
    """What is asked for and what the allocator gave, which is more where it chose."""
    for ports in (service.spec.endpoint.ports, service.endpoint.ports):
        yield from (port for port in ports if port.published_port)
