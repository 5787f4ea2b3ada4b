"""What is to be made here of another swarm, decided before anything is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from swarmlite.docker.fields import Fields
from swarmlite.docker.reading.network import network_spec
from swarmlite.docker.reading.payloads import config_spec, secret_spec
from swarmlite.docker.reading.service import service_spec
from swarmlite.errors import InvalidSpec
from swarmlite.model import constraints
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.model.validate import (
    validate_config,
    validate_network,
    validate_secret,
    validate_service,
)
from swarmlite.model.validate.endpoint import meet
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec
from swarmlite.proto.types_pb2 import Mount, PortConfig

Json = dict[str, Any]
Data = Callable[[str], bytes | None]
"""A secret's data by its name, which no API gives back; None where nobody has it."""
VXLAN_OPTION = "com.docker.network.driver.overlay.vxlanid_list"


@dataclass
class There:
    """What the other swarm's API said."""

    networks: list[Json] = field(default_factory=list)
    secrets: list[Json] = field(default_factory=list)
    configs: list[Json] = field(default_factory=list)
    services: list[Json] = field(default_factory=list)
    nodes: list[Json] = field(default_factory=list)


@dataclass
class Here:
    """What is here already: names of each kind, and the nodes."""

    networks: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    configs: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    ports: list[tuple[PortConfig, str]] = field(default_factory=list)
    """What is published, and the service that does it."""
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Plan:
    """What will be made, in this order; why not the rest; and what to look after."""

    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    networks: list[NetworkSpec] = field(default_factory=list)
    secrets: list[SecretSpec] = field(default_factory=list)
    configs: list[ConfigSpec] = field(default_factory=list)
    services: list[ServiceSpec] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to make."""
        return not any((self.labels, self.networks, self.secrets, self.configs, self.services))


def plan(there: There, here: Here, data: Data) -> Plan:
    """Everything that `here` lacks. Raises nothing: what cannot be made says why in the plan."""
    made = Plan()
    # By name: Docker's lists have no order.
    _labels(there.nodes, here.nodes, made)
    for sent in sorted(there.networks, key=lambda sent: str(sent.get("Name"))):
        _network(sent, here, made)
    for sent in sorted(there.secrets, key=_name):
        _secret(sent, here, made, data)
    for sent in sorted(there.configs, key=_name):
        _config(sent, here, made)
    names = {n["Id"]: n["Name"] for n in there.networks if "Id" in n and "Name" in n}
    for sent in sorted(there.services, key=_name):
        _service(sent, names, here, made)
    return made


def _labels(there: Iterable[Json], here: Iterable[Node], made: Plan) -> None:
    """Labels of nodes go to those of the same host name; what they say here already stays."""
    mine = {node.description.hostname: node for node in here}
    for sent in there:
        labels = dict((sent.get("Spec") or {}).get("Labels") or {})
        name = str((sent.get("Description") or {}).get("Hostname") or sent.get("ID"))
        if not labels:
            continue
        if name not in mine:
            shown = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
            made.notes.append(f"node {name} is not here; it has the labels {shown}")
            continue
        known = mine[name].spec.annotations.labels
        if lacking := {key: value for key, value in labels.items() if key not in known}:
            made.labels[name] = lacking


def _network(sent: Json, here: Here, made: Plan) -> None:
    name = str(sent.get("Name"))
    if sent.get("Ingress") or name in PREDEFINED_NETWORKS or sent.get("Scope") != "swarm":
        return
    if _is_here("network", name, here.networks, made):
        return
    options = {k: v for k, v in (sent.get("Options") or {}).items() if k != VXLAN_OPTION}
    asked = {**sent, "Options": options}
    spec = _read(made, "network", name, lambda: network_spec(Fields.of(asked)), validate_network)
    if spec is not None:
        made.networks.append(spec)


def _secret(sent: Json, here: Here, made: Plan, data: Data) -> None:
    name = _name(sent)
    if _is_here("secret", name, here.secrets, made):
        return
    found = data(name)
    if found is None:
        made.refused[f"secret {name}"] = "its data are not known: no API gives them back"
        return

    def read() -> SecretSpec:
        spec = secret_spec(Fields.of(sent.get("Spec")))
        spec.data = found
        return spec

    spec = _read(made, "secret", name, read, validate_secret)
    if spec is not None:
        made.secrets.append(spec)


def _config(sent: Json, here: Here, made: Plan) -> None:
    name = _name(sent)
    if _is_here("config", name, here.configs, made):
        return
    spec = _read(
        made, "config", name, lambda: config_spec(Fields.of(sent.get("Spec"))), validate_config
    )
    if spec is not None:
        made.configs.append(spec)


def _service(sent: Json, networks: Mapping[str, str], here: Here, made: Plan) -> None:
    name = _name(sent)
    if _is_here("service", name, here.services, made):
        return

    def read() -> ServiceSpec:
        return by_names(service_spec(Fields.of(sent.get("Spec"))), networks)

    spec = _read(made, "service", name, read, validate_service)
    if spec is None:
        return
    missing = sorted(set(_needs(spec)) & made.refused.keys())
    if missing:
        made.refused[f"service {name}"] = f"it needs {', '.join(missing)}"
        return
    if taken := _taken(spec, here):
        made.refused[f"service {name}"] = f"ports that services here publish: {', '.join(taken)}"
        return
    made.services.append(spec)
    made.notes += _look_after(spec, here.nodes)


def _taken(spec: ServiceSpec, here: Here) -> list[str]:
    """Ports that cannot be published a second time. In host mode both may have one."""
    return [
        f"{port.published_port} ({name})"
        for port in spec.endpoint.ports
        for other, name in here.ports
        if port.published_port
        and meet(port, other)
        and PortConfig.INGRESS in (port.publish_mode, other.publish_mode)
    ]


def by_names(spec: ServiceSpec, networks: Mapping[str, str]) -> ServiceSpec:
    """References by the names that objects will have here, where their ids are others."""
    for network in spec.task.networks:
        network.target = networks.get(network.target, network.target)
    for secret in spec.task.container.secrets:
        if secret.secret_name:
            secret.ClearField("secret_id")
    for config in spec.task.container.configs:
        if config.config_name:
            config.ClearField("config_id")
    return spec


def _needs(spec: ServiceSpec) -> list[str]:
    container = spec.task.container
    return [
        *(f"network {network.target}" for network in spec.task.networks),
        *(f"secret {secret.secret_name}" for secret in container.secrets),
        *(f"config {config.config_name}" for config in container.configs),
    ]


def _look_after(spec: ServiceSpec, nodes: Iterable[Node]) -> list[str]:
    """What a person has to see to before the service can do what it did."""
    name, notes = spec.annotations.name, []
    for mount in spec.task.container.mounts:
        if mount.type == Mount.VOLUME and mount.source:
            notes.append(f"service {name}: the data of volume {mount.source} stay on its old nodes")
        elif mount.type == Mount.BIND:
            notes.append(f"service {name}: {mount.source} must be there on the new nodes")
    rules = constraints.parse(spec.task.placement.constraints)
    if rules and not any(constraints.matches(rules, node) for node in nodes):
        shown = " and ".join(spec.task.placement.constraints)
        notes.append(f"service {name}: no node here satisfies {shown}")
    return notes


def _is_here(kind: str, name: str, names: set[str], made: Plan) -> bool:
    if name in names:
        made.present.append(f"{kind} {name}")
    return name in names


def _read(
    made: Plan, kind: str, name: str, read: Callable[[], Any], check: Callable[[Any], None]
) -> Any:
    """The spec; None, with the reason in the plan, where there cannot be one."""
    try:
        spec = read()
        check(spec)
    except InvalidSpec as error:
        made.refused[f"{kind} {name}"] = str(error)
        return None
    return spec


def _name(sent: Json) -> str:
    return str((sent.get("Spec") or {}).get("Name") or sent.get("ID"))
