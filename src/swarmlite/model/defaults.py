"""Swarm's defaults, written into specs where they are silent, and read where they still are.

A message or a duration that is not set gets its default; a number 0 that was written inside a set
message keeps its meaning (parallelism 0: all at once; max_attempts 0: no limit).
"""

from __future__ import annotations

from swarmlite.proto.specs_pb2 import ClusterSpec, ContainerSpec, NetworkSpec, ServiceSpec, TaskSpec
from swarmlite.proto.types_pb2 import FileTarget, UpdateConfig

from .units import SECOND, duration, seconds

RESTART_DELAY_S = 5.0
RESTART_MAX_DELAY_S = 300.0
MAX_EXPONENT = 64
MAX_BACKOFF = 100
STOP_GRACE_S = 10.0
MONITOR_S = 5.0
UPDATE_PARALLELISM = 1
HEARTBEAT_S = 5.0
TASK_HISTORY = 5
CERTIFICATE_EXPIRY_S = 2160 * 3600.0
NETWORK_DRIVER = "overlay"
FILE_MODE = 0o444
SECRETS_DIR = "/run/secrets"


def fill_service(spec: ServiceSpec) -> ServiceSpec:
    """A copy of `spec` that says everything that it left to defaults."""
    filled = ServiceSpec()
    filled.CopyFrom(spec)
    if filled.WhichOneof("mode") is None:
        filled.replicated.replicas = 1
    job = filled.WhichOneof("mode") in ("replicated_job", "global_job")
    _fill_task(filled.task, job)
    if filled.WhichOneof("mode") == "replicated_job":
        _fill_job(filled)
    if not job:
        filled.update.CopyFrom(update_config(filled))
        filled.rollback.CopyFrom(rollback_config(filled))
    filled.endpoint.SetInParent()
    return filled


def _fill_job(spec: ServiceSpec) -> None:
    job = spec.replicated_job
    job.total_completions = job.total_completions or 1
    job.max_concurrent = job.max_concurrent or job.total_completions


def _fill_task(task: TaskSpec, job: bool) -> None:
    container, restart = task.container, task.restart
    if job and restart.condition == restart.ANY:
        restart.condition = restart.ON_FAILURE  # what completed has done its part
    if not restart.HasField("delay"):
        restart.delay.CopyFrom(duration(int(RESTART_DELAY_S * SECOND)))
    if not container.HasField("stop_grace_period"):
        container.stop_grace_period.CopyFrom(duration(int(STOP_GRACE_S * SECOND)))
    for secret in container.secrets:
        secret.file.name = secret.file.name or secret.secret_name
        _fill_file(secret.file)
    for config in container.configs:
        if config.WhichOneof("target") != "runtime":
            config.file.name = config.file.name or "/" + config.config_name
            _fill_file(config.file)


def _fill_file(file: FileTarget) -> None:
    file.uid = file.uid or "0"
    file.gid = file.gid or "0"
    file.mode = file.mode or FILE_MODE


def update_config(spec: ServiceSpec) -> UpdateConfig:
    """How an update of this service goes, nothing left unsaid."""
    return _filled_update(spec.update if spec.HasField("update") else None)


def rollback_config(spec: ServiceSpec) -> UpdateConfig:
    """How a rollback of this service goes, nothing left unsaid."""
    return _filled_update(spec.rollback if spec.HasField("rollback") else None)


def _filled_update(config: UpdateConfig | None) -> UpdateConfig:
    filled = UpdateConfig()
    if config is None:
        filled.parallelism = UPDATE_PARALLELISM
    else:
        filled.CopyFrom(config)
    if not filled.HasField("monitor"):
        filled.monitor.CopyFrom(duration(int(MONITOR_S * SECOND)))
    if not filled.HasField("delay"):
        filled.delay.SetInParent()
    return filled


def restart_delay_s(spec: TaskSpec, failures: int = 0) -> float:
    """Seconds between the end of a task and the start of the one that replaces it.

    `failures` of its place in a row before it: with a back-off each makes the delay longer.
    """
    restart = spec.restart
    delay_s = seconds(restart.delay) if restart.HasField("delay") else RESTART_DELAY_S
    if restart.backoff <= 1 or not failures:
        return delay_s
    longest = max(delay_s, restart_max_delay_s(spec))
    return float(min(longest, delay_s * restart.backoff ** min(failures, MAX_EXPONENT)))


def restart_max_delay_s(spec: TaskSpec) -> float:
    """Seconds that a delay grows to."""
    restart = spec.restart
    return seconds(restart.max_delay) if restart.HasField("max_delay") else RESTART_MAX_DELAY_S


def stop_grace_s(spec: ContainerSpec) -> float:
    """Seconds between the stop signal and SIGKILL."""
    set_ = spec.HasField("stop_grace_period")
    return seconds(spec.stop_grace_period) if set_ else STOP_GRACE_S


def fill_network(spec: NetworkSpec) -> NetworkSpec:
    """A copy of `spec` with its driver and scope."""
    filled = NetworkSpec()
    filled.CopyFrom(spec)
    filled.driver.name = filled.driver.name or NETWORK_DRIVER
    filled.scope = filled.scope or "swarm"
    if any(":" in config.subnet for config in filled.ipam.configs):
        filled.ipv6_enabled = True
    return filled


def fill_cluster(spec: ClusterSpec) -> ClusterSpec:
    """A copy of `spec` with its periods, history and name."""
    filled = ClusterSpec()
    filled.CopyFrom(spec)
    filled.annotations.name = filled.annotations.name or "default"
    if not filled.HasField("orchestration"):
        filled.orchestration.task_history_retention_limit = TASK_HISTORY
    if not filled.dispatcher.HasField("heartbeat_period"):
        filled.dispatcher.heartbeat_period.CopyFrom(duration(int(HEARTBEAT_S * SECOND)))
    if not filled.ca.HasField("node_cert_expiry"):
        filled.ca.node_cert_expiry.CopyFrom(duration(int(CERTIFICATE_EXPIRY_S) * SECOND))
    return filled


def heartbeat_s(spec: ClusterSpec) -> float:
    """Seconds between an agent's heartbeats."""
    set_ = spec.dispatcher.HasField("heartbeat_period")
    return seconds(spec.dispatcher.heartbeat_period) if set_ else HEARTBEAT_S


def task_history_limit(spec: ClusterSpec) -> int:
    """Ended tasks kept a slot; negative: all."""
    if spec.HasField("orchestration"):
        return spec.orchestration.task_history_retention_limit
    return TASK_HISTORY
