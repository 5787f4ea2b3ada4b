"""What a service spec names must exist, and is stored by id."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.manager.store.api import Missing
from swarmlite.manager.store.tables import Table, Tables
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.proto.objects_pb2 import Config, Network, Secret
from swarmlite.proto.specs_pb2 import ServiceSpec

from .api import resolve


def resolve_references(view: Tables, spec: ServiceSpec) -> ServiceSpec:
    """Complete `spec` in place and answer it. Raises NotFound and InvalidSpec.

    The networks of each node ("host", "bridge", "none") keep their names; the agent knows them.
    """
    seen: set[str] = set()
    for attachment in spec.task.networks:
        if attachment.target in PREDEFINED_NETWORKS:
            continue
        network = resolve("network", view.networks, attachment.target)
        name = network.spec.annotations.name
        if network.spec.ingress:
            raise InvalidSpec(f"--network {name}: published ports attach to it by themselves")
        if network.pending_delete:
            raise NotFound(f"network {name} is being removed")
        if network.id in seen:
            raise InvalidSpec(f"--network {name}: specified twice")
        seen.add(network.id)
        for text in attachment.addresses:
            subnet_of(network, ip_address(text), f"--network: ip {text}")
        attachment.target = network.id
    for secret in spec.task.container.secrets:
        found = _payload("secret", view.secrets, secret.secret_id, secret.secret_name)
        secret.secret_id, secret.secret_name = found
    for config in spec.task.container.configs:
        found = _payload("config", view.configs, config.config_id, config.config_name)
        config.config_id, config.config_name = found
    return spec


def subnet_of(
    network: Network, address: IPv4Address | IPv6Address, where: str
) -> IPv4Network | IPv6Network | None:
    """The network's subnet that has an address; None before one of its family is chosen.

    Raises InvalidSpec, `where` in front, for an address that none of them has.
    """
    configs = network.ipam.configs or network.spec.ipam.configs
    subnets = [ip_network(config.subnet, strict=False) for config in configs if config.subnet]
    for subnet in subnets:
        if address in subnet:
            return subnet
    if not network.ipam.configs and all(s.version != address.version for s in subnets):
        return None
    name, known = network.spec.annotations.name, ", ".join(map(str, subnets))
    raise InvalidSpec(f"{where} is outside of the subnet of network {name}: {known}")


def _payload(
    kind: str, table: Table[Secret] | Table[Config], object_id: str, name: str
) -> tuple[str, str]:
    if object_id:
        found = table.get(object_id)
        if found is None:
            raise Missing(kind, object_id, f"{kind} not found: {name or object_id}")
    else:
        named = table.named(name)
        if not named:
            raise Missing(kind, name, f"{kind} not found: {name}")
        found = named[0]
    actual = found.spec.annotations.name
    if name and name != actual:
        raise InvalidSpec(f"{kind} {object_id} is called {actual} and not {name}")
    return found.id, actual
