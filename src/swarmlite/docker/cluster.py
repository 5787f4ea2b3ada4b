"""Nodes, secrets, configs and the swarm itself in Docker's JSON."""

from __future__ import annotations

import base64
from functools import lru_cache

from swarmlite.model import log_drivers
from swarmlite.proto.objects_pb2 import Cluster, Config, Node, Secret
from swarmlite.proto.specs_pb2 import ExternalCA, NodeSpec, RaftConfig
from swarmlite.proto.types_pb2 import ManagerStatus, NodeRole, NodeStatus

from .services import generic
from .values import Json, compact, driver, kept, meta, named, nanoseconds, word

PLUGINS = [
    {"Type": kind, "Name": name}
    for kind, names in (
        ("Log", sorted((*log_drivers.OPTIONS, "none"))),
        ("Network", ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"]),
        ("Volume", ["local"]),
    )
    for name in names
]
"""What every node has built in."""


def node(value: Node, trust_root: bytes = b"") -> Json:
    """A node as `node inspect` shows it; `trust_root` is the cluster's certificate, in PEM."""
    described = value.description
    result: Json = {
        "ID": value.id,
        **meta(value.meta),
        "Spec": node_spec(value.spec),
        "Description": {
            "Hostname": described.hostname,
            "Platform": {
                "Architecture": described.platform.architecture,
                "OS": described.platform.os,
            },
            "Resources": compact(
                {
                    "NanoCPUs": described.resources.nano_cpus,
                    "MemoryBytes": described.resources.memory_bytes,
                    "GenericResources": generic(described.resources.generic),
                }
            ),
            "Engine": compact(
                {
                    "EngineVersion": described.engine.engine_version,
                    "Labels": dict(sorted(described.engine.labels.items())),
                    "Plugins": PLUGINS,
                }
            ),
            **({"TLSInfo": tls_info(trust_root)} if trust_root else {}),
            **({"Warnings": list(described.warnings)} if described.warnings else {}),
        },
        "Status": compact(
            {
                "State": word(NodeStatus.State.Name(value.status.state)),
                "Message": value.status.message,
                "Addr": value.status.addr,
            }
        ),
    }
    if value.HasField("manager_status"):
        status = value.manager_status
        result["ManagerStatus"] = compact(
            {
                "Leader": status.leader,
                "Reachability": word(ManagerStatus.Reachability.Name(status.reachability)),
                "Addr": status.addr,
            }
        )
    return result


def node_spec(spec: NodeSpec) -> Json:
    """Labels, Role, Availability."""
    return {
        **compact({"Name": spec.annotations.name}),
        "Labels": dict(sorted(spec.annotations.labels.items())),
        "Role": word(NodeRole.Name(spec.desired_role)),
        "Availability": word(NodeSpec.Availability.Name(spec.availability)),
        **compact({"Allowed": list(spec.allowed)}),
    }


def secret(value: Secret) -> Json:
    """A secret as `secret inspect` shows it: without its data."""
    return {
        "ID": value.id,
        **meta(value.meta),
        "Spec": {
            **named(value.spec.annotations),
            **compact(
                {
                    "Driver": driver(value.spec.driver),
                    "Templating": driver(value.spec.templating),
                }
            ),
        },
    }


def config(value: Config) -> Json:
    """A config as `config inspect` shows it: its data in base64."""
    return {
        "ID": value.id,
        **meta(value.meta),
        "Spec": {
            **named(value.spec.annotations),
            "Data": base64.b64encode(value.spec.data).decode(),
            **compact({"Templating": driver(value.spec.templating)}),
        },
    }


def _external(value: ExternalCA) -> Json:
    return {
        "Protocol": value.protocol,
        "URL": value.url,
        "Options": dict(sorted(value.options.items())),
        "CACert": value.ca_cert.decode(),
    }


def cluster(value: Cluster) -> Json:
    """The swarm: what the API's /swarm shows, join tokens left out."""
    spec = value.spec
    return {
        "ID": value.id,
        **meta(value.meta),
        "Spec": {
            **named(spec.annotations),
            "Orchestration": {
                "TaskHistoryRetentionLimit": spec.orchestration.task_history_retention_limit
            },
            "Dispatcher": {"HeartbeatPeriod": nanoseconds(spec.dispatcher.heartbeat_period)},
            "CAConfig": {
                "NodeCertExpiry": nanoseconds(spec.ca.node_cert_expiry),
                "ForceRotate": spec.ca.force_rotate,
                **compact({"ExternalCAs": [_external(each) for each in spec.ca.external_cas]}),
            },
            "Raft": raft(spec.raft),
            "TaskDefaults": kept(**compact({"LogDriver": driver(spec.task_defaults.log_driver)})),
            "EncryptionConfig": {"AutoLockManagers": spec.encryption.auto_lock_managers},
        },
        "TLSInfo": tls_info(value.root_ca.ca_cert),
        "RootRotationInProgress": value.root_ca.HasField("rotation"),
        "DataPathPort": value.vxlan_udp_port,
        "DefaultAddrPool": list(value.default_address_pool),
        "SubnetSize": value.subnet_size,
    }


def swarm(value: Cluster) -> Json:
    """What `GET /swarm` answers: the swarm with its join tokens."""
    tokens = value.root_ca.join_tokens
    return {
        **cluster(value),
        "JoinTokens": {"Worker": tokens.worker, "Manager": tokens.manager},
    }


@lru_cache(maxsize=4)
def _issuer(certificate: bytes) -> tuple[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    root = x509.load_pem_x509_certificate(certificate)
    key = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(root.subject.public_bytes()).decode(), base64.b64encode(key).decode()


def tls_info(certificate: bytes) -> Json:
    """The root that nodes trust, and who issues their certificates, as Docker names it."""
    if not certificate:
        return kept()
    subject, key = _issuer(certificate)
    return {
        "TrustRoot": certificate.decode(),
        "CertIssuerSubject": subject,
        "CertIssuerPublicKey": key,
    }


def raft(value: RaftConfig) -> Json:
    """Docker's numbers of its store, its defaults where none were written; none has an effect."""
    return {
        "SnapshotInterval": value.snapshot_interval or 10000,
        "KeepOldSnapshots": value.keep_old_snapshots,
        "LogEntriesForSlowFollowers": value.log_entries_for_slow_followers or 500,
        "ElectionTick": value.election_tick or 10,
        "HeartbeatTick": value.heartbeat_tick or 1,
    }
