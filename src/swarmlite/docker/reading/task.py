"""TaskTemplate: what each task of a service runs, and where."""

from __future__ import annotations

from swarmlite.docker.fields import Fields
from swarmlite.proto.specs_pb2 import TaskSpec
from swarmlite.proto.types_pb2 import (
    Driver,
    GenericResource,
    Placement,
    ResourceRequirements,
    RestartPolicy,
)

from .containerspec import container_spec
from .values import count, duration, word

_RESERVATIONS = {"NanoCPUs": "nano_cpus", "MemoryBytes": "memory_bytes"}
_LIMITS = {**_RESERVATIONS, "Pids": "pids"}


def task_spec(sent: Fields, spec: TaskSpec) -> None:
    """Write what was sent into `spec`. Raises InvalidSpec, for plugins by name."""
    _runtime(sent)
    if sent.has("ContainerSpec"):
        spec.container.SetInParent()
        container_spec(sent.object("ContainerSpec"), spec.container)
    resources(sent.object("Resources"), spec.resources)
    if sent.has("RestartPolicy"):
        spec.restart.SetInParent()
        restart_policy(sent.object("RestartPolicy"), spec.restart)
    wanted = placement(sent.object("Placement"))
    if wanted.ListFields():
        spec.placement.CopyFrom(wanted)
    driver(sent.object("LogDriver"), spec.log_driver)
    networks(sent, spec)
    spec.force_update = count(sent, "ForceUpdate")


def _runtime(sent: Fields) -> None:
    runtime = sent.text("Runtime")
    if sent.has("PluginSpec") or runtime == "plugin":
        raise sent.wrong("PluginSpec", "plugins do not run as services here")
    if sent.has("NetworkAttachmentSpec") or runtime not in ("", "container"):
        raise sent.wrong("Runtime", f"unsupported runtime {runtime[:40]!r}")


def networks(sent: Fields, spec: TaskSpec) -> None:
    """The networks that tasks attach to."""
    for entry in sent.objects("Networks"):
        network = spec.networks.add(target=entry.text("Target"))
        network.aliases.extend(entry.texts("Aliases"))
        network.addresses.extend(entry.texts("Addresses"))
        network.driver_attachment_opts.update(entry.mapping("DriverOpts"))


def resources(sent: Fields, into: ResourceRequirements) -> None:
    """Limits and Reservations; nothing is set where nothing was asked."""
    limits, reserved = sent.object("Limits"), sent.object("Reservations")
    for fields, words, message in (
        (limits, _LIMITS, into.limits),
        (reserved, _RESERVATIONS, into.reservations),
    ):
        for key, name in words.items():
            if value := fields.number(key):
                setattr(message, name, value)
    for entry in reserved.objects("GenericResources"):
        _generic(entry, into.reservations.generic.add())
    if sent.has("SwapBytes"):
        into.memory_swap_bytes = sent.number("SwapBytes")
    if sent.has("MemorySwappiness"):
        into.memory_swappiness = sent.number("MemorySwappiness")


def _generic(sent: Fields, into: GenericResource) -> None:
    if sent.has("DiscreteResourceSpec"):
        found = sent.object("DiscreteResourceSpec")
        into.kind, into.discrete = found.text("Kind"), found.number("Value")
    else:
        found = sent.object("NamedResourceSpec")
        into.kind, into.named = found.text("Kind"), found.text("Value")


def restart_policy(sent: Fields, into: RestartPolicy) -> None:
    """Condition, Delay, MaxAttempts, Window."""
    into.condition = word(sent, "Condition", RestartPolicy.Condition)
    duration(sent, "Delay", into.delay)
    into.max_attempts = count(sent, "MaxAttempts")
    duration(sent, "Window", into.window)
    into.backoff = sent.real("Backoff")  # ours, beyond Docker's
    if sent.number("MaxDelay"):
        duration(sent, "MaxDelay", into.max_delay)


def placement(sent: Fields) -> Placement:
    """Constraints, Preferences, Platforms, MaxReplicas."""
    into = Placement()
    into.constraints.extend(sent.texts("Constraints"))
    for preference in sent.objects("Preferences"):
        if preference.has("Spread"):
            descriptor = preference.object("Spread").text("SpreadDescriptor")
            into.preferences.add().spread.spread_descriptor = descriptor
    into.max_replicas = count(sent, "MaxReplicas")
    for entry in sent.objects("Platforms"):
        into.platforms.add(architecture=entry.text("Architecture"), os=entry.text("OS"))
    return into


def driver(sent: Fields, into: Driver) -> None:
    """Name and Options of a driver of logs, volumes, secrets or templates."""
    name, options = sent.text("Name"), sent.mapping("Options")
    if name or options:
        into.name = name
        into.options.update(options)
