"""Secrets and configs: stored once, changed in labels only, removed when nothing uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.ids import new_id
from swarmlite.manager.store.api import kind_of
from swarmlite.manager.store.tables import Tables, name_of
from swarmlite.model.references import config_ids, secret_ids
from swarmlite.model.validate import validate_config, validate_secret
from swarmlite.proto.control_pb2 import (
    CreateConfigRequest,
    CreateSecretRequest,
    Empty,
    GetRequest,
    ListConfigsResponse,
    ListRequest,
    ListSecretsResponse,
    RemoveRequest,
    UpdateConfigRequest,
    UpdateSecretRequest,
)
from swarmlite.proto.objects_pb2 import Config, Secret
from swarmlite.proto.specs_pb2 import TaskSpec

from .api import Api, check_free, check_version, copy_of, resolve
from .filters import STACK_LABEL, Holds, compile_filters, has_label

FILTERS: Mapping[str, Holds[Secret | Config]] = {
    "id": lambda obj, value: obj.id.startswith(value),
    "name": lambda obj, value: obj.spec.annotations.name.startswith(value),
    "label": lambda obj, value: has_label(obj.spec.annotations.labels, value),
    "stack": lambda obj, value: obj.spec.annotations.labels.get(STACK_LABEL) == value,
}


def without_data(secret: Secret) -> Secret:
    """What may be read of a secret."""
    copy = copy_of(secret)
    copy.spec.ClearField("data")
    return copy


def _users(view: Tables, object_id: str, ids: Callable[[TaskSpec], set[str]]) -> Iterator[str]:
    for service in view.services:
        if object_id in ids(service.spec.task):
            yield service.spec.annotations.name


def _check_unused(payload: Secret | Config, users: Iterator[str]) -> None:
    found = sorted(users)
    if found:
        plural = "service" if len(found) == 1 else "services"
        what = f"{kind_of(payload)} {name_of(payload)}"
        raise FailedPrecondition(f"{what} is in use by the following {plural}: {', '.join(found)}")


def _check_labels_alone(kind: str, old: str, new: str, data: bytes, stored: bytes) -> None:
    if (new and new != old) or (data and data != stored):
        raise InvalidSpec(f"{kind} {old}: only its labels can be changed")


class Secrets:
    """The calls on secrets. None answers their data."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, request: GetRequest) -> Secret:
        """One secret."""
        return without_data(resolve("secret", self._api.view.secrets, request.ref))

    def list(self, request: ListRequest) -> ListSecretsResponse:
        """Secrets that pass the filters."""
        matches = compile_filters("secrets", request.filters, FILTERS)
        found = [without_data(s) for s in self._api.view.secrets if matches(s) and not s.internal]
        return ListSecretsResponse(secrets=found)

    async def create(self, request: CreateSecretRequest) -> Secret:
        """A new secret."""
        validate_secret(request.spec)
        secret = Secret(id=new_id(), spec=request.spec)
        async with self._api.naming:
            check_free("secret", self._api.view.secrets, request.spec.annotations.name)
            return without_data(await self._api.put(secret))

    async def update(self, request: UpdateSecretRequest) -> Secret:
        """New labels."""
        secret = copy_of(resolve("secret", self._api.view.secrets, request.secret_id))
        check_version("secret", secret, request.version)
        new, old = request.spec, secret.spec
        _check_labels_alone(
            "secret", old.annotations.name, new.annotations.name, new.data, old.data
        )
        if dict(old.annotations.labels) == dict(new.annotations.labels):
            return without_data(secret)  # nothing to write, and its version stays
        old.annotations.ClearField("labels")
        old.annotations.labels.update(new.annotations.labels)
        validate_secret(old)
        return without_data(await self._api.put(secret))

    async def remove(self, request: RemoveRequest) -> Empty:
        """Remove a secret that no service names."""
        async with self._api.naming:
            view = self._api.view
            await self._api.remove(
                resolve("secret", view.secrets, request.ref),
                lambda secret: _check_unused(secret, _users(view, secret.id, secret_ids)),
            )
        return Empty()


class Configs:
    """The calls on configs."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, request: GetRequest) -> Config:
        """One config, with its data."""
        return resolve("config", self._api.view.configs, request.ref)

    def list(self, request: ListRequest) -> ListConfigsResponse:
        """Configs that pass the filters."""
        matches = compile_filters("configs", request.filters, FILTERS)
        return ListConfigsResponse(configs=[c for c in self._api.view.configs if matches(c)])

    async def create(self, request: CreateConfigRequest) -> Config:
        """A new config."""
        validate_config(request.spec)
        config = Config(id=new_id(), spec=request.spec)
        async with self._api.naming:
            check_free("config", self._api.view.configs, request.spec.annotations.name)
            return await self._api.put(config)

    async def update(self, request: UpdateConfigRequest) -> Config:
        """New labels."""
        config = copy_of(resolve("config", self._api.view.configs, request.config_id))
        check_version("config", config, request.version)
        new, old = request.spec, config.spec
        _check_labels_alone(
            "config", old.annotations.name, new.annotations.name, new.data, old.data
        )
        if dict(old.annotations.labels) == dict(new.annotations.labels):
            return config
        old.annotations.ClearField("labels")
        old.annotations.labels.update(new.annotations.labels)
        validate_config(old)
        return await self._api.put(config)

    async def remove(self, request: RemoveRequest) -> Empty:
        """Remove a config that no service names."""
        async with self._api.naming:
            view = self._api.view
            await self._api.remove(
                resolve("config", view.configs, request.ref),
                lambda config: _check_unused(config, _users(view, config.id, config_ids)),
            )
        return Empty()
