"""`service inspect --pretty`: a service for people, section by section in Docker's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmlite.cli.output import human
from swarmlite.docker import services as shapes
from swarmlite.model import units
from swarmlite.model.replicas import desired_replicas
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ContainerSpec, ServiceSpec
from swarmlite.proto.types_pb2 import (
    EndpointSpec,
    Limits,
    Mount,
    PortConfig,
    Resources,
    UpdateConfig,
    UpdateStatus,
)


def pretty(service: Service, networks: Mapping[str, str]) -> str:
    """The text, which begins with an empty line; `networks` are names by id."""
    spec = service.spec
    parts = [
        _head(service),
        _update_status(service.update_status),
        _placement(spec),
        _policy("UpdateConfig", spec.update) if spec.HasField("update") else (),
        _policy("RollbackConfig", spec.rollback) if spec.HasField("rollback") else (),
        _container(spec.task.container),
        _log_driver(spec),
        _resources(spec),
        _networks(spec, networks),
        _endpoint(service),
        _health(spec.task.container),
    ]
    return "\n" + "\n".join(line for part in parts for line in part) + "\n"


def _head(service: Service) -> Iterator[str]:
    spec = service.spec
    yield f"ID:\t\t{service.id}"
    yield f"Name:\t\t{spec.annotations.name}"
    if spec.annotations.labels:
        yield "Labels:"
        for key, value in sorted(spec.annotations.labels.items()):
            yield f" {key}={value}" if value else f" {key}"
    which = spec.WhichOneof("mode") or ""
    words = {"global": "Global", "replicated": "Replicated"}
    yield f"Service Mode:\t{words.get(which, which.replace('_', ' ').capitalize())}"
    if which == "replicated":
        yield f" Replicas:\t{desired_replicas(service)}"
        if spec.HasField("autoscale"):
            why = f" ({service.autoscaling.message})" if service.autoscaling.message else ""
            yield f" Scaled:\t{spec.autoscale.min} to {spec.autoscale.max}{why}"


def _update_status(status: UpdateStatus) -> Iterator[str]:
    if not status.state:
        return
    yield "UpdateStatus:"
    yield f" State:\t\t{UpdateStatus.State.Name(status.state).lower()}"
    if status.HasField("started_at"):
        yield f" Started:\t{human.ago(status.started_at)}"
    if status.state == UpdateStatus.COMPLETED and status.HasField("completed_at"):
        yield f" Completed:\t{human.ago(status.completed_at)}"
    yield f" Message:\t{status.message}"


def _placement(spec: ServiceSpec) -> Iterator[str]:
    placement = spec.task.placement
    yield "Placement:"
    if placement.constraints:
        yield f" Constraints:\t[{' '.join(placement.constraints)}]"
    if placement.preferences:
        spread = [f"spread={p.spread.spread_descriptor}" for p in placement.preferences]
        yield f" Preferences:   [{' '.join(spread)}]"
    if placement.max_replicas:
        yield f" Max Replicas Per Node:   {placement.max_replicas}"


def _policy(title: str, config: UpdateConfig) -> Iterator[str]:
    shape = shapes.update_config(config)
    yield f"{title}:"
    yield f" Parallelism:\t{config.parallelism}"
    if shape.get("Delay"):
        yield f" Delay:\t\t{units.format_duration(shape['Delay'])}"
    yield f" On failure:\t{shape['FailureAction']}"
    if shape.get("Monitor"):
        yield f" Monitoring Period: {units.format_duration(shape['Monitor'])}"
    yield f" Max failure ratio: {shape['MaxFailureRatio']:g}"
    order = "Update order:      " if title == "UpdateConfig" else "Rollback order:    "
    yield f" {order}{shape['Order']}"


def _container(spec: ContainerSpec) -> Iterator[str]:
    yield "ContainerSpec:"
    yield f" Image:\t\t{spec.image}"
    if spec.args:
        yield f" Args:\t\t{' '.join(spec.args)} "
    if spec.env:
        yield f" Env:\t\t{' '.join(spec.env)} "
    if spec.dir:
        yield f" Dir:\t\t{spec.dir}"
    if spec.HasField("init"):
        yield f" Init:\t\t{str(spec.init).lower()}"
    if spec.user:
        yield f" User: {spec.user}"
    if spec.capability_add or spec.capability_drop:
        yield "Capabilities:"
        if spec.capability_add:
            yield f" Add: {', '.join(spec.capability_add)}"
        if spec.capability_drop:
            yield f" Drop: {', '.join(spec.capability_drop)}"
    if spec.sysctls:
        yield "SysCtls:"
        for key, value in sorted(spec.sysctls.items()):
            yield f" {key}: {value}"
    if spec.ulimits:
        yield "Ulimits:"
        for limit in sorted(spec.ulimits, key=lambda u: u.name):
            yield f" {limit.name}: {limit.soft}:{limit.hard}"
    yield from _files(spec)


def _files(spec: ContainerSpec) -> Iterator[str]:
    if spec.mounts:
        yield "Mounts:"
    for mount in spec.mounts:
        yield f" Target:\t{mount.target}"
        yield f"  Source:\t{mount.source}"
        yield f"  ReadOnly:\t{str(mount.readonly).lower()}"
        yield f"  Type:\t\t{Mount.Type.Name(mount.type).lower()}"
    if spec.configs:
        yield "Configs:"
    for config in spec.configs:
        yield f" Target:\t{config.file.name}"
        yield f"  Source:\t{config.config_name}"
    if spec.secrets:
        yield "Secrets:"
    for secret in spec.secrets:
        yield f" Target:\t{secret.file.name}"
        yield f"  Source:\t{secret.secret_name}"


def _log_driver(spec: ServiceSpec) -> Iterator[str]:
    if not spec.task.HasField("log_driver"):
        return
    yield "Log Driver:"
    if spec.task.log_driver.name:
        yield f" Name:\t\t{spec.task.log_driver.name}"
    if spec.task.log_driver.options:
        yield " LogOpts:"
        for key, value in sorted(spec.task.log_driver.options.items()):
            yield f"  {key}:       {value}"
    yield ""


def _resources(spec: ServiceSpec) -> Iterator[str]:
    limits, reserved = spec.task.resources.limits, spec.task.resources.reservations
    if not (limits.nano_cpus or limits.memory_bytes or limits.pids) and not (
        reserved.nano_cpus or reserved.memory_bytes
    ):
        return
    yield "Resources:"
    if reserved.nano_cpus or reserved.memory_bytes:
        yield " Reservations:"
        yield from _amounts(reserved)
    if limits.nano_cpus or limits.memory_bytes or limits.pids:
        yield " Limits:"
        yield from _amounts(limits)
        if limits.pids:
            yield f"  PIDs:\t\t{limits.pids}"


def _amounts(value: Limits | Resources) -> Iterator[str]:
    if value.nano_cpus:
        yield f"  CPU:\t\t{units.format_cpus(value.nano_cpus)}"
    if value.memory_bytes:
        yield f"  Memory:\t{units.format_bytes(value.memory_bytes)}"


def _networks(spec: ServiceSpec, names: Mapping[str, str]) -> Iterator[str]:
    if spec.task.networks:
        shown = (names.get(n.target, n.target) for n in spec.task.networks)
        yield f"Networks: {' '.join(shown)} "


def _endpoint(service: Service) -> Iterator[str]:
    yield f"Endpoint Mode:\t{EndpointSpec.Mode.Name(service.spec.endpoint.mode).lower()}"
    ports = service.endpoint.ports or service.spec.endpoint.ports
    if ports:
        yield "Ports:"
    for index, port in enumerate(ports, 1):
        end = " " if index == len(ports) else ""  # Docker's template has it so
        yield f" PublishedPort = {port.published_port}"
        yield f"  Protocol = {PortConfig.Protocol.Name(port.protocol).lower()}"
        yield f"  TargetPort = {port.target_port}"
        if port.host_ip:
            yield f"  HostIP = {port.host_ip}"
        yield f"  PublishMode = {PortConfig.PublishMode.Name(port.publish_mode).lower()}{end}"


def _health(spec: ContainerSpec) -> Iterator[str]:
    health = spec.healthcheck
    if not spec.HasField("healthcheck"):
        return
    yield " Healthcheck:"
    yield f"  Interval = {units.format_duration(health.interval.ToNanoseconds())}"
    yield f"  Retries = {health.retries}"
    yield f"  StartPeriod =\t{units.format_duration(health.start_period.ToNanoseconds())}"
    yield f"  Timeout =\t{units.format_duration(health.timeout.ToNanoseconds())}"
    if health.test:
        yield "  Tests:"
        for index, word in enumerate(health.test, 1):
            yield f"\t Test = {word}{' ' if index == len(health.test) else ''}"
