"""What `swarm init` asks for, checked and with its defaults, as the cluster's first objects."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from swarmlite.errors import InvalidSpec
from swarmlite.identity.lock import new_key
from swarmlite.ids import new_id
from swarmlite.manager.ca import external, tokens
from swarmlite.manager.ca.root import RootCA
from swarmlite.model import subnets
from swarmlite.model.defaults import fill_cluster
from swarmlite.proto.objects_pb2 import Cluster, Network
from swarmlite.proto.specs_pb2 import ExternalCA, NodeSpec

DATA_PATH_PORT = 4789
DEFAULT_POOL = "10.0.0.0/8"
DEFAULT_SUBNET_SIZE = 24
MINIMUM_EXPIRY_S = 3600


def cluster(request: Mapping[str, Any], root: RootCA) -> Cluster:
    """The cluster object. Raises InvalidSpec naming the flag that is wrong."""
    made = Cluster(id=new_id())
    spec = made.spec
    spec.annotations.name = "default"
    spec.orchestration.task_history_retention_limit = _number(request, "task_history_limit", 5)
    spec.dispatcher.heartbeat_period.FromMilliseconds(
        int(1000 * _seconds(request, "dispatcher_heartbeat_s", 5))
    )
    expiry_s = int(_seconds(request, "cert_expiry_s", 90 * 24 * 3600))
    if expiry_s < MINIMUM_EXPIRY_S:
        raise InvalidSpec(f"--cert-expiry must be at least 1h, not {expiry_s}s")
    spec.ca.node_cert_expiry.seconds = expiry_s
    # The root is new: whatever rotation is asked for has taken place.
    spec.ca.force_rotate = _number(request, "ca_force_rotate", 0)
    spec.ca.external_cas.extend(external_cas(request))
    spec.encryption.auto_lock_managers = bool(request.get("autolock"))
    if spec.encryption.auto_lock_managers:
        made.unlock_key = new_key()
    spec.CopyFrom(fill_cluster(spec))
    _authorize(made, root)
    made.vxlan_udp_port = data_path_port(request)
    pools, size = _pools(request)
    made.default_address_pool.extend(pools)
    made.subnet_size = size
    return made


def authority(request: Mapping[str, Any]) -> RootCA:
    """The root that the flags bring, or a new one. Raises InvalidSpec."""
    cert, key = (str(request.get(name) or "").encode() for name in ("ca_cert", "ca_key"))
    if key and not cert:
        raise InvalidSpec("--ca-key is only valid with --ca-cert")
    if not cert:
        if request.get("external_ca"):
            raise InvalidSpec(
                "--external-ca needs --ca-cert: the certificate of the root whose key it has"
            )
        return RootCA.create()
    root = RootCA.given(cert, key)
    if not key and not request.get("external_ca"):
        raise InvalidSpec("--ca-cert needs --ca-key, or the --external-ca that has the key")
    return root


def external_cas(request: Mapping[str, Any]) -> list[ExternalCA]:
    """--external-ca, as base64 of its messages. Raises InvalidSpec."""
    try:
        found = [
            ExternalCA.FromString(base64.b64decode(each))
            for each in request.get("external_ca") or ()
        ]
    except (ValueError, TypeError, DecodeError) as error:
        raise InvalidSpec("--external-ca is malformed") from error
    for each in found:
        external.check(each)
    return found


def _authorize(made: Cluster, root: RootCA) -> None:
    authority = made.root_ca
    authority.ca_cert, authority.ca_key = root.cert, root.key
    authority.ca_cert_hash = tokens.digest(root.cert)
    authority.join_tokens.worker = tokens.new_token(authority.ca_cert_hash)
    authority.join_tokens.manager = tokens.new_token(authority.ca_cert_hash)


def ingress(made: Cluster) -> Network:
    """The ingress network: the first subnet of the first pool."""
    pool = ipaddress.IPv4Network(made.default_address_pool[0])
    subnet = next(pool.subnets(new_prefix=made.subnet_size))
    network = Network(id=new_id())
    network.spec.annotations.name = "ingress"
    network.spec.driver.name = "overlay"
    network.spec.ingress = True
    network.spec.scope = "swarm"
    network.spec.ipam.driver.name = "default"
    network.spec.ipam.configs.add(subnet=str(subnet), gateway=str(subnet[1]))
    return network


def availability(request: Mapping[str, Any]) -> NodeSpec.Availability.ValueType:
    """--availability. Raises InvalidSpec."""
    name = str(request.get("availability") or "active")
    try:
        return NodeSpec.Availability.Value(name.upper())
    except ValueError as error:
        raise InvalidSpec(
            f'invalid availability "{name}", only active, pause and drain are supported'
        ) from error


def data_path_port(request: Mapping[str, Any]) -> int:
    """--data-path-port. Raises InvalidSpec."""
    port = _number(request, "data_path_port", DATA_PATH_PORT)
    if not 1024 <= port <= 49151:
        raise InvalidSpec(f"--data-path-port must be between 1024 and 49151, not {port}")
    return port


def _pools(request: Mapping[str, Any]) -> tuple[list[str], int]:
    texts = request.get("default_addr_pool") or [DEFAULT_POOL]
    size = _number(request, "default_addr_pool_mask_length", DEFAULT_SUBNET_SIZE)
    pools: list[ipaddress.IPv4Network] = []
    for text in texts:
        pool = subnets.of_hosts(text, "--default-addr-pool")
        if not isinstance(pool, ipaddress.IPv4Network):
            raise InvalidSpec(f"--default-addr-pool {pool}: is not an IPv4 subnet")
        if not pool.prefixlen <= size <= 29:
            raise InvalidSpec(
                f"--default-addr-pool-mask-length must be between {pool.prefixlen}"
                f" (the pool {pool}) and 29, not {size}"
            )
        for other in pools:
            if pool.overlaps(other):
                raise InvalidSpec(f"--default-addr-pool: {pool} and {other} overlap")
        pools.append(pool)
    return [str(pool) for pool in pools], size


def _number(request: Mapping[str, Any], key: str, default: int) -> int:
    value = request.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or value < 0:
        raise InvalidSpec(f"{key} must be a number, not {value!r}")
    return value


def _seconds(request: Mapping[str, Any], key: str, default: float) -> float:
    value = request.get(key)
    if value is None:
        return default
    if not isinstance(value, int | float) or value <= 0:
        raise InvalidSpec(f"{key} must be a positive number of seconds, not {value!r}")
    return float(value)
