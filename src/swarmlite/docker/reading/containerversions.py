"""What a client of one version can mean by the body of /containers/create, and what it is told.

As Docker's server has it: some fields of a later version are not heard from an older client, others
are refused, since the container would not be what the client thinks.
"""

from __future__ import annotations

from typing import Literal

from swarmlite.docker.fields import Fields
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.proto.types_pb2 import Mount

Kind = Literal["bind_options", "volume_options", "tmpfs_options"]
OPTIONS: dict[Kind, tuple[Mount.Type.ValueType, str]] = {
    "bind_options": (Mount.BIND, "BindOptions"),
    "volume_options": (Mount.VOLUME, "VolumeOptions"),
    "tmpfs_options": (Mount.TMPFS, "TmpfsOptions"),
}
"""The type of mount that each kind of options is of, and its name in the API."""
_STACKLESS = ("host", "none")


def as_meant(made: ContainerConfig, sent: Fields, minor: int) -> list[str]:
    """Warnings; `made`, which was read of `sent`, without what 1.`minor` has not, in place.

    Raises InvalidSpec.
    """
    for mount in made.spec.mounts:
        _mount(mount, minor)
    if minor < 40:
        made.spec.ipc_mode = made.spec.ipc_mode or "shareable"
    if minor < 42:
        made.ClearField("console_height")
        made.ClearField("console_width")
    if minor < 43:
        made.annotations.clear()
    if minor < 44 and made.spec.HasField("healthcheck"):
        made.spec.healthcheck.ClearField("start_interval")
    if minor < 44 and len(made.networks) > 1:
        names = ", ".join(place.network for place in made.networks)
        raise InvalidSpec(f"Container cannot be created with multiple network endpoints: {names}")
    _mac_address(made, sent, minor)
    return _warnings(sent, minor)


def _mount(mount: Mount, minor: int) -> None:
    for field, (kind, name) in OPTIONS.items():
        if not mount.HasField(field) or mount.type == kind:
            continue
        if minor >= 42:
            word = Mount.Type.Name(mount.type).lower()
            raise InvalidSpec(f'{name} must not be specified on mount type "{word}"')
        mount.ClearField(field)  # which was not looked at
    if minor < 40 and mount.HasField("bind_options"):
        mount.bind_options.nonrecursive = False
    if minor < 46 and mount.HasField("tmpfs_options") and mount.tmpfs_options.size_bytes:
        mount.tmpfs_options.ClearField("options")
    for what, since, asked in (
        ("BindOptions.ReadOnlyForceRecursive", 44, mount.bind_options.readonly_force_recursive),
        ("VolumeOptions.Subpath", 45, mount.volume_options.subpath),
        ('Mount type "Image"', 48, mount.type == Mount.IMAGE),
    ):
        if asked and minor < since:
            raise InvalidSpec(f"{what} needs API v1.{since} or newer")


def _mac_address(made: ContainerConfig, sent: Fields, minor: int) -> None:
    """Of the whole container up to 1.51, of each place on a network since 1.44."""
    whole, mode = sent.text("MacAddress"), made.network_mode
    if not whole:
        if minor < 44:  # by which nobody could ask for one
            for place in made.networks:
                place.ClearField("mac_address")
        return
    if minor >= 52:
        raise InvalidSpec(
            "container-wide MAC address no longer supported; use endpoint-specific MAC address"
            " instead"
        )
    if minor < 44 and (mode in _STACKLESS or mode.startswith("container:")):
        raise InvalidSpec("conflicting options: mac-address and the network mode")


def _warnings(sent: Fields, minor: int) -> list[str]:
    host, told = sent.object("HostConfig"), []
    if (
        minor >= 48
        and host.text("VolumeDriver")
        and any(map(_of_no_driver, host.objects("Mounts")))
    ):
        told.append(
            "WARNING: the container-wide volume-driver configuration is ignored for volumes"
            " specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead"
        )
    if minor >= 44 and sent.text("MacAddress"):
        told.append(
            "The container-wide MacAddress field is now deprecated. It should be specified in"
            " EndpointsConfig instead."
        )
    empty = [port for port, bindings, _ in host.entries("PortBindings") if not bindings]
    if minor >= 52 and empty:
        told.append(
            f"Following container port(s) have an empty list of port-bindings: {', '.join(empty)}."
            " Such bindings will be discarded in a future version."
        )
    return told


def _of_no_driver(mount: Fields) -> bool:
    driver = mount.object("VolumeOptions").object("DriverConfig").text("Name")
    return mount.text("Type").lower() == "volume" and not driver
