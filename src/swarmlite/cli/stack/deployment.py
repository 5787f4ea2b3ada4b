"""Bringing a swarm to a stack: networks, secrets and configs first, then the services."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from swarmlite.cli import client
from swarmlite.cli.image.pinning import pin
from swarmlite.cli.service import changing
from swarmlite.cli.service.changing import Touched
from swarmlite.cli.session import Session
from swarmlite.cli.stack import members
from swarmlite.cli.stack.actions import Action
from swarmlite.cli.stack.payloads import Payloads
from swarmlite.errors import FailedPrecondition, NotFound
from swarmlite.model import validate
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.proto.control_pb2 import (
    CreateNetworkRequest,
    CreateServiceRequest,
    ListNetworksResponse,
    ListRequest,
    RemoveRequest,
)
from swarmlite.proto.objects_pb2 import Network, Service
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack import plan
from swarmlite.stack.load import Stack
from swarmlite.stack.problems import Problems


class Deployment:
    """One run of `stack deploy`."""

    def __init__(self, session: Session, stack: Stack, *, resolve: str, send_auth: bool) -> None:
        self._session, self._stack = session, stack
        self._resolve, self._send_auth = resolve, send_auth
        self._control = session.control
        self._present = members.of(session, stack.namespace)
        self._payloads = Payloads(session)

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
        known_secrets = self._payloads.names("secret")
        known_secrets |= {s.annotations.name for s in self._stack.secrets}
        known_configs = self._payloads.names("config")
        known_configs |= {c.annotations.name for c in self._stack.configs}
        for spec in self._stack.services:
            container = spec.task.container
            for secret in container.secrets:
                if secret.secret_name not in known_secrets:
                    raise FailedPrecondition(f"secret not found: {secret.secret_name}")
            for config in container.configs:
                if config.config_name not in known_configs:
                    raise FailedPrecondition(f"config not found: {config.config_name}")

    def run_what_was_built(self, images: Mapping[str, str]) -> None:
        """Services run these, by the file's names of them: no registry is asked for their names.

        Nodes get them from here.
        """
        for spec in self._stack.services:
            key = spec.annotations.name.removeprefix(f"{self._stack.namespace}_")
            if key in images:
                spec.task.container.image = images[key]

    def plan(self, *, prune: bool) -> list[Action]:
        """All that would be done, in its order; nothing has changed yet.

        Registries are asked for digests. Raises InvalidSpec, FailedPrecondition.
        """
        removals = self._removals() if prune else []
        return [*removals, *self._of_networks(), *self._of_secrets(), *self._of_configs(),
                *self._of_services()]  # fmt: skip

    def left(self) -> list[str]:
        """Names of the stack's services that the file no longer has."""
        return [service.spec.annotations.name for service in self._not_in_the_file()]

    def _not_in_the_file(self) -> list[Service]:
        wanted = {spec.annotations.name for spec in self._stack.services}
        present = self._present.services
        return [s for s in present if s.spec.annotations.name not in wanted]

    def _removals(self) -> list[Action]:
        def removal(service: Service) -> Action:
            request = RemoveRequest(ref=service.id)
            do = self._calling(self._control.RemoveService, request)
            return Action("Removing", "service", service.spec.annotations.name, do)

        return [removal(service) for service in self._not_in_the_file()]

    def _calling(self, method: Callable[..., Any], request: Message) -> Callable[[], Any]:
        return lambda: client.call(method, request)

    def _networks(self) -> Iterable[Network]:
        reply: ListNetworksResponse = client.call(self._control.ListNetworks, ListRequest())
        return reply.networks

    def _of_networks(self) -> Iterator[Action]:
        there = {network.spec.annotations.name for network in self._networks()}
        for spec in self._stack.networks:
            if spec.annotations.name not in there:
                do = self._calling(self._control.CreateNetwork, CreateNetworkRequest(spec=spec))
                yield Action("Creating", "network", spec.annotations.name, do)

    def _of_secrets(self) -> Iterator[Action]:
        yield from self._payloads.secrets(self._stack.secrets)

    def _of_configs(self) -> Iterator[Action]:
        yield from self._payloads.configs(self._stack.configs)

    def _of_services(self) -> Iterator[Action]:
        ids = {network.spec.annotations.name: network.id for network in self._networks()}
        there = {s.spec.annotations.name: s for s in self._present.services}
        for spec in self._stack.services:
            self._payloads.lead(spec)
            name = spec.annotations.name
            current = there.get(name)
            if current is None:
                self._pin(spec)
                yield Action("Creating", "service", name, self._creation(spec))
            else:
                yield self._of_service(self._meant(spec, current), current, ids)

    def _creation(self, spec: ServiceSpec) -> Callable[[], Touched]:
        def do() -> Touched:
            made = client.call(self._control.CreateService, CreateServiceRequest(spec=spec))
            return made.id, None

        return do

    def _meant(self, spec: ServiceSpec, current: Service) -> ServiceSpec:
        """What a service that is there becomes."""
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
        return plan.carried(spec, current)

    def _of_service(self, spec: ServiceSpec, current: Service, ids: dict[str, str]) -> Action:
        name = spec.annotations.name
        change = plan.change(spec, current, ids)
        if change is None:
            return Action("Unchanged", "service", name, None, current.id)

        def do() -> Touched:
            try:
                before = changing.change(self._session, current.id, lambda _: spec)
            except NotFound as error:
                raise FailedPrecondition(f"service {name} was removed meanwhile") from error
            return current.id, before

        return Action(
            "Updating", "service", name, do, current.id, change.differences, change.restarts
        )

    def _pin(self, spec: ServiceSpec) -> None:
        resolve = self._resolve != "never"
        pin(self._session, spec.task, resolve=resolve, send_auth=self._send_auth)
