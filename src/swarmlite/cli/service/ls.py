"""`swarmlite service ls`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, filters_of, list_options
from swarmlite.cli.output.naturally import naturally
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import ListRequest, ListServicesResponse, ServiceStatus
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.types_pb2 import PortConfig

LISTING = Listing(
    "{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}",
    {
        "ID": "ID",
        "Name": "NAME",
        "Mode": "MODE",
        "Replicas": "REPLICAS",
        "Image": "IMAGE",
        "Ports": "PORTS",
        "Labels": "LABELS",
    },
)


@click.command("ls", cls=Command)
@list_options
@pass_session
def command(session: Session, filters: Any, form: str, quiet: bool) -> None:
    """List services."""
    LISTING.print(rows(session, filters), form, quiet=quiet)


def rows(session: Session, filters: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows of the services that pass the filters, by name."""
    request = ListRequest(filters=filters_of(filters))
    reply: ListServicesResponse = client.call(session.control.ListServices, request)
    ordered = sorted(reply.services, key=lambda s: naturally(s.spec.annotations.name))
    return [row(s, reply.status[s.id]) for s in ordered]


def row(service: Service, status: ServiceStatus) -> dict[str, Any]:
    """One service's row."""
    labels = sorted(service.spec.annotations.labels.items())
    return {
        "ID": human.short_id(service.id),
        "Name": service.spec.annotations.name,
        "Mode": mode(service),
        "Replicas": replicas(service, status),
        "Image": human.familiar_image(service.spec.task.container.image),
        "Ports": published(service.endpoint.ports or service.spec.endpoint.ports),
        "Labels": ",".join(f"{key}={value}" for key, value in labels),
    }


def mode(service: Service) -> str:
    """ "replicated", "replicated job"; of a scheduled one also when it runs."""
    word = (service.spec.WhichOneof("mode") or "").replace("_", " ")
    return f"{word} ({service.spec.schedule})" if service.spec.schedule else word


def replicas(service: Service, status: ServiceStatus) -> str:
    """ "2/3", "2/3 (max 1 per node)"; of a job also what has completed."""
    counted = f"{status.running_tasks}/{status.desired_tasks}"
    which = service.spec.WhichOneof("mode")
    if which == "replicated_job":
        total = service.spec.replicated_job.total_completions
        return f"{counted} ({status.completed_tasks}/{total} completed)"
    if which == "global_job":
        total = status.desired_tasks + status.completed_tasks
        return f"{counted} ({status.completed_tasks}/{total} completed)"
    most = service.spec.task.placement.max_replicas
    return f"{counted} (max {most} per node)" if most else counted


def published(ports: Sequence[PortConfig]) -> str:
    """Ingress ports: "*:8080->80/tcp", neighbours joined as "*:8080-8081->80-81/tcp"."""
    ingress = sorted(
        (p for p in ports if p.publish_mode == PortConfig.INGRESS),
        key=lambda p: (p.protocol, p.target_port, p.published_port),
    )
    ranges: list[tuple[PortConfig, int]] = []
    for port in ingress:
        if ranges:
            first, length = ranges[-1]
            if (
                first.protocol == port.protocol
                and first.published_port
                and (first.published_port + length, first.target_port + length)
                == (port.published_port, port.target_port)
            ):
                ranges[-1] = (first, length + 1)
                continue
        ranges.append((port, 1))
    return ", ".join(_range(first, length) for first, length in ranges)


def _range(first: PortConfig, length: int) -> str:
    def numbers(start: int) -> str:
        return str(start) if length == 1 else f"{start}-{start + length - 1}"

    protocol = PortConfig.Protocol.Name(first.protocol).lower()
    return f"*:{numbers(first.published_port)}->{numbers(first.target_port)}/{protocol}"
