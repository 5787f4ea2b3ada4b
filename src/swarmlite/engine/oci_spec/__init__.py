"""A container's configuration and image as an OCI runtime specification: what Docker makes of them.

Pure but for `devices`, which looks at the host's /dev. What can be asked and this host cannot do is
an error in words, or a warning where Docker also goes on.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmlite.engine import mount_plan, process_spec
from swarmlite.engine.oci_spec import devices, namespaces, resources, security
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.runtime.oci.defaults import default_spec, use_user_namespace

OCISpec = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """Everything that a spec is made from. Paths are of this host."""

    config: ContainerConfig
    image: Mapping[str, Any]
    """The image's `config`."""
    container_id: str
    root: Path
    annotations: Mapping[str, str]
    """More of them: how the runtime makes the root (see runtime/oci/defaults.py), and names."""
    cgroups_path: str
    hostname: str
    netns: Path
    mounts: Sequence[dict[str, Any]]
    host_network: bool = False
    joins: namespaces.Joins = field(default_factory=namespaces.Joins)
    first_id: int = 0
    id_count: int = 0
    """With a count: the container's own ids are those of the host from `first_id` on."""
    linked_env: Sequence[str] = ()
    """Variables of links; the image's and the spec's go before them."""


def build(inputs: Inputs) -> OCISpec:
    """The OCI spec. Raises InvalidSpec for what cannot be run."""
    config, base = inputs.config, _base()
    spec: OCISpec = {
        **base,
        "process": _process(inputs, base["process"]),
        "root": {"path": str(inputs.root), "readonly": config.spec.read_only},
        "hostname": inputs.hostname if config.spec.uts_mode != "host" else "",
        "mounts": _merged(base["mounts"], inputs.mounts),
        "annotations": {**base["annotations"], **config.annotations, **inputs.annotations},
        "linux": _linux(inputs, base["linux"]),
    }
    if config.spec.domainname and config.spec.uts_mode != "host":
        spec["domainname"] = config.spec.domainname
    if config.spec.init:
        spec["annotations"]["swarmlite.init"] = "true"
    namespaces.adapt_mounts(spec, config, inputs.joins)
    spec["annotations"]["swarmlite.system-mounts"] = json.dumps(_asked_for(spec, inputs))
    devices.add(spec, config)
    security.apply(spec, config)
    if inputs.id_count:
        use_user_namespace(spec, inputs.first_id, inputs.id_count)
    return spec


def _asked_for(spec: OCISpec, inputs: Inputs) -> list[str]:
    """The places of mounts that the user named or the defaults have, and no image or container."""
    named = {mount_plan.target_of(mount.target) for mount in inputs.config.spec.mounts}
    others = {mount["destination"] for mount in inputs.mounts} - named
    return [m["destination"] for m in spec["mounts"] if m["destination"] not in others]


@functools.cache
def _base() -> OCISpec:
    """The defaults, shared by all specs and changed by none: a deep copy each costs too much."""
    return default_spec()


def _process(inputs: Inputs, defaults: dict[str, Any]) -> dict[str, Any]:
    config, spec, image = inputs.config, inputs.config.spec, inputs.image
    process = dict(defaults)
    process["terminal"] = spec.tty
    if spec.tty and config.console_height and config.console_width:
        process["consoleSize"] = {"height": config.console_height, "width": config.console_width}
    process["args"] = process_spec.arguments(spec, image)
    process["env"] = process_spec.environment(spec, image, inputs.hostname, inputs.linked_env)
    process["cwd"] = process_spec.working_directory(spec, image)
    process["user"] = _user(spec.user or str(image.get("User") or "0"), list(spec.groups))
    process["rlimits"] = process_spec.rlimits(spec)
    process["capabilities"] = security.capabilities_of(spec)
    if spec.oom_score_adj:
        process["oomScoreAdj"] = spec.oom_score_adj
    return process


def _user(name: str, groups: list[str]) -> dict[str, Any]:
    """Names are looked up by the runtime in the container's own files, once it is mounted."""
    user: dict[str, Any] = {"uid": 0, "gid": 0, "username": name}
    if groups:
        user["additionalGroups"] = groups
    return user


def _merged(
    defaults: Sequence[dict[str, Any]], mounts: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Defaults that the container mounts over give way; parents come before what lies below."""
    taken = {mount["destination"] for mount in mounts}
    kept = [mount for mount in defaults if mount["destination"] not in taken]
    return kept + sorted(mounts, key=lambda mount: mount["destination"].count("/"))


def _linux(inputs: Inputs, defaults: dict[str, Any]) -> dict[str, Any]:
    sysctls = defaults["sysctl"].items()
    if inputs.host_network:  # its settings are the host's own
        sysctls = [(name, value) for name, value in sysctls if not name.startswith("net.")]
    return {
        **defaults,
        "cgroupsPath": inputs.cgroups_path,
        "namespaces": namespaces.of(inputs.config.spec, inputs.netns, inputs.joins),
        "resources": {**defaults["resources"], **resources.of(inputs.config.resources)},
        "sysctl": {**dict(sysctls), **inputs.config.spec.sysctls},
    }
