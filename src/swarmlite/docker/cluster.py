"""Nodes, secrets, configs and the swarm itself in Docker's JSON."""

from __future__ import annotations

from swarmlite.proto.objects_pb2 import Cluster, Config, Node, Secret
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import ManagerStatus, NodeRole, NodeStatus

from .services import generic
from .values import Json, compact, driver, kept, meta, named, nanoseconds, word


def node(value: Node) -> Json:
    """A node as `node inspect` shows it."""
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
                }
            ),
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
    import base64

    return {
        "ID": value.id,
        **meta(value.meta),
        "Spec": {
            **named(value.spec.annotations),
            "Data": base64.b64encode(value.spec.data).decode(),
            **compact({"Templating": driver(value.spec.templating)}),
        },
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
            "CAConfig": {"NodeCertExpiry": nanoseconds(spec.ca.node_cert_expiry)},
            "TaskDefaults": kept(),
            "EncryptionConfig": {"AutoLockManagers": spec.encryption.auto_lock_managers},
        },
        "TLSInfo": {"TrustRoot": value.root_ca.ca_cert.decode()},
        "RootRotationInProgress": False,
        "DataPathPort": value.vxlan_udp_port,
        "DefaultAddrPool": list(value.default_address_pool),
        "SubnetSize": value.subnet_size,
    }
