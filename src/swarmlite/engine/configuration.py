"""What a container's configuration may say, and what it comes to over its image's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration

from swarmlite.engine import id_ranges, network_plan, process_spec
from swarmlite.engine.oci_spec import devices, resources, security
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.model import devices as device_words
from swarmlite.model import log_drivers
from swarmlite.model.validate.container import validate_container
from swarmlite.network.api import BRIDGE
from swarmlite.proto.containers_pb2 import Container, ContainerConfig, ContainerRestartPolicy
from swarmlite.proto.types_pb2 import HealthConfig
from swarmlite.storage.images.types import Image

NAMESPACE_MODES = {
    "pid": ("", "host"),
    "ipc": ("", "private", "shareable", "host", "none"),
    "uts": ("", "private", "host"),
    "cgroupns": ("", "private", "host"),
}
JOINABLE = ("pid", "ipc")


def check(config: ContainerConfig) -> list[str]:
    """Warnings. Raises InvalidSpec for the first rule that `config` breaks."""
    validate_container(config.spec)
    for kind, allowed in NAMESPACE_MODES.items():
        _mode(kind, getattr(config.spec, f"{kind}_mode"), allowed)
    if config.spec.userns_mode not in ("", "host"):
        id_ranges.count_of(config.spec.userns_mode)
    resources.check(config.resources)
    for text in config.spec.devices:
        device_words.parse(text)
    for text in config.resources.device_cgroup_rules:
        devices.check_rule(text)
    if config.spec.shm_size_bytes < 0:
        raise InvalidSpec("SHM size can not be less than 0")
    check_restart(config.restart, auto_remove=config.auto_remove)
    network_plan.exposed_ports(config.exposed_ports)
    warnings = _network(config)
    if config.HasField("log_driver"):
        log_drivers.parse(config.log_driver.name, config.log_driver.options)
    return [*warnings, *security.check_options(config.spec)]


def others(config: ContainerConfig) -> Iterator[tuple[str, str]]:
    """The containers that it names, but its network's, each behind how an error begins."""
    for mode in (config.spec.pid_mode, config.spec.ipc_mode):
        if mode.startswith(network_plan.JOINED):
            yield "", mode.removeprefix(network_plan.JOINED)
    for text in config.volumes_from:
        yield "", text.partition(":")[0]
    if network_plan.mode_of(config) == BRIDGE:
        for place in config.networks:
            for text in place.links:
                name, _ = network_plan.link_of(text)
                yield f"could not get container for {name}: ", name


def left_out(config: ContainerConfig, cgroup: str) -> list[str]:
    """Limits that this host's cgroups do not have: taken out of `config`, with a warning each."""
    asked = config.resources
    if cgroup != "v2":
        return []
    warnings = []
    for field, given, what in (
        ("memory_swappiness", asked.memory_swappiness >= 0, "memory swappiness"),
        ("oom_kill_disable", asked.oom_kill_disable, "disabling the OOM killer"),
        ("cpu_rt_period_us", bool(asked.cpu_rt_period_us), "the CPU real-time period"),
        ("cpu_rt_runtime_us", bool(asked.cpu_rt_runtime_us), "the CPU real-time runtime"),
    ):
        if given and (field != "memory_swappiness" or asked.HasField("memory_swappiness")):
            warnings.append(f"cgroup v2 has no setting for {what}: it was left out")
            asked.ClearField(field)  # type: ignore[arg-type]
    return warnings


def _mode(kind: str, mode: str, allowed: tuple[str, ...]) -> None:
    if mode in allowed:
        return
    if kind in JOINABLE and mode.startswith("container:") and mode != "container:":
        return
    words = ", ".join(word for word in allowed if word)
    joined = ", container:NAME" if kind in JOINABLE else ""
    raise InvalidSpec(f"--{kind}: invalid {kind.upper()} mode {mode[:60]!r}: use {words}{joined}")


def check_restart(policy: ContainerRestartPolicy, *, auto_remove: bool) -> None:
    """Raise InvalidSpec for a policy that contradicts itself."""
    if policy.max_retries and policy.condition != policy.ON_FAILURE:
        raise InvalidSpec(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if auto_remove and policy.condition != policy.NO:
        raise InvalidSpec("Conflicting options: --restart and --rm")


def _network(config: ContainerConfig) -> list[str]:
    """Warnings. Raises InvalidSpec for what a mode without a stack of its own cannot have."""
    for place in config.networks:
        network_plan.check_place(place)
    mode = network_plan.mode_of(config)
    stackless = mode in network_plan.STACKLESS or mode.startswith(network_plan.JOINED)
    if not stackless:
        return []
    joined = mode.startswith(network_plan.JOINED)
    if joined and config.spec.hostname:
        raise InvalidSpec("conflicting options: hostname and the network mode")
    if joined and (config.ports or config.publish_all):
        raise InvalidSpec(
            "conflicting options: port publishing and the container type network mode"
        )
    if joined and config.spec.hosts:
        raise InvalidSpec("conflicting options: custom host-to-IP mapping and the network mode")
    if [entry for entry in config.networks if entry.network not in (mode, "")]:
        raise InvalidSpec(f"conflicting options: cannot attach both {mode} and other networks")
    if config.ports or config.publish_all:
        return [f"Published ports are discarded when using {mode} network mode"]
    return []


def settle(message: Container, image: Image) -> None:
    """Write what the configuration comes to over its image's into the record.

    Raises InvalidSpec where the image's part is malformed or nothing names a command.
    """
    base = _base(image)
    spec = message.config.spec
    message.image_id = image.id
    if not message.config.HasField("task"):
        message.wanted_networks.extend(network_plan.wanted(message.config))
    message.args.extend(process_spec.arguments(spec, base))
    message.env.extend(process_spec.merged_environment(spec, base))
    message.working_dir = process_spec.working_directory(spec, base)
    message.user = spec.user or str(base.get("User") or "")
    message.stop_signal = spec.stop_signal or str(base.get("StopSignal") or "")
    process_spec.stop_signal(spec, base)
    exposed = [
        *message.config.exposed_ports,
        *(str(port) for port in base.get("ExposedPorts") or ()),
    ]
    message.exposed_ports.extend(dict.fromkeys(exposed))
    message.labels.update(image_labels(image))
    message.labels.update(spec.labels)
    _settle_health(message, base)


def _base(image: Image) -> Mapping[str, Any]:
    config = image.config.get("config")
    return config if isinstance(config, dict) else {}


def image_labels(image: Image) -> dict[str, str]:
    """The labels of an image."""
    return {str(k): str(v) for k, v in (_base(image).get("Labels") or {}).items()}


def _settle_health(message: Container, base: Mapping[str, Any]) -> None:
    check = process_spec.health_check(message.config.spec, base)
    if check is None:
        return
    message.healthcheck.CopyFrom(
        HealthConfig(
            test=check.test,
            interval=_duration(check.interval_s),
            timeout=_duration(check.timeout_s),
            retries=check.retries,
            start_period=_duration(check.start_period_s),
            start_interval=_duration(check.start_interval_s),
        )
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1_000_000_000))
    return duration


def check_platform(config: ContainerConfig, image: Image) -> None:
    """Raises NotFound for an image of another platform than was asked for, so that it is pulled."""
    wanted = config.platform
    os = image.config.get("os") or wanted.os
    has = f"{os}/{image.config.get('architecture') or wanted.architecture}"
    if config.HasField("platform") and has != f"{wanted.os}/{wanted.architecture}":
        raise NotFound(
            f"image with reference {config.spec.image} was found but its platform ({has}) does not "
            f"match the specified platform ({wanted.os}/{wanted.architecture})"
        )
