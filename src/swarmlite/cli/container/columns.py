"""The columns of `ps`: one container as a row. Pure."""

from __future__ import annotations

from dataclasses import replace

from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Labelled, Listing, labelled
from swarmlite.docker import ports
from swarmlite.docker.container import state_word
from swarmlite.docker.statuses import status
from swarmlite.docker.values import go_time
from swarmlite.model import units
from swarmlite.proto.containers_pb2 import Container, ContainerState, MountPoint

COMMAND_WIDTH, MOUNT_WIDTH = 20, 15
LISTING = Listing(
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    {
        "ID": "CONTAINER ID",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "CreatedAt": "CREATED AT",
        "RunningFor": "CREATED",
        "Status": "STATUS",
        "Ports": "PORTS",
        "Names": "NAMES",
        "State": "STATE",
        "Size": "SIZE",
        "Labels": "LABELS",
        "Mounts": "MOUNTS",
        "Networks": "NETWORKS",
        "LocalVolumes": "LOCAL VOLUMES",
    },
)
WITH_SIZE = replace(LISTING, columns=LISTING.columns + "\t{{.Size}}")


def row(container: Container, *, no_trunc: bool, now: float, size: bool = False) -> Labelled:
    """One container's row."""
    labels = dict(container.labels)
    command = " ".join(container.args)
    shown = command if no_trunc else human.ellipsis(command, COMMAND_WIDTH)
    alive = container.state.status in _ALIVE
    image = container.config.spec.image
    fields = {
        "Command": f'"{shown}"',
        "CreatedAt": go_time(container.created),
        "ID": container.id if no_trunc else human.short_id(container.id),
        "Image": image if no_trunc else human.familiar_image(image),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "LocalVolumes": str(sum(1 for m in container.mounts if m.name)),
        "Mounts": ",".join(_mount(mount, no_trunc) for mount in container.mounts),
        "Names": container.config.name,
        "Networks": _networks(container),
        "Ports": ports.shown(container.ports if alive else (), _exposed(container)),
        "RunningFor": human.ago(container.created, now),
        "Size": _size(container) if size else "0B",
        "State": state_word(container.state),
        "Status": status(container.state, now),
    }
    return labelled(fields, labels)


_ALIVE = (ContainerState.RUNNING, ContainerState.PAUSED)


def _exposed(container: Container) -> list[str]:
    """What is exposed and not published is said while it runs."""
    if container.state.status not in _ALIVE:
        return []
    return [*container.exposed_ports, *container.config.exposed_ports]


def _mount(mount: MountPoint, no_trunc: bool) -> str:
    name = mount.name or mount.source
    return name if no_trunc else human.ellipsis(name, MOUNT_WIDTH)


def _networks(container: Container) -> str:
    names = [endpoint.network_name for endpoint in container.networks]
    return ",".join(sorted(names)) or (container.config.network_mode or "bridge")


def _size(container: Container) -> str:
    written = units.format_size(container.size_rw_bytes)
    if not container.size_root_fs_bytes:
        return written
    return f"{written} (virtual {units.format_size(container.size_root_fs_bytes)})"
