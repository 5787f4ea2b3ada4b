"""What belongs to a stack: the objects with its label."""

from __future__ import annotations

from dataclasses import dataclass

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.proto.control_pb2 import Filter, ListRequest
from swarmlite.proto.objects_pb2 import Config, Network, Secret, Service
from swarmlite.stack.world import NAMESPACE_LABEL


@dataclass
class Members:
    """The objects of one stack."""

    services: list[Service]
    networks: list[Network]
    secrets: list[Secret]
    configs: list[Config]

    def __bool__(self) -> bool:
        return bool(self.services or self.networks or self.secrets or self.configs)


def label(namespace: str = "") -> tuple[str, str]:
    """The filter for the objects of one stack, or of any."""
    return "label", f"{NAMESPACE_LABEL}={namespace}" if namespace else NAMESPACE_LABEL


def of(session: Session, namespace: str) -> Members:
    """The objects of the stack."""
    control = session.control
    key, value = label(namespace)
    request = ListRequest(filters=[Filter(key=key, values=[value])])
    return Members(
        list(client.call(control.ListServices, request).services),
        list(client.call(control.ListNetworks, request).networks),
        list(client.call(control.ListSecrets, request).secrets),
        list(client.call(control.ListConfigs, request).configs),
    )
