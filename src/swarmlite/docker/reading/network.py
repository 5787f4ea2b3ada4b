"""What `POST /networks/create`, `connect` and `disconnect` are sent, as our messages."""

from __future__ import annotations

from swarmlite.docker.fields import Fields
from swarmlite.docker.reading.endpoints import endpoint
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import EndpointConfig
from swarmlite.proto.hostnetworks_pb2 import DisconnectRequest
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import IPAMConfig, IPAMOptions

PREDEFINED_DRIVERS = ("host", "null", "none")
DEFAULT_IPAM = "default"


def network_spec(sent: Fields) -> NetworkSpec:
    """The network that is asked for, its scope and driver said. Raises InvalidSpec."""
    name = sent.text("Name")
    if not name.strip():
        raise InvalidSpec("invalid network name: it is empty")
    if sent.has("EnableIPv4") and not sent.flag("EnableIPv4"):
        raise InvalidSpec("EnableIPv4: networks without IPv4 are not supported")
    scope = sent.text("Scope")
    if scope not in ("", "local", "swarm"):
        raise InvalidSpec(f"Scope: expected local or swarm, not {scope[:60]!r}")
    spec = NetworkSpec(
        ipv6_enabled=sent.flag("EnableIPv6"),
        internal=sent.flag("Internal"),
        attachable=sent.flag("Attachable"),
        ingress=sent.flag("Ingress"),
        config_only=sent.flag("ConfigOnly"),
        config_from=sent.object("ConfigFrom").text("Network"),
        scope=scope,
    )
    spec.annotations.name = name
    spec.annotations.labels.update(sent.mapping("Labels"))
    _driver(sent, spec)
    ipam_options(sent.object("IPAM"), spec.ipam)
    if not spec.ipam.ListFields():
        spec.ClearField("ipam")
    return spec


def _driver(sent: Fields, spec: NetworkSpec) -> None:
    spreads = spec.ingress or spec.scope == "swarm"
    name = sent.text("Driver") or ("overlay" if spreads else "bridge")
    if name in PREDEFINED_DRIVERS:
        raise InvalidSpec(f"only one instance of {name!r} network is allowed")
    spec.driver.name = name
    spec.driver.options.update(sent.mapping("Options"))
    if not spec.scope:
        spec.scope = "swarm" if name == "overlay" or spreads else "local"
    if name == "overlay" and spec.scope == "local":
        raise InvalidSpec("Scope: an overlay is of the swarm, a bridge of this host")


def ipam_options(sent: Fields, into: IPAMOptions) -> None:
    """Driver, its options, subnets."""
    driver, options = sent.text("Driver"), sent.mapping("Options")
    if driver not in ("", DEFAULT_IPAM):
        into.driver.name = driver
    into.driver.options.update(options)
    if not into.driver.ListFields():
        into.ClearField("driver")
    for entry in sent.objects("Config"):
        _pool(entry, into.configs.add())


def _pool(sent: Fields, into: IPAMConfig) -> None:
    into.subnet = sent.text("Subnet")
    into.range = sent.text("IPRange")
    into.gateway = sent.text("Gateway")

    reserved = sent.mapping("AuxiliaryAddresses")
    into.reserved.update(reserved)
    into.ipv6 = ":" in into.subnet


def connection(sent: Fields, network: str) -> tuple[str, EndpointConfig]:
    """The container to connect, and its place on the network. Raises InvalidSpec."""
    container = sent.text("Container")
    if not container:
        raise InvalidSpec("Container: say which container to connect")
    return container, endpoint(network, sent.object("EndpointConfig"))


def disconnection(sent: Fields, network: str) -> DisconnectRequest:
    """The container to disconnect. Raises InvalidSpec."""
    container = sent.text("Container")
    if not container:
        raise InvalidSpec("Container: say which container to disconnect")
    return DisconnectRequest(container=container, network=network, force=sent.flag("Force"))
