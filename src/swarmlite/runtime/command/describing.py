"""features and spec: what this runtime knows, and a config.json to begin with."""

from __future__ import annotations

import json
import os

from swarmlite import __version__, errors
from swarmlite.kernel import scheduling
from swarmlite.kernel.libc import MACHINE
from swarmlite.runtime.command.options import Options
from swarmlite.runtime.oci import capabilities, mounts, validate
from swarmlite.runtime.seccomp import profile


def features(_options: Options) -> int:
    """The OCI's features structure."""
    words = {*mounts.ATTRIBUTES, *(f"r{word}" for word in mounts.ATTRIBUTES), *mounts.PROPAGATION}
    words |= mounts.IGNORED | mounts.OF_THE_FILESYSTEM | {"idmap", "ridmap"}
    print(
        json.dumps(
            {
                "ociVersionMin": "1.0.0",
                "ociVersionMax": "1.2.0",
                "hooks": list(validate.HOOKS),
                "mountOptions": sorted(words),
                "linux": {
                    "namespaces": sorted(validate.NAMESPACES),
                    "capabilities": capabilities.NAMES,
                    "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False,
                               "rdma": True},
                    "seccomp": {
                        "enabled": True,
                        "actions": sorted(profile.ACTIONS),
                        "operators": [f"SCMP_CMP_{word}" for word in profile.OPERATORS],
                        "archs": sorted(profile.ARCHITECTURES),
                        "knownFlags": sorted(profile.FLAGS),
                        "supportedFlags": sorted(profile.FLAGS),
                    },
                    "apparmor": {"enabled": True},
                    "selinux": {"enabled": True},
                    "intelRdt": {"enabled": False},
                    "mountExtensions": {"idmap": {"enabled": True}},
                    "netDevices": {"enabled": False},
                },
                "annotations": {
                    "swarmlite.version": __version__,
                    "swarmlite.machine": MACHINE,
                    "swarmlite.schedulers": " ".join(scheduling.POLICIES),
                },
            },
            indent=2,
        )
    )  # fmt: skip
    return 0


def spec(options: Options) -> int:
    """A config.json of Docker's defaults in the bundle; never over one that is there."""
    from swarmlite.runtime.oci.defaults import default_spec, portable

    if options.has("rootless"):
        raise errors.InvalidSpec("spec --rootless: containers are made by root here")
    made = default_spec()
    made["hostname"] = "swarmlite"
    made["process"]["terminal"] = True
    made["linux"]["cgroupsPath"] = "/swarmlite-runtime"
    path = os.path.join(options.get("bundle", "."), "config.json")  # noqa: PTH118
    try:
        with open(path, "x", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(portable(made), file, indent=2)
            file.write("\n")
    except FileExistsError as error:
        raise errors.AlreadyExists(f"{path} exists: remove it first") from error
    return 0


COMMANDS = {"features": features, "spec": spec}
