"""A mount of a service or a container."""

from __future__ import annotations

from swarmlite.docker.fields import Fields
from swarmlite.proto.types_pb2 import Mount

from .values import MAX_UINT32, count, word


def mount(sent: Fields, into: Mount) -> None:
    """Write what was sent into `into`."""
    if not sent.text("Type") and sent.has("Type"):
        raise sent.wrong("Type", "must be bind, volume, tmpfs or image")
    into.type = word(sent, "Type", Mount.Type)
    into.source = sent.text("Source")
    into.target = sent.text("Target")
    into.readonly = sent.flag("ReadOnly")
    into.consistency = word(sent, "Consistency", Mount.Consistency)
    if sent.has("BindOptions"):
        into.bind_options.SetInParent()
        _bind(sent.object("BindOptions"), into.bind_options)
    if sent.has("VolumeOptions"):
        into.volume_options.SetInParent()
        _volume(sent.object("VolumeOptions"), into.volume_options)
    if sent.has("TmpfsOptions"):
        into.tmpfs_options.SetInParent()
        _tmpfs(sent.object("TmpfsOptions"), into.tmpfs_options)
    if sent.has("ImageOptions"):
        into.image_options.subpath = sent.object("ImageOptions").text("Subpath")
    if sent.has("ClusterOptions") and sent.raw("ClusterOptions"):
        raise sent.wrong("ClusterOptions", "cluster volumes are not supported yet")


def _bind(sent: Fields, into: Mount.BindOptions) -> None:
    into.propagation = word(sent, "Propagation", Mount.BindOptions.Propagation)
    into.nonrecursive = sent.flag("NonRecursive")
    into.create_mountpoint = sent.flag("CreateMountpoint")
    into.readonly_nonrecursive = sent.flag("ReadOnlyNonRecursive")
    into.readonly_force_recursive = sent.flag("ReadOnlyForceRecursive")


def _volume(sent: Fields, into: Mount.VolumeOptions) -> None:
    into.nocopy = sent.flag("NoCopy")
    into.labels.update(sent.mapping("Labels"))
    into.subpath = sent.text("Subpath")
    driver = sent.object("DriverConfig")
    name, options = driver.text("Name"), driver.mapping("Options")
    if name or options:
        into.driver_config.name = name
        into.driver_config.options.update(options)


def _tmpfs(sent: Fields, into: Mount.TmpfsOptions) -> None:
    into.size_bytes = sent.number("SizeBytes")
    into.mode = count(sent, "Mode", MAX_UINT32)
    for index, option in enumerate(sent.items("Options")):
        words = option if isinstance(option, list) else None
        if not words or len(words) > 2 or not all(isinstance(word, str) for word in words):
            raise sent.wrong(f"Options[{index}]", "expected a list of a name and an optional value")
        into.options.append("=".join(words))
