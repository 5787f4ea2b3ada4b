"""A mount as it was asked for."""

from __future__ import annotations

from swarmlite.docker.values import Json, compact, driver, word
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
            "VolumeOptions": compact(
                {
                    "NoCopy": value.volume_options.nocopy,
                    "Labels": dict(value.volume_options.labels),
                    "Subpath": value.volume_options.subpath,
                    "DriverConfig": driver(value.volume_options.driver_config),
                }
            ),
            "ImageOptions": compact({"Subpath": value.image_options.subpath}),
            "TmpfsOptions": compact(
                {
                    "SizeBytes": value.tmpfs_options.size_bytes,
                    "Mode": value.tmpfs_options.mode,
                    "Options": [option.split("=", 1) for option in value.tmpfs_options.options],
                }
            ),
        }
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
