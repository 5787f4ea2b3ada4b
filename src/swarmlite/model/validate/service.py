"""What a service spec may say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from swarmlite.errors import InvalidSpec
from swarmlite.model import constraints, devices, log_drivers, schedule, units
from swarmlite.model.defaults import MAX_BACKOFF
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.model.resource_words import MAX_WORD
from swarmlite.proto.specs_pb2 import Dependency, ServiceSpec, TaskSpec
from swarmlite.proto.types_pb2 import (
    GenericResource,
    NetworkAttachmentConfig,
    Placement,
    Privileges,
    RestartPolicy,
    UpdateConfig,
)

from . import checks
from .container import validate_container
from .endpoint import validate_endpoint
from .unsupported import check_service

MIN_NANO_CPUS = 1_000_000
MIN_MEMORY_BYTES = 4 * 1024 * 1024
MAX_NANO_CPUS = 1_000_000 * units.SECOND
MAX_MEMORY_BYTES = 2**60
MAX_REPLICAS = 1_000_000
NAMESPACES = {
    "pid": ("host",),
    "ipc": ("private", "shareable", "host", "none"),
    "uts": ("private", "host"),
    "userns": ("host", "auto"),
}


@checks.in_one_line
def validate_service(spec: ServiceSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks. Defaults need not be filled in."""
    checks.dns_name("service name", spec.annotations.name)
    checks.object_labels("service", spec.annotations)
    checks.size(f"service {spec.annotations.name}", spec, checks.MAX_SPEC_BYTES)
    if not spec.HasField("task") or not spec.task.HasField("container"):
        raise InvalidSpec("service: a container must be provided")
    check_service(spec)
    validate_container(spec.task.container)
    for rule in RULES:
        rule(spec)


@checks.in_one_line
def validate_change(old: ServiceSpec, new: ServiceSpec) -> None:
    """Raise InvalidSpec for a change that no update may make."""
    if old.annotations.name != new.annotations.name:
        raise InvalidSpec(
            f"service name: renaming {old.annotations.name} to {new.annotations.name[:63]!r}"
            " is not supported"
        )
    if old.WhichOneof("mode") != new.WhichOneof("mode"):
        raise InvalidSpec(
            f"--mode: service {old.annotations.name} is {_mode(old)} and stays so: a change to"
            f" {_mode(new)} is not allowed"
        )


_CPU_SET = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?){0,63}", re.ASCII)


def _mode(spec: ServiceSpec) -> str:
    return (spec.WhichOneof("mode") or "replicated").replace("_", "-")


def _modes(spec: ServiceSpec) -> None:
    job = spec.WhichOneof("mode") in ("replicated_job", "global_job")
    if spec.schedule:
        if not job:
            raise InvalidSpec("--schedule: only a job has one: --mode replicated-job or global-job")
        schedule.check(spec.schedule)
    if spec.rebalance_on_join and spec.WhichOneof("mode") not in (None, "replicated"):
        raise InvalidSpec("--rebalance: only a replicated service is rebalanced")
    if spec.HasField("autoscale"):
        _autoscale(spec)
    if spec.stopped and job and not spec.schedule:
        raise InvalidSpec("a job is not stopped: scale it to 0, or remove it")
    checks.between("--replicas", spec.replicated.replicas, 0, MAX_REPLICAS)
    checks.between("--replicas", spec.replicated_job.total_completions, 0, MAX_REPLICAS)
    checks.between("--max-concurrent", spec.replicated_job.max_concurrent, 0, MAX_REPLICAS)
    if spec.WhichOneof("mode") in ("replicated_job", "global_job"):
        for name in ("update", "rollback"):
            if spec.HasField(name):
                raise InvalidSpec(f"--{name}-*: a job has no {name} config")


def _autoscale(spec: ServiceSpec) -> None:
    scale, resources = spec.autoscale, spec.task.resources
    if not scale.max:
        raise InvalidSpec(
            "--replicas-min, --scale-cpu and --scale-memory need --replicas-max: how many at most"
        )
    if spec.WhichOneof("mode") not in (None, "replicated"):
        raise InvalidSpec("--replicas-max: only a replicated service is scaled")
    checks.between("--replicas-min", scale.min, 1, MAX_REPLICAS)
    checks.between("--replicas-max", scale.max, 1, MAX_REPLICAS)
    if scale.min > scale.max:
        raise InvalidSpec(f"--replicas-min: {scale.min} is above --replicas-max {scale.max}")
    checks.between("--scale-cpu", scale.cpu_percent, 0, 1000)
    checks.between("--scale-memory", scale.memory_percent, 0, 100)
    if not scale.cpu_percent and not scale.memory_percent:
        raise InvalidSpec("--replicas-max: needs --scale-cpu or --scale-memory: what to scale by")
    known = resources.limits.memory_bytes or resources.reservations.memory_bytes
    if scale.memory_percent and not known:
        raise InvalidSpec("--scale-memory: is of --limit-memory or --reserve-memory: give one")


def _generic(reserved: Iterable[GenericResource]) -> None:
    for one in reserved:
        if not one.kind:
            raise InvalidSpec("--generic-resource: one of them names no kind: expected gpu=2")
        checks.text("--generic-resource", one.kind)
        checks.text("--generic-resource", one.named)
        if len(one.kind) > MAX_WORD or len(one.named) > MAX_WORD:
            raise InvalidSpec(f"--generic-resource: a word has more than {MAX_WORD} characters")
        if not one.named and not 0 < one.discrete < 2**53:
            raise InvalidSpec(f"--generic-resource {one.kind}: expected a count, 1 or more")


def _resources(spec: ServiceSpec) -> None:
    resources = spec.task.resources
    limits, reservations = resources.limits, resources.reservations
    _generic(reservations.generic)
    for word, values in (("limit", limits), ("reserve", reservations)):
        _cpus(f"--{word}-cpu", values.nano_cpus)
        _memory(f"--{word}-memory", values.memory_bytes)
    checks.between("--limit-pids", limits.pids, 0, 2**22)
    if limits.nano_cpus and reservations.nano_cpus > limits.nano_cpus:
        raise InvalidSpec("--reserve-cpu: is above --limit-cpu")
    if limits.memory_bytes and reservations.memory_bytes > limits.memory_bytes:
        raise InvalidSpec("--reserve-memory: is above --limit-memory")
    if resources.cpuset_cpus and not _CPU_SET.fullmatch(resources.cpuset_cpus):
        raise InvalidSpec("--cpuset-cpus: expected numbers and ranges, such as 0-2,4")
    checks.between("--cpu-shares", resources.cpu_shares, 0, 2**18)
    _swap(spec.task)


def _swap(task: TaskSpec) -> None:
    resources = task.resources
    if resources.HasField("memory_swap_bytes"):
        if not resources.limits.memory_bytes:
            raise InvalidSpec("--memory-swap: needs --limit-memory")
        checks.between("--memory-swap", resources.memory_swap_bytes, -1, MAX_MEMORY_BYTES)
    if resources.HasField("memory_swappiness"):
        checks.between("--memory-swappiness", resources.memory_swappiness, 0, 100)


def _cpus(where: str, value: int) -> None:
    if value and value < MIN_NANO_CPUS:
        raise InvalidSpec(f"{where}: {units.format_cpus(value)} is too low, 0.001 CPU at least")
    checks.between(where, value, 0, MAX_NANO_CPUS)


def _memory(where: str, value: int) -> None:
    if value and value < MIN_MEMORY_BYTES:
        raise InvalidSpec(f"{where}: {value} bytes are too few, 4MiB at least")
    checks.between(where, value, 0, MAX_MEMORY_BYTES)


def _restart(spec: ServiceSpec) -> None:
    restart = spec.task.restart
    checks.member("--restart-condition", restart.condition, RestartPolicy.Condition)
    checks.duration("--restart-delay", restart.delay)
    checks.duration("--restart-window", restart.window)
    checks.duration("--restart-max-delay", restart.max_delay)
    if restart.backoff and not 1 <= restart.backoff <= MAX_BACKOFF:
        raise InvalidSpec(f"--restart-backoff: expected a factor from 1 to {MAX_BACKOFF}")


def _updates(spec: ServiceSpec) -> None:
    for name, config in (("update", spec.update), ("rollback", spec.rollback)):
        checks.duration(f"--{name}-delay", config.delay)
        checks.duration(f"--{name}-monitor", config.monitor)
        checks.duration(f"--{name}-progress-deadline", config.progress_deadline)
        checks.between(f"--{name}-parallelism", config.parallelism, 0, MAX_REPLICAS)
        checks.between(f"--{name}-max-failure-ratio", config.max_failure_ratio, 0, 1)
        where = f"--{name}-failure-action"
        checks.member(where, config.failure_action, UpdateConfig.FailureAction)
        checks.member(f"--{name}-order", config.order, UpdateConfig.Order)
    checks.between("--update-canary", spec.update.canary, 0, MAX_REPLICAS)
    if spec.rollback.canary or spec.rollback.canary_by_hand:
        raise InvalidSpec("rollback: a rollback has no canaries, only an update")
    if spec.update.canary_by_hand and not spec.update.canary:
        raise InvalidSpec("--update-canary-promote: only valid with --update-canary")
    if spec.rollback.failure_action == UpdateConfig.ROLLBACK:
        raise InvalidSpec("--rollback-failure-action: a rollback pauses or continues")


def _placement(spec: ServiceSpec) -> None:
    placement = spec.task.placement
    constraints.parse(placement.constraints)
    for preference in placement.preferences:
        if preference.WhichOneof("preference") is None:
            raise InvalidSpec("--placement-pref: expected spread=node.labels.NAME")
        constraints.check_spread(preference.spread.spread_descriptor)
    checks.member("--strategy", placement.strategy, Placement.Strategy)
    checks.between("--replicas-max-per-node", placement.max_replicas, 0, MAX_REPLICAS)
    if placement.max_replicas and spec.WhichOneof("mode") in ("global", "global_job"):
        raise InvalidSpec("--replicas-max-per-node: only valid with --mode replicated")
    for platform in placement.platforms:
        checks.text("platform", platform.os + platform.architecture)


def _networks(spec: ServiceSpec) -> None:
    targets = [network.target for network in spec.task.networks]
    checks.unique("--network", targets)
    for network in spec.task.networks:
        checks.object_name("--network", network.target, longest=255)
        for alias in network.aliases:
            checks.host_name(f"--network {network.target}: alias", alias)
        if network.addresses:
            _fixed_addresses(spec, network)
    own = PREDEFINED_NETWORKS.intersection(targets)
    if own and len(targets) > 1:
        raise InvalidSpec(f"--network {min(own)}: cannot be combined with other networks")
    if own and any(p.publish_mode == p.INGRESS for p in spec.endpoint.ports):
        raise InvalidSpec(
            f"--publish: ports of a service on network {min(own)} need mode=host or no publishing"
        )


def _fixed_addresses(spec: ServiceSpec, network: NetworkAttachmentConfig) -> None:
    """One for each slot, of IPv4 and of IPv6 or of one of them."""
    where = f"--network {network.target}: ip"
    if spec.WhichOneof("mode") not in (None, "replicated"):
        raise InvalidSpec(f"{where}: fixed addresses are for replicated services")
    if network.target in PREDEFINED_NETWORKS:
        raise InvalidSpec(f"{where}: each node gives the addresses of this network")
    if UpdateConfig.START_FIRST in (spec.update.order, spec.rollback.order):
        raise InvalidSpec(
            f"{where}: two tasks cannot have it at once, use --update-order stop-first"
        )
    found = [checks.address(where, text) for text in network.addresses]
    checks.unique(where, [str(address) for address in found])
    for version in (4, 6):
        count = sum(address.version == version for address in found)
        if 0 < count < spec.replicated.replicas:
            raise InvalidSpec(
                f"{where}: {count} IPv{version} address{'es' * (count > 1)} for"
                f" {spec.replicated.replicas} replicas, name one for each"
            )


def _host(spec: ServiceSpec) -> None:
    """What a container shares with its host: a service's tasks join no other container."""
    container = spec.task.container
    for kind, words in NAMESPACES.items():
        mode = getattr(container, f"{kind}_mode")
        if mode and mode not in words and not (kind == "userns" and mode.startswith("auto:size=")):
            raise InvalidSpec(f"--{kind} {mode[:60]!r}: expected {', '.join(words)}")
    for text in container.devices:
        devices.parse(text)
    checks.unique("--device", [devices.target(text) for text in container.devices])
    for option in container.security_options:
        kind, _, value = option.partition("=")
        known = kind in ("label", "apparmor") or option == "systempaths=unconfined"
        if not known or not value or not option.isprintable():
            raise InvalidSpec(f"--security-opt {option[:60]!r}: unknown")
    _seccomp(container.privileges.seccomp)


def _seccomp(asked: Privileges.SeccompOpts) -> None:
    checks.member("--security-opt seccomp", asked.mode, Privileges.SeccompOpts.Mode)
    if asked.mode != Privileges.SeccompOpts.CUSTOM:
        return
    try:
        good = isinstance(json.loads(asked.profile), dict)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise InvalidSpec("--security-opt seccomp: the profile is not a JSON object")


def _dependencies(spec: ServiceSpec) -> None:
    for dependency in spec.depends_on:
        checks.dns_name("--depends-on", dependency.service)
        checks.member("--depends-on", dependency.condition, Dependency.Condition)
        if dependency.service == spec.annotations.name:
            raise InvalidSpec(
                f"--depends-on {dependency.service}: a service cannot wait for itself"
            )
    checks.unique("--depends-on", [dependency.service for dependency in spec.depends_on])


def _log_driver(spec: ServiceSpec) -> None:
    log_drivers.parse(spec.task.log_driver.name, spec.task.log_driver.options)


def _endpoint(spec: ServiceSpec) -> None:
    validate_endpoint(spec.endpoint)


RULES: tuple[Callable[[ServiceSpec], None], ...] = (
    _modes,
    _resources,
    _restart,
    _updates,
    _placement,
    _networks,
    _host,
    _dependencies,
    _log_driver,
    _endpoint,
)
