"""Secrets and configs of a stack: made, given new labels, or followed by a new version.

Their data never changes: other data in the file is another version, which the stack's services then
use. Nobody is shown a secret's data: the managers compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.cli.stack.actions import Action
from swarmlite.errors import InvalidSpec
from swarmlite.proto.control_pb2 import (
    CreateConfigRequest,
    CreateSecretRequest,
    ListRequest,
    UpdateConfigRequest,
    UpdateSecretRequest,
)
from swarmlite.proto.objects_pb2 import Config, Secret
from swarmlite.proto.specs_pb2 import ConfigSpec, SecretSpec, ServiceSpec
from swarmlite.proto.types_pb2 import Annotations
from swarmlite.stack import versions
from swarmlite.stack.difference import Difference, differences

Kind = Literal["secret", "config"]


class Payloads:
    """Those of the swarm, as one deployment sees them."""

    def __init__(self, session: Session) -> None:
        self._control = control = session.control
        self._secrets = list(client.call(control.ListSecrets, ListRequest()).secrets)
        self._configs = list(client.call(control.ListConfigs, ListRequest()).configs)
        self._chosen: dict[tuple[Kind, str], str] = {}

    def names(self, kind: Kind) -> set[str]:
        """All that a service can name: also those of which only a later version is there."""
        there: Iterable[Secret | Config] = self._secrets if kind == "secret" else self._configs
        return {name for item in there for name in (item.spec.annotations.name,
                                                    versions.base_of(item))}  # fmt: skip

    def secrets(self, specs: Iterable[SecretSpec]) -> Iterator[Action]:
        """What becomes of the stack's secrets."""
        for spec in specs:
            known = versions.family(spec.annotations.name, self._secrets)
            found = next((s for s in reversed(known) if self._has_data(s, spec)), None)
            yield from self._one("secret", spec, known, found)

    def configs(self, specs: Iterable[ConfigSpec]) -> Iterator[Action]:
        """What becomes of the stack's configs."""
        for spec in specs:
            known = versions.family(spec.annotations.name, self._configs)
            found = next((c for c in reversed(known) if c.spec.data == spec.data), None)
            yield from self._one("config", spec, known, found)

    def lead(self, spec: ServiceSpec) -> None:
        """Lead a service to the versions that the file means, of others to the newest."""
        for secret in spec.task.container.secrets:
            name = secret.secret_name
            newest = versions.newest(name, self._secrets)
            secret.secret_name = self._chosen.get(("secret", name), newest)
        for config in spec.task.container.configs:
            name = config.config_name
            newest = versions.newest(name, self._configs)
            config.config_name = self._chosen.get(("config", name), newest)

    def _one(
        self, kind: Kind, spec: Any, known: list[Any], found: Secret | Config | None
    ) -> Iterator[Action]:
        name = spec.annotations.name
        if found is None:
            made = type(spec)()
            made.CopyFrom(spec)
            if known:
                made.annotations.name = versions.next_name(name, known)
                made.annotations.labels[versions.LABEL] = name
            self._chosen[kind, name] = made.annotations.name
            yield Action("Creating", kind, made.annotations.name, self._creation(made))
            return
        self._chosen[kind, name] = found.spec.annotations.name
        wanted = _like(found, spec)
        if differs := tuple(_labels(found.spec.annotations, wanted.annotations)):
            do = self._update(found, wanted)
            yield Action("Updating", kind, wanted.annotations.name, do, found.id, differs)

    def _has_data(self, secret: Secret, spec: SecretSpec) -> bool:
        """Asked of the managers by an update that would change nothing."""
        same = SecretSpec(data=spec.data)
        same.annotations.CopyFrom(secret.spec.annotations)
        request = UpdateSecretRequest(secret_id=secret.id, version=secret.meta.version, spec=same)
        try:
            client.call(self._control.UpdateSecret, request)
        except InvalidSpec:
            return False
        return True

    def _creation(self, spec: SecretSpec | ConfigSpec) -> Callable[[], Any]:
        control = self._control
        if isinstance(spec, SecretSpec):
            secret = CreateSecretRequest(spec=spec)
            return lambda: client.call(control.CreateSecret, secret)
        config = CreateConfigRequest(spec=spec)
        return lambda: client.call(control.CreateConfig, config)

    def _update(self, found: Secret | Config, spec: Any) -> Callable[[], Any]:
        control, version = self._control, found.meta.version
        if isinstance(found, Secret):
            secret = UpdateSecretRequest(secret_id=found.id, version=version, spec=spec)
            return lambda: client.call(control.UpdateSecret, secret)
        config = UpdateConfigRequest(config_id=found.id, version=version, spec=spec)
        return lambda: client.call(control.UpdateConfig, config)


def _like(found: Secret | Config, spec: Any) -> Any:
    """The file's spec as that of one version of it."""
    wanted = type(spec)()
    wanted.CopyFrom(spec)
    wanted.annotations.name = found.spec.annotations.name
    if versions.LABEL in found.spec.annotations.labels:
        wanted.annotations.labels[versions.LABEL] = found.spec.annotations.labels[versions.LABEL]
    return wanted


def _labels(before: Annotations, after: Annotations) -> Iterator[Difference]:
    return (each for each in differences(before, after) if each.path.startswith("labels."))
