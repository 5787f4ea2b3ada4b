"""From the values of flags to a ServiceSpec; pure but for reading the files that flags name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmlite.cli.service.changing import set_replicas
from swarmlite.cli.service.flags.lists import LISTS, apply_plain
from swarmlite.cli.service.flags.policies import POLICIES
from swarmlite.cli.service.flags.scalars import SCALARS
from swarmlite.cli.service.flags.table import apply_created, apply_scalars, apply_updated
from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack.syntax import small

MODES = ("replicated", "global", "replicated-job", "global-job", "cron")


def created(image: str, args: tuple[str, ...], values: Mapping[str, Any]) -> ServiceSpec:
    """The spec of `service create`. Raises InvalidSpec for what contradicts itself."""
    spec = ServiceSpec()
    spec.annotations.name = values["name"] or ""
    container = spec.task.container
    container.image = image
    container.args[:] = args
    container.env[:] = _variables_of_files(values["env_file"])
    apply_scalars(spec, SCALARS, values)
    apply_scalars(spec, POLICIES, values)
    apply_created(spec, LISTS, values)
    apply_plain(spec, dict(values))
    _set_mode(spec, values)
    return spec


def updated(spec: ServiceSpec, values: Mapping[str, Any]) -> ServiceSpec:
    """A copy of `spec` with what `service update` was given. Raises InvalidSpec."""
    result = ServiceSpec()
    result.CopyFrom(spec)
    container = result.task.container
    if values["image"] is not None:
        container.image = values["image"]
    if values["args"] is not None:
        container.args[:] = values["args"]
    if values["force"]:
        result.task.force_update += 1
    _forget_opposite_health(result, values)
    apply_scalars(result, SCALARS, values)
    apply_scalars(result, POLICIES, values)
    apply_updated(result, LISTS, values)
    apply_plain(result, dict(values))
    _update_numbers(result, values)
    return result


def _set_mode(spec: ServiceSpec, values: Mapping[str, Any]) -> None:
    mode, replicas, concurrent = values["mode"], values["replicas"], values["max_concurrent"]
    if mode == "cron":
        if not spec.schedule:
            raise InvalidSpec("--mode cron: --schedule is missing, for example --schedule @daily")
        mode = "replicated-job"
    if mode not in MODES:
        raise InvalidSpec(f"unknown mode {mode!r}: expected {', '.join(MODES)}")
    if concurrent is not None and mode != "replicated-job":
        raise InvalidSpec("--max-concurrent can only be used with --mode replicated-job")
    if replicas is not None and mode.startswith("global"):
        raise InvalidSpec(f"--replicas cannot be used with --mode {mode}")
    if spec.task.placement.max_replicas and mode.startswith("global"):
        raise InvalidSpec(f"--replicas-max-per-node cannot be used with --mode {mode}")
    if mode == "replicated":
        spec.replicated.replicas = 1 if replicas is None else replicas
    elif mode == "replicated-job":
        spec.replicated_job.total_completions = 1 if replicas is None else replicas
        spec.replicated_job.max_concurrent = (
            spec.replicated_job.total_completions if concurrent is None else concurrent
        )
    elif mode == "global":
        getattr(spec, "global").SetInParent()
    else:
        spec.global_job.SetInParent()


def _update_numbers(spec: ServiceSpec, values: Mapping[str, Any]) -> None:
    if values["replicas"] is not None:
        set_replicas(spec, values["replicas"])
    if values["max_concurrent"] is not None:
        if spec.WhichOneof("mode") != "replicated_job":
            raise InvalidSpec("--max-concurrent can only be used with replicated-job mode")
        spec.replicated_job.max_concurrent = values["max_concurrent"]


def _forget_opposite_health(spec: ServiceSpec, values: Mapping[str, Any]) -> None:
    """A check takes the place of "none", and "none" of a check."""
    health = spec.task.container.healthcheck
    asked = any(values.get(key) is not None for key in values if key.startswith("health_"))
    if values.get("no_healthcheck") and not asked:
        spec.task.container.ClearField("healthcheck")
    elif asked and list(health.test) == ["NONE"]:
        del health.test[:]


def _variables_of_files(paths: tuple[str, ...]) -> list[str]:
    import os

    lines: list[str] = []
    for path in paths:
        try:
            lines += small.read_env_file(Path(path))
        except InvalidSpec as error:
            raise InvalidSpec(f"--env-file {path}: {error}") from error
        except OSError as error:
            raise InvalidSpec(f"--env-file {path}: {error.strerror}") from error
    return small.environment(lines, dict(os.environ))
