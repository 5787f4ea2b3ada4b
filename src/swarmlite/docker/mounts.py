"""A mount as it was asked for."""

from __future__ import annotations

from swarmlite.docker.values import Json, compact, driver, kept, word
from swarmlite.proto.types_pb2 import Mount


def mount(value: Mount) -> Json:
    """One mount with the options that it says."""
    return compact(
        {
            "Type": word(Mount.Type.Name(value.type)),
            "Source": value.source,
            "Target": value.target,
            "ReadOnly": value.readonly,
            "Consistency": word(Mount.Consistency.Name(value.consistency))
            if value.consistency
            else "",
            "BindOptions": _bind(value.bind_options) if value.HasField("bind_options") else None,
            "VolumeOptions": _volume(value.volume_options)
            if value.HasField("volume_options")
            else None,
            "ImageOptions": kept(**compact({"Subpath": value.image_options.subpath}))
            if value.HasField("image_options")
            else None,
            "TmpfsOptions": _tmpfs(value.tmpfs_options)
            if value.HasField("tmpfs_options")
            else None,
        }
    )


def _volume(options: Mount.VolumeOptions) -> Json:
    return kept(
        **compact(
            {
                "NoCopy": options.nocopy,
                "Labels": dict(options.labels),
                "Subpath": options.subpath,
                "DriverConfig": driver(options.driver_config),
            }
        )
    )


def _tmpfs(options: Mount.TmpfsOptions) -> Json:
    return kept(
        **compact(
            {
                "SizeBytes": options.size_bytes,
                "Mode": options.mode,
                "Options": [option.split("=", 1) for option in options.options],
            }
        )
    )


def _bind(options: Mount.BindOptions) -> Json:
    return compact(
        {
            "Propagation": word(Mount.BindOptions.Propagation.Name(options.propagation)),
            "NonRecursive": options.nonrecursive,
            "CreateMountpoint": options.create_mountpoint,
            "ReadOnlyNonRecursive": options.readonly_nonrecursive,
            "ReadOnlyForceRecursive": options.readonly_force_recursive,
        }
    )
