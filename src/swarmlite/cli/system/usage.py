"""The table of `system df`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarmlite.cli.output.listing import Listing
from swarmlite.model import units
from swarmlite.proto.build_pb2 import BuildCacheEntry
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.host_pb2 import DiskUsageResponse

SUMMARY = Listing(
    "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    {
        "Type": "TYPE",
        "TotalCount": "TOTAL",
        "Active": "ACTIVE",
        "Size": "SIZE",
        "Reclaimable": "RECLAIMABLE",
    },
)
_ALIVE = (ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING)


def summary(
    usage: DiskUsageResponse, cache: Sequence[BuildCacheEntry] = ()
) -> list[dict[str, Any]]:
    """A row each for images, containers, volumes and the build cache."""
    images = usage.images
    written = sum(c.size_rw_bytes for c in usage.containers)
    idle = sum(c.size_rw_bytes for c in usage.containers if c.state.status not in _ALIVE)
    stored = sum(v.size_bytes for v in usage.volumes)
    unused = sum(v.size_bytes for v in usage.volumes if not v.used_by)
    used = {c.image_id for c in usage.containers}
    active = sum(1 for i in images if i.containers or i.id in used)
    alive = sum(1 for c in usage.containers if c.state.status in _ALIVE)
    linked = sum(1 for v in usage.volumes if v.used_by)
    layers = usage.layers_bytes
    kept = sum(entry.size_bytes for entry in cache)
    prunable = sum(e.size_bytes for e in cache if not e.in_use and not e.shared)
    busy = sum(1 for entry in cache if entry.in_use)
    return [
        _row("Images", len(images), active, layers, usage.images_reclaimable_bytes),
        _row("Containers", len(usage.containers), alive, written, idle),
        _row("Local Volumes", len(usage.volumes), linked, stored, unused),
        _row("Build Cache", len(cache), busy, kept, prunable, share=False),
    ]


def _row(
    kind: str, total: int, active: int, size: int, reclaimable: int, *, share: bool = True
) -> dict[str, Any]:
    text = units.format_size(reclaimable)
    if share and size:
        text += f" ({100 * reclaimable // size}%)"
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": units.format_size(size),
        "Reclaimable": text,
    }
