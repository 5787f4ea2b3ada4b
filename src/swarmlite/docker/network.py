"""A network as Docker's inspect shows it, of the swarm's and of a host's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swarmlite.docker.values import Json, compact, time
from swarmlite.proto.containers_pb2 import Container, EndpointState
from swarmlite.proto.hostnetworks_pb2 import HostNetwork
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import IPAMOptions

VXLAN_OPTION = "com.docker.network.driver.overlay.vxlanid_list"


def inspect(value: Network, containers: Json | None = None) -> Json:
    """A network; `containers` are those of this host that are on it."""
    spec = value.spec
    options = dict(spec.driver.options)
    if vni := value.driver_state.options.get("vni"):
        options[VXLAN_OPTION] = vni
    return {
        "Name": spec.annotations.name,
        "Id": value.id,
        "Created": time(value.meta.created_at),
        "Scope": spec.scope or "swarm",
        "Driver": spec.driver.name or "overlay",
        "EnableIPv4": True,
        "EnableIPv6": spec.ipv6_enabled,
        "IPAM": ipam(value.ipam if value.ipam.configs else spec.ipam),
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": spec.ingress,
        "ConfigFrom": {"Network": spec.config_from},
        "ConfigOnly": spec.config_only,
        "Containers": containers,
        "Options": dict(sorted(options.items())) or None,
        "Labels": dict(sorted(spec.annotations.labels.items())),
    }


def inspect_host(value: HostNetwork) -> Json:
    """A host's network with the containers on it."""
    containers = {
        identity: endpoint(state, value.container_names.get(identity, ""))
        for identity, state in sorted(value.containers.items())
    }
    result = inspect(value.network, containers)
    result["Scope"] = value.network.spec.scope or "local"
    result["Driver"] = value.network.spec.driver.name or "bridge"
    result["Options"] = result["Options"] or {}
    return result


def merged(swarm: Network, host: HostNetwork | None) -> Json:
    """A network of the swarm with the containers that this host has on it."""
    found = None if host is None else inspect_host(host)["Containers"]
    return inspect(swarm, found or None)


def listed(shown: Json) -> Json:
    """As a list shows it: without its containers, which only `inspect` names."""
    return {**shown, "Containers": {}}


def endpoints_of(network_id: str, containers: Iterable[Container]) -> Json:
    """Those of `containers` that are on a network, by id."""
    return {
        container.id: endpoint(state, container.config.name)
        for container in containers
        for state in container.networks
        if state.network_id == network_id
    }


def endpoint(value: EndpointState, name: str) -> Json:
    """One container on the network."""
    return {
        "Name": name,
        "EndpointID": value.endpoint_id,
        "MacAddress": value.mac_address,
        "IPv4Address": value.ipv4_address,
        "IPv6Address": value.ipv6_address,
    }


def ipam(value: IPAMOptions) -> Json:
    """Driver and subnets."""
    return {
        "Driver": value.driver.name or "default",
        "Options": _or_none(value.driver.options),
        "Config": [
            compact(
                {
                    "Subnet": c.subnet,
                    "IPRange": c.range,
                    "Gateway": c.gateway.partition("/")[0],
                    "AuxiliaryAddresses": dict(c.reserved),
                }
            )
            for c in value.configs
        ],
    }


def _or_none(options: Mapping[str, str]) -> dict[str, str] | None:
    return dict(options) or None
