"""The swarm's spec, and what init and join ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarmlite.docker.fields import Fields
from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ClusterSpec

from .task import driver
from .values import MAX_UINT32, SECOND, count, duration

NAME = "default"


def cluster_spec(sent: Fields) -> ClusterSpec:
    """The whole spec, as `POST /swarm/update` wants it: what is not said gets its default."""
    spec = ClusterSpec()
    spec.annotations.name = sent.text("Name") or NAME
    if spec.annotations.name != NAME:
        raise InvalidSpec(f'swarm spec must be named "{NAME}"')
    spec.annotations.labels.update(sent.mapping("Labels"))
    orchestration = sent.object("Orchestration")
    if orchestration.has("TaskHistoryRetentionLimit"):
        limit = orchestration.number("TaskHistoryRetentionLimit")
        spec.orchestration.task_history_retention_limit = limit
    dispatcher = sent.object("Dispatcher")
    if dispatcher.number("HeartbeatPeriod"):
        duration(dispatcher, "HeartbeatPeriod", spec.dispatcher.heartbeat_period)
    _raft(sent.object("Raft"), spec)
    _authority(sent.object("CAConfig"), spec)
    if sent.object("EncryptionConfig").flag("AutoLockManagers"):
        spec.encryption.auto_lock_managers = True
    defaults = sent.object("TaskDefaults")
    if defaults.has("LogDriver") and defaults.raw("LogDriver"):
        driver(defaults.object("LogDriver"), spec.task_defaults.log_driver)
    return spec


def _raft(sent: Fields, spec: ClusterSpec) -> None:
    """Numbers of Docker's own store; kept, since clients read back what they wrote."""
    for key, name, most in (
        ("SnapshotInterval", "snapshot_interval", None),
        ("LogEntriesForSlowFollowers", "log_entries_for_slow_followers", None),
        ("ElectionTick", "election_tick", MAX_UINT32),
        ("HeartbeatTick", "heartbeat_tick", MAX_UINT32),
    ):
        if value := count(sent, key, *([most] if most else [])):
            setattr(spec.raft, name, value)
    if sent.has("KeepOldSnapshots"):
        spec.raft.keep_old_snapshots = count(sent, "KeepOldSnapshots")


def _authority(sent: Fields, spec: ClusterSpec) -> None:
    if sent.number("NodeCertExpiry"):
        duration(sent, "NodeCertExpiry", spec.ca.node_cert_expiry)
    for entry in sent.objects("ExternalCAs"):
        spec.ca.external_cas.add(
            protocol=entry.text("Protocol"),
            url=entry.text("URL"),
            options=entry.mapping("Options"),
            ca_cert=entry.text("CACert").encode(),
        )
    spec.ca.signing_ca_cert = sent.text("SigningCACert").encode()
    spec.ca.signing_ca_key = sent.text("SigningCAKey").encode()
    spec.ca.force_rotate = count(sent, "ForceRotate")


@dataclass(frozen=True)
class Init:
    """`message` is for swarmlited; `spec` is what the swarm is to have, `said` whether more than
    swarmlited's message carries was said of it."""

    message: dict[str, Any]
    spec: ClusterSpec

    @property
    def said(self) -> bool:
        """Whether `spec` has to be written after the init."""
        return bool(
            self.spec.annotations.labels
            or self.spec.HasField("raft")
            or self.spec.HasField("task_defaults")
        )


def init(sent: Fields) -> Init:
    """`POST /swarm/init`. Raises InvalidSpec."""
    spec = cluster_spec(sent.object("Spec"))
    message: dict[str, Any] = {
        "op": "init",
        **_addresses(sent),
        "data_path_port": count(sent, "DataPathPort", MAX_UINT32) or None,
        "default_addr_pool": sent.texts("DefaultAddrPool"),
        "default_addr_pool_mask_length": count(sent, "SubnetSize", MAX_UINT32) or None,
        "ca_force_rotate": spec.ca.force_rotate or None,
        "force_new_cluster": sent.flag("ForceNewCluster"),
        "autolock": sent.flag("AutoLockManagers") or spec.encryption.auto_lock_managers,
    }
    if spec.ca.HasField("node_cert_expiry"):
        message["cert_expiry_s"] = spec.ca.node_cert_expiry.ToNanoseconds() / SECOND
    if spec.dispatcher.HasField("heartbeat_period"):
        period = spec.dispatcher.heartbeat_period.ToNanoseconds()
        message["dispatcher_heartbeat_s"] = period / SECOND
    if spec.HasField("orchestration"):
        message["task_history_limit"] = spec.orchestration.task_history_retention_limit
    return Init(
        {key: value for key, value in message.items() if value not in (None, "", [], False)}, spec
    )


def join(sent: Fields) -> dict[str, Any]:
    """`POST /swarm/join`, as swarmlited's message; every remote that was named, in their order."""
    remotes = [remote for remote in sent.texts("RemoteAddrs") if remote]
    if not remotes:
        raise InvalidSpec("at least 1 RemoteAddr is required to join")
    message = {
        "op": "join",
        "remote": with_port(remotes[0]),
        "token": sent.text("JoinToken"),
        **_addresses(sent),
    }
    return {key: value for key, value in message.items() if value}


def _addresses(sent: Fields) -> dict[str, Any]:
    return {
        "advertise_addr": sent.text("AdvertiseAddr"),
        "listen_addr": sent.text("ListenAddr"),
        "data_path_addr": sent.text("DataPathAddr"),
        "availability": sent.text("Availability"),
    }


def with_port(remote: str) -> str:
    """A manager's address with its port, 2377 unless said."""
    remote = remote.removeprefix("tcp://")
    return remote if ":" in remote and not remote.endswith("]") else remote + ":2377"
