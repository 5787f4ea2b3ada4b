"""Flags of health checks, restarts, logs, and what a container is called."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from swarmlite.cli.flagtypes import BYTES, DURATION
from swarmlite.cli.lazy import COUNT, parsed
from swarmlite.errors import InvalidSpec
from swarmlite.model.numerals import decimal
from swarmlite.model.units import duration
from swarmlite.proto.containers_pb2 import ContainerConfig, ContainerRestartPolicy
from swarmlite.proto.types_pb2 import HealthConfig, Platform
from swarmlite.stack.syntax import fields

from .table import Row, listed, text, update

CONDITIONS = {
    "no": ContainerRestartPolicy.NO,
    "on-failure": ContainerRestartPolicy.ON_FAILURE,
    "always": ContainerRestartPolicy.ALWAYS,
    "unless-stopped": ContainerRestartPolicy.UNLESS_STOPPED,
}
_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)


def restart_policy(value: str) -> ContainerRestartPolicy:
    """ "no", "on-failure[:N]", "always" or "unless-stopped". Raises InvalidSpec."""
    name, colon, retries = value.partition(":")
    condition = CONDITIONS.get(name or "no")
    if condition is None:
        raise InvalidSpec("expected no, on-failure[:MAX-RETRIES], always or unless-stopped")
    if colon and name != "on-failure":
        raise InvalidSpec("a number of retries can only be used with on-failure")
    counted = decimal(retries, 0, 2**31 - 1) if colon else 0
    if counted is None:
        raise InvalidSpec("expected a whole number of retries, as on-failure:5")
    return ContainerRestartPolicy(condition=condition, max_retries=counted)


def platform(value: str) -> Platform:
    """ "linux/amd64" or "linux". Raises InvalidSpec."""
    os, _, rest = value.partition("/")
    if os != "linux" or ("/" in value and not rest):
        raise InvalidSpec("expected linux/ARCHITECTURE, for example linux/amd64")
    return Platform(os=os, architecture=rest.partition("/")[0])


def container_name(value: str) -> str:
    """A name that Docker allows. Raises InvalidSpec."""
    if value and not _NAME.fullmatch(value):
        raise InvalidSpec(
            f"invalid container name {value!r}: letters, digits, _ . and -, at least two, the first"
            " a letter or digit"
        )
    return value.removeprefix("/")


def _copy(field: str) -> Callable[[ContainerConfig, Any], None]:
    def apply(config: ContainerConfig, value: Any) -> None:
        getattr(config, field).CopyFrom(value)

    return apply


def _health_cmd(config: ContainerConfig, value: str) -> None:
    config.spec.healthcheck.test[:] = ["CMD-SHELL", value] if value else []


def _health_duration(field: str) -> Callable[[ContainerConfig, int], None]:
    def apply(config: ContainerConfig, value: int) -> None:
        getattr(config.spec.healthcheck, field).CopyFrom(duration(value))

    return apply


def _health_retries(config: ContainerConfig, value: int) -> None:
    config.spec.healthcheck.retries = value


def _no_health(config: ContainerConfig, value: bool) -> None:
    health = config.spec.healthcheck
    if value:
        if health != HealthConfig():
            raise InvalidSpec("--no-healthcheck conflicts with --health-* options")
        health.test[:] = ["NONE"]


ROWS = [
    Row(("--name",), text("name"), parsed(container_name), "Assign a name to the container"),
    Row(("--restart",), _copy("restart"), parsed(restart_policy), "Restart policy (no)"),
    Row(("--rm",), text("auto_remove"), bool, "Automatically remove the container when it exits"),
    Row(("--platform",), _copy("platform"), parsed(platform), "Platform, as linux/amd64"),
    Row(("--shm-size",), text("spec.shm_size_bytes"), BYTES, "Size of /dev/shm"),
    Row(("--log-driver",), text("log_driver.name"), help="Logging driver for the container"),
    Row(
        ("--log-opt",),
        update("log_driver.options"),
        listed(fields.pair),
        "Log driver options",
        True,
    ),
    Row(("--health-cmd",), _health_cmd, help="Command to run to check health"),
    Row(("--health-interval",), _health_duration("interval"), DURATION, "Time between checks"),
    Row(("--health-timeout",), _health_duration("timeout"), DURATION, "Time a check may take"),
    Row(
        ("--health-retries",),
        _health_retries,
        COUNT,
        "Consecutive failures needed to report unhealthy",
    ),
    Row(
        ("--health-start-period",),
        _health_duration("start_period"),
        DURATION,
        "Time in which failures do not count yet",
    ),
    Row(
        ("--health-start-interval",),
        _health_duration("start_interval"),
        DURATION,
        "Time between checks during the start period",
    ),
    # Last, since it must not stand beside the others.
    Row(("--no-healthcheck",), _no_health, bool, "Disable any container-specified HEALTHCHECK"),
]
