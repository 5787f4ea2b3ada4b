"""Flags that set one thing of a service's container, placement or resources."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from swarmlite.cli.flagtypes import BYTES, CPUS, DURATION, SWAP, SWAPPINESS
from swarmlite.cli.lazy import COUNT, INTEGER, one_of, parsed
from swarmlite.errors import InvalidSpec
from swarmlite.model import units
from swarmlite.model.image_sources import check_sources
from swarmlite.proto.specs_pb2 import ContainerSpec, ServiceSpec
from swarmlite.proto.types_pb2 import EndpointSpec, HealthConfig, Placement
from swarmlite.stack.syntax import security

from .table import Scalar


def words(text: str) -> list[str]:
    """A command line split as a shell would. Raises InvalidSpec."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidSpec(f"unbalanced quotes in the command: {error}") from error


WORDS = parsed(words, "command")


def _container(field: str) -> Callable[[ServiceSpec, Any], None]:
    def apply(spec: ServiceSpec, value: Any) -> None:
        setattr(spec.task.container, field, value)

    return apply


def _command(spec: ServiceSpec, value: list[str]) -> None:
    spec.task.container.command[:] = value


def _grace(spec: ServiceSpec, value: int) -> None:
    spec.task.container.stop_grace_period.CopyFrom(units.duration(value))


def _health_cmd(spec: ServiceSpec, value: str) -> None:
    health = spec.task.container.healthcheck
    health.test[:] = ["CMD-SHELL", value] if value else []


def _health_duration(field: str) -> Callable[[ServiceSpec, int], None]:
    def apply(spec: ServiceSpec, value: int) -> None:
        getattr(spec.task.container.healthcheck, field).CopyFrom(units.duration(value))

    return apply


def _health_retries(spec: ServiceSpec, value: int) -> None:
    spec.task.container.healthcheck.retries = value


def _no_healthcheck(spec: ServiceSpec, value: bool) -> None:
    health = spec.task.container.healthcheck
    if value:
        if health != HealthConfig():
            raise InvalidSpec("--no-healthcheck conflicts with --health-* options")
        health.test[:] = ["NONE"]
    elif health.test[:] == ["NONE"]:
        spec.task.container.ClearField("healthcheck")


def _endpoint_mode(spec: ServiceSpec, value: EndpointSpec.Mode.ValueType) -> None:
    spec.endpoint.mode = value


def _max_replicas(spec: ServiceSpec, value: int) -> None:
    spec.task.placement.max_replicas = value


def _strategy(spec: ServiceSpec, value: Placement.Strategy.ValueType) -> None:
    spec.task.placement.strategy = value


def _rebalance(spec: ServiceSpec, value: bool) -> None:
    spec.rebalance_on_join = value


def _autoscale(field: str) -> Callable[[ServiceSpec, int], None]:
    def apply(spec: ServiceSpec, value: int) -> None:
        if field == "max" and not value:
            spec.ClearField("autoscale")
            return
        if not spec.HasField("autoscale"):
            spec.autoscale.min = 1
        setattr(spec.autoscale, field, value)

    return apply


def _limit(field: str) -> Callable[[ServiceSpec, int], None]:
    def apply(spec: ServiceSpec, value: int) -> None:
        setattr(spec.task.resources.limits, field, value)

    return apply


def _reserve(field: str) -> Callable[[ServiceSpec, int], None]:
    def apply(spec: ServiceSpec, value: int) -> None:
        setattr(spec.task.resources.reservations, field, value)

    return apply


def _resource(field: str) -> Callable[[ServiceSpec, Any], None]:
    def apply(spec: ServiceSpec, value: int | str) -> None:
        setattr(spec.task.resources, field, value)

    return apply


def _log_driver(spec: ServiceSpec, value: str) -> None:
    spec.task.log_driver.name = value


def _schedule(spec: ServiceSpec, value: str) -> None:
    spec.schedule = value


def _isolation(spec: ServiceSpec, value: str) -> None:
    spec.task.container.isolation = "" if value == "default" else value


def _sources(text: str) -> list[str]:
    sources = [word.strip() for word in text.split(",")] if text else []
    check_sources(sources)
    return sources


def _image_source(spec: ServiceSpec, value: list[str]) -> None:
    spec.task.container.pull_options.sources[:] = value


_CONTAINER = ContainerSpec.DESCRIPTOR.fields_by_name
assert {"hostname", "user", "dir", "tty", "read_only", "stop_signal"} <= set(_CONTAINER)

SCALARS = [
    Scalar(("--entrypoint",), _command, WORDS, "Overwrite the default ENTRYPOINT of the image"),
    Scalar(("-u", "--user"), _container("user"), help="Username or UID (format: NAME|UID[:GROUP])"),
    Scalar(("-w", "--workdir"), _container("dir"), help="Working directory inside the container"),
    Scalar(("--hostname",), _container("hostname"), help="Container hostname"),
    Scalar(("--init",), _container("init"), bool, "Run an init that forwards signals and reaps"),
    Scalar(("-t", "--tty"), _container("tty"), bool, "Allocate a pseudo-TTY"),
    Scalar(
        ("--read-only",), _container("read_only"), bool, "Mount the root filesystem as read only"
    ),
    Scalar(("--stop-signal",), _container("stop_signal"), help="Signal to stop the container"),
    Scalar(("--stop-grace-period",), _grace, DURATION, "Time to wait before force killing (10s)"),
    Scalar(
        ("--privileged",),
        _container("privileged"),
        bool,
        "Give tasks all of their host (on nodes that allow it)",
    ),
    Scalar(
        ("--pid",),
        _container("pid_mode"),
        parsed(security.namespace("pid")),
        "PID namespace: host (on nodes that allow it)",
    ),
    Scalar(
        ("--ipc",),
        _container("ipc_mode"),
        parsed(security.namespace("ipc")),
        "IPC namespace: private, shareable, none, host (on nodes that allow it)",
    ),
    Scalar(
        ("--uts",),
        _container("uts_mode"),
        parsed(security.namespace("uts")),
        "UTS namespace: host (on nodes that allow it)",
    ),
    Scalar(
        ("--userns",),
        _container("userns_mode"),
        parsed(security.namespace("userns")),
        "User namespace: host or auto",
    ),
    Scalar(("--shm-size",), _container("shm_size_bytes"), BYTES, "Size of /dev/shm (64m)"),
    Scalar(("--oom-score-adj",), _container("oom_score_adj"), INTEGER, "Host's OOM preferences"),
    Scalar(
        ("--image-source",),
        _image_source,
        parsed(_sources),
        help="Whom nodes ask for the image, in this order: peer, registry (peer,registry)",
    ),
    Scalar(("--isolation",), _isolation, help="Isolation mode; only default on Linux"),
    Scalar(("--health-cmd",), _health_cmd, help="Command to run to check health"),
    Scalar(("--health-interval",), _health_duration("interval"), DURATION, "Time between checks"),
    Scalar(("--health-timeout",), _health_duration("timeout"), DURATION, "Time a check may take"),
    Scalar(
        ("--health-retries",), _health_retries, COUNT, "Consecutive failures to report unhealthy"
    ),
    Scalar(
        ("--health-start-period",),
        _health_duration("start_period"),
        DURATION,
        "Start period before failures count",
    ),
    Scalar(
        ("--health-start-interval",),
        _health_duration("start_interval"),
        DURATION,
        "Time between checks during the start period",
    ),
    Scalar(("--no-healthcheck",), _no_healthcheck, bool, "Disable the image's HEALTHCHECK"),
    Scalar(
        ("--endpoint-mode",),
        _endpoint_mode,
        one_of(vip=EndpointSpec.VIP, dnsrr=EndpointSpec.DNSRR),
        "Endpoint mode (vip or dnsrr)",
    ),
    Scalar(
        ("--schedule",),
        _schedule,
        help="When a job runs, as cron(5) in UTC: '30 4 * * *', or @hourly, @daily, @weekly",
    ),
    Scalar(("--replicas-max-per-node",), _max_replicas, COUNT, "Maximum number of tasks per node"),
    Scalar(
        ("--strategy",),
        _strategy,
        one_of(spread=Placement.SPREAD, binpack=Placement.BINPACK),
        "Which nodes come first: spread (the emptiest), binpack (the fullest that fits)",
    ),
    Scalar(
        ("--rebalance",),
        _rebalance,
        one_of(never=False, on_join=True),
        "Move tasks when a node joins or comes back: never, on-join",
    ),
    Scalar(
        ("--replicas-min",), _autoscale("min"), COUNT, "Fewest tasks, where --scale-* is given (1)"
    ),
    Scalar(("--replicas-max",), _autoscale("max"), COUNT, "Most tasks; 0 scales no longer"),
    Scalar(
        ("--scale-cpu",),
        _autoscale("cpu_percent"),
        COUNT,
        "Scale so that tasks use this percentage of their cpu limit, reservation or one cpu",
    ),
    Scalar(
        ("--scale-memory",),
        _autoscale("memory_percent"),
        COUNT,
        "Scale so that tasks use this percentage of their memory limit or reservation",
    ),
    Scalar(("--limit-cpu",), _limit("nano_cpus"), CPUS, "Limit CPUs"),
    Scalar(("--limit-memory",), _limit("memory_bytes"), BYTES, "Limit Memory"),
    Scalar(("--limit-pids",), _limit("pids"), COUNT, "Limit maximum number of processes"),
    Scalar(("--reserve-cpu",), _reserve("nano_cpus"), CPUS, "Reserve CPUs"),
    Scalar(("--reserve-memory",), _reserve("memory_bytes"), BYTES, "Reserve Memory"),
    Scalar(
        ("--memory-swap",),
        _resource("memory_swap_bytes"),
        SWAP,
        "Swap bytes, -1 for unlimited",
    ),
    Scalar(
        ("--memory-swappiness",),
        _resource("memory_swappiness"),
        SWAPPINESS,
        "Swappiness (0-100)",
    ),
    Scalar(("--cpuset-cpus",), _resource("cpuset_cpus"), help="CPUs to run on (0-3, 0,1)"),
    Scalar(("--cpu-shares",), _resource("cpu_shares"), COUNT, "CPU shares (relative weight)"),
    Scalar(("--log-driver",), _log_driver, help="Logging driver for service"),
]
"""In this order they are applied: --no-healthcheck after the other health flags."""
