"""The process of a container: what it runs, with which environment, as whom, and its health test.

Docker's rules of merging a container spec with its image's configuration. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.model.signals import signal_number
from swarmlite.model.units import seconds
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import HealthConfig

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class HealthCheck:
    """A health test with every default filled in; times in seconds."""

    command: list[str]
    """What is run."""
    test: list[str] = field(default_factory=list)
    """What was asked: CMD and CMD-SHELL with their words."""
    interval_s: float = 30.0
    timeout_s: float = 30.0
    retries: int = 3
    start_period_s: float = 0.0
    start_interval_s: float = 5.0


def arguments(spec: ContainerSpec, image: Mapping[str, Any]) -> list[str]:
    """Entrypoint and arguments. Raises InvalidSpec when neither spec nor image names a command."""
    if list(spec.command) == [""]:  # --entrypoint "": none, not even the image's
        result = list(spec.args)
    elif spec.command:
        result = [*spec.command, *spec.args]
    else:
        result = [*(image.get("Entrypoint") or []), *(spec.args or image.get("Cmd") or [])]
    if not result:
        raise InvalidSpec("no command specified: neither the service nor its image names one")
    return result


def environment(
    spec: ContainerSpec, image: Mapping[str, Any], hostname: str, linked: Iterable[str] = ()
) -> list[str]:
    """PATH, HOSTNAME, the image's, the spec's; a later NAME=value replaces, a bare NAME removes."""
    defaults = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if spec.tty else [])]
    return _merged(defaults, linked, image.get("Env") or [], spec.env)


def merged_environment(spec: ContainerSpec, image: Mapping[str, Any]) -> list[str]:
    """As `inspect` shows it: the image's and the spec's, PATH always there."""
    return _merged([DEFAULT_PATH], image.get("Env") or [], spec.env)


def _merged(*lists: Iterable[str]) -> list[str]:
    merged: dict[str, str] = {}
    for entry in _entries(*lists):
        name, separator, value = entry.partition("=")
        if separator:
            merged[name] = value
        else:
            merged.pop(name, None)
    return [f"{name}={value}" for name, value in merged.items()]


def _entries(*lists: Iterable[str]) -> Iterable[str]:
    for entries in lists:
        yield from entries


def working_directory(spec: ContainerSpec, image: Mapping[str, Any]) -> str:
    """An absolute path. Raises InvalidSpec for another."""
    directory = spec.dir or image.get("WorkingDir") or "/"
    if not directory.startswith("/"):
        raise InvalidSpec(f"the working directory {directory!r} is not an absolute path")
    return str(directory)


def stop_signal(spec: ContainerSpec, image: Mapping[str, Any]) -> int:
    """The number of the stop signal: the spec's, the image's, or SIGTERM."""
    return signal_number(spec.stop_signal or str(image.get("StopSignal") or "") or "SIGTERM")


def rlimits(spec: ContainerSpec) -> list[dict[str, Any]]:
    """The spec's ulimits as OCI rlimits."""
    return [
        {"type": f"RLIMIT_{limit.name.upper()}", "soft": limit.soft, "hard": limit.hard}
        for limit in spec.ulimits
    ]


def capabilities(default: Sequence[str], add: Iterable[str], drop: Iterable[str]) -> list[str]:
    """The default set with `drop` taken out and `add` put in; ALL stands for every one.

    ALL among `add` is left in the result for the caller, who knows the kernel's list.
    """
    added = [_capability(name) for name in add]
    dropped = {_capability(name) for name in drop}
    kept = [] if "CAP_ALL" in dropped else [name for name in default if name not in dropped]
    return list(dict.fromkeys([*kept, *(name for name in added if name not in dropped)]))


def _capability(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def health_check(spec: ContainerSpec, image: Mapping[str, Any]) -> HealthCheck | None:
    """The health test of the spec over the image's, field by field; None without or with NONE.

    Raises InvalidSpec for a test of an unknown form.
    """
    base = image.get("Healthcheck") or {}
    own = spec.healthcheck if spec.HasField("healthcheck") else HealthConfig()
    test = list(own.test) or list(base.get("Test") or [])
    command = _test_command(test)
    if command is None:
        return None
    default = HealthCheck(command)

    def time(field: str, key: str, fallback: float) -> float:
        value = seconds(getattr(own, field)) if own.HasField(field) else 0.0  # type: ignore[arg-type]
        return value or float(base.get(key) or 0) / NANOSECONDS or fallback

    return HealthCheck(
        command=command,
        test=test,
        interval_s=time("interval", "Interval", default.interval_s),
        timeout_s=time("timeout", "Timeout", default.timeout_s),
        retries=own.retries or int(base.get("Retries") or 0) or default.retries,
        start_period_s=time("start_period", "StartPeriod", default.start_period_s),
        start_interval_s=time("start_interval", "StartInterval", default.start_interval_s),
    )


def _test_command(test: list[str]) -> list[str] | None:
    if not test or test[0] == "NONE":
        return None
    if test[0] == "CMD":
        return test[1:] or None
    if test[0] == "CMD-SHELL":
        return ["/bin/sh", "-c", *test[1:2]]
    raise InvalidSpec(f"unknown type of health check {test[0]!r}: CMD, CMD-SHELL or NONE")


def check_of(config: HealthConfig) -> HealthCheck | None:
    """The health test of a container, whose every field is set; None without one."""
    command = _test_command(list(config.test))
    if command is None:
        return None
    return HealthCheck(
        command=command,
        test=list(config.test),
        interval_s=seconds(config.interval),
        timeout_s=seconds(config.timeout),
        retries=config.retries,
        start_period_s=seconds(config.start_period),
        start_interval_s=seconds(config.start_interval),
    )
