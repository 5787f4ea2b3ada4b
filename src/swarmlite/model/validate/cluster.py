"""What a cluster spec may say."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.model import log_drivers
from swarmlite.model.units import seconds
from swarmlite.proto.specs_pb2 import ClusterSpec

from . import checks
from .unsupported import check_cluster

MIN_EXPIRY_S = 3600
MIN_HEARTBEAT_S = 0.1
MAX_HEARTBEAT_S = 3600


@checks.in_one_line
def validate_cluster(spec: ClusterSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks. Defaults need not be filled in."""
    check_cluster(spec)
    checks.object_labels("cluster", spec.annotations)
    checks.size("cluster", spec, checks.MAX_SPEC_BYTES)
    driver = spec.task_defaults.log_driver
    if driver.name or driver.options:
        log_drivers.parse(driver.name, driver.options)
    limit = spec.orchestration.task_history_retention_limit
    checks.between("--task-history-limit", limit, -1, 1_000_000)
    if spec.ca.HasField("node_cert_expiry"):
        checks.duration("--cert-expiry", spec.ca.node_cert_expiry)
        if seconds(spec.ca.node_cert_expiry) < MIN_EXPIRY_S:
            raise InvalidSpec("--cert-expiry: must be 1h or more")
    if spec.dispatcher.HasField("heartbeat_period"):
        period = spec.dispatcher.heartbeat_period
        where = "--dispatcher-heartbeat"
        checks.duration(where, period)
        checks.between(f"{where} in seconds", seconds(period), MIN_HEARTBEAT_S, MAX_HEARTBEAT_S)
