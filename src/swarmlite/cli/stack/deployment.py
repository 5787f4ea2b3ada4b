"""Bringing a swarm to a stack: networks, secrets and configs first, then the services."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.image.pinning import pin
from swarmlite.cli.service import changing
from swarmlite.cli.session import Session
from swarmlite.cli.stack import members
from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound
from swarmlite.model import validate
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.proto.control_pb2 import (
    CreateConfigRequest,
    CreateNetworkRequest,
    CreateSecretRequest,
    CreateServiceRequest,
    ListNetworksResponse,
    ListRequest,
    RemoveRequest,
    UpdateConfigRequest,
    UpdateSecretRequest,
)
from swarmlite.proto.objects_pb2 import Network, Service
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack import plan
from swarmlite.stack.load import Stack
from swarmlite.stack.problems import Problems

Changed = list[tuple[str, Service | None]]
"""Ids of services that were made or changed, and what they were before."""


class Deployment:
    """One run of `stack deploy`."""

    def __init__(self, session: Session, stack: Stack, *, resolve: str, send_auth: bool) -> None:
        self._session, self._stack = session, stack
        self._resolve, self._send_auth = resolve, send_auth
        self._control = session.control
        self._present = members.of(session, stack.namespace)

    def check(self) -> None:
        """Refuse before anything is made what could not be finished.

        Raises InvalidSpec and FailedPrecondition; nothing has changed then.
        """
        self._check_specs()
        self._check_payloads()
        known = {network.spec.annotations.name: network for network in self._networks()}
        for name in self._stack.external_networks:
            if name in PREDEFINED_NETWORKS:
                continue
            if name not in known:
                raise FailedPrecondition(
                    f"network {name!r} is declared as external, but could not be found. You need to"
                    " create a swarm-scoped network before the stack is deployed"
                )
            if known[name].spec.scope == "local":
                raise FailedPrecondition(
                    f"network {name!r} is declared as external, but it is not in the right scope:"
                    ' "local" instead of "swarm"'
                )

    def _check_specs(self) -> None:
        checks: list[tuple[str, Any, Callable[[Any], None]]] = [
            ("network", self._stack.networks, validate.validate_network),
            ("secret", self._stack.secrets, validate.validate_secret),
            ("config", self._stack.configs, validate.validate_config),
            ("service", self._stack.services, validate.validate_service),
        ]
        problems = Problems()
        for kind, specs, check in checks:
            for spec in specs:
                with problems.gather(f"{kind} {spec.annotations.name}: "):
                    check(spec)
        problems.settle()

    def _check_payloads(self) -> None:
        """Secrets and configs that are named must be there, or made here."""
        secrets = client.call(self._control.ListSecrets, ListRequest()).secrets
        configs = client.call(self._control.ListConfigs, ListRequest()).configs
        known_secrets = {s.spec.annotations.name for s in secrets}
        known_secrets |= {s.annotations.name for s in self._stack.secrets}
        known_configs = {c.spec.annotations.name for c in configs}
        known_configs |= {c.annotations.name for c in self._stack.configs}
        for spec in self._stack.services:
            container = spec.task.container
            for secret in container.secrets:
                if secret.secret_name not in known_secrets:
                    raise FailedPrecondition(f"secret not found: {secret.secret_name}")
            for config in container.configs:
                if config.config_name not in known_configs:
                    raise FailedPrecondition(f"config not found: {config.config_name}")

    def prune(self) -> None:
        """Remove the stack's services that the file no longer has."""
        wanted = {spec.annotations.name for spec in self._stack.services}
        for service in self._present.services:
            if service.spec.annotations.name not in wanted:
                click.echo(f"Removing service {service.spec.annotations.name}")
                client.call(self._control.RemoveService, RemoveRequest(ref=service.id))

    def run(self) -> Changed:
        """Make and change what differs; the services that were touched."""
        self._make_networks()
        self._make_secrets()
        self._make_configs()
        return self._deploy_services()

    def _networks(self) -> Iterable[Network]:
        reply: ListNetworksResponse = client.call(self._control.ListNetworks, ListRequest())
        return reply.networks

    def _make_networks(self) -> None:
        there = {network.spec.annotations.name for network in self._networks()}
        for spec in self._stack.networks:
            name = spec.annotations.name
            if name not in there:
                click.echo(f"Creating network {name}")
                client.call(self._control.CreateNetwork, CreateNetworkRequest(spec=spec))

    def _make_secrets(self) -> None:
        there = {s.spec.annotations.name: s for s in self._present.secrets}
        for spec in self._stack.secrets:
            found = there.get(spec.annotations.name)
            if found is None:
                click.echo(f"Creating secret {spec.annotations.name}")
                client.call(self._control.CreateSecret, CreateSecretRequest(spec=spec))
            else:
                # Nobody is shown a secret's data: the managers compare, and refuse other data.
                request = UpdateSecretRequest(
                    secret_id=found.id, version=found.meta.version, spec=spec
                )
                client.call(self._control.UpdateSecret, request)

    def _make_configs(self) -> None:
        there = {c.spec.annotations.name: c for c in self._present.configs}
        for spec in self._stack.configs:
            found = there.get(spec.annotations.name)
            if found is None:
                click.echo(f"Creating config {spec.annotations.name}")
                client.call(self._control.CreateConfig, CreateConfigRequest(spec=spec))
            elif found.spec.data != spec.data:
                raise InvalidSpec(
                    f"config {spec.annotations.name} exists with other content, and content never"
                    " changes: give it another name"
                )
            elif dict(found.spec.annotations.labels) != dict(spec.annotations.labels):
                request = UpdateConfigRequest(
                    config_id=found.id, version=found.meta.version, spec=spec
                )
                client.call(self._control.UpdateConfig, request)

    def _deploy_services(self) -> Changed:
        ids = {network.spec.annotations.name: network.id for network in self._networks()}
        there = {s.spec.annotations.name: s for s in self._present.services}
        changed: Changed = []
        for spec in self._stack.services:
            name = spec.annotations.name
            current = there.get(name)
            if current is None:
                click.echo(f"Creating service {name}")
                self._pin(spec)
                made = client.call(self._control.CreateService, CreateServiceRequest(spec=spec))
                changed.append((made.id, None))
            elif (before := self._update(spec, current, ids)) is not None:
                changed.append((current.id, before))
        return changed

    def _update(self, spec: ServiceSpec, current: Service, ids: dict[str, str]) -> Service | None:
        name = spec.annotations.name
        if plan.keep_image(spec, current, self._resolve):
            spec = plan.kept(spec, current)
            if self._send_auth:
                pin(self._session, spec.task, resolve=False, send_auth=True)
        else:
            same = plan.same_image(spec, current)
            self._pin(spec)
            if self._resolve == "always" and same and "@" not in spec.task.container.image:
                # No registry answers: that is no reason to restart what runs the same tag.
                spec = plan.kept(spec, current)
        spec = plan.forced(spec, current)
        if not plan.differs(spec, current, ids):
            click.echo(f"Unchanged service {name} (id: {current.id})")
            return None
        click.echo(f"Updating service {name} (id: {current.id})")
        try:
            return changing.change(self._session, current.id, lambda _: spec)
        except NotFound as error:
            raise FailedPrecondition(f"service {name} was removed meanwhile") from error

    def _pin(self, spec: ServiceSpec) -> None:
        resolve = self._resolve != "never"
        pin(self._session, spec.task, resolve=resolve, send_auth=self._send_auth)
