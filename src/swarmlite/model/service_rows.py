"""What a list shows of a service, in Docker's words."""

from __future__ import annotations

from collections.abc import Sequence

from swarmlite.proto.control_pb2 import ServiceStatus
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.types_pb2 import PortConfig

SHORT_ID = 12


def row(service: Service, status: ServiceStatus) -> dict[str, str]:
    """Its cells by the names of their columns, in their order."""
    return {
        "ID": short_id(service.id),
        "Name": service.spec.annotations.name,
        "Mode": mode(service),
        "Replicas": replicas(service, status),
        "Image": familiar_image(service.spec.task.container.image),
        "Ports": published(service.endpoint.ports or service.spec.endpoint.ports),
    }


def short_id(identity: str) -> str:
    """The 12 characters that tables show of an id, its "sha256:" left out."""
    return identity.rpartition(":")[2][:SHORT_ID]


def familiar_image(image: str) -> str:
    """An image's name as lists show it: the digest left out when there is a tag."""
    name, at, _ = image.partition("@")
    tagged = ":" in name.rpartition("/")[2]
    return name if at and tagged else image


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
    """Ingress ports: "*:8080->80/tcp", neighbours joined as "*:8080-8081->80-81/tcp".

    Those of one address have it in place of the star.
    """
    ingress = sorted(
        (p for p in ports if p.publish_mode == PortConfig.INGRESS),
        key=lambda p: (p.protocol, p.host_ip, p.target_port, p.published_port),
    )
    ranges: list[tuple[PortConfig, int]] = []
    for port in ingress:
        if ranges:
            first, length = ranges[-1]
            if (
                (first.protocol, first.host_ip) == (port.protocol, port.host_ip)
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
    where = f"{host_of(first)}:{numbers(first.published_port)}"
    return f"{where}->{numbers(first.target_port)}/{protocol}"


def host_of(port: PortConfig) -> str:
    """The address that a port is published on, as it stands before a colon; a star for all."""
    return f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip or "*"
