"""How many replicas a service is to have: as its spec says, or as autoscaling found."""

from __future__ import annotations

from swarmlite.proto.objects_pb2 import Service


def desired_replicas(service: Service) -> int:
    """Of a replicated service."""
    spec = service.spec
    if not spec.HasField("autoscale"):
        return spec.replicated.replicas
    found = service.autoscaling.replicas or spec.replicated.replicas
    return max(spec.autoscale.min, min(spec.autoscale.max, found))
