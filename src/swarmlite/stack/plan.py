"""What to do to a service that a stack wants: nothing, or which spec to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarmlite.model import defaults
from swarmlite.model.dirty import restarts
from swarmlite.model.references import Reference
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack.difference import Difference, differences
from swarmlite.stack.world import IMAGE_LABEL


def keep_image(wanted: ServiceSpec, current: Service, resolve: str) -> bool:
    """Whether the image that runs stays, digest and all: the file still says what it said.

    `resolve` is always, changed or never. Under always the registry is asked each time.
    """
    return resolve == "changed" and same_image(wanted, current)


def same_image(wanted: ServiceSpec, current: Service) -> bool:
    """Whether the file says the image that the service was deployed from."""
    return current.spec.annotations.labels.get(IMAGE_LABEL) == wanted.task.container.image


def kept(wanted: ServiceSpec, current: Service) -> ServiceSpec:
    """`wanted` with the pinned image and platforms of `current`."""
    result = ServiceSpec()
    result.CopyFrom(wanted)
    result.task.container.image = current.spec.task.container.image
    del result.task.placement.platforms[:]
    result.task.placement.platforms.extend(current.spec.task.placement.platforms)
    return result


def carried(wanted: ServiceSpec, current: Service) -> ServiceSpec:
    """`wanted` with what the service has and no file says: the count of forced updates, and the
    credentials of its registry where none are sent and the image is of that registry still.
    """
    result = ServiceSpec()
    result.CopyFrom(wanted)
    result.task.force_update = current.spec.task.force_update
    auth = current.spec.task.container.pull_options.registry_auth
    sent = result.task.container.pull_options.registry_auth
    if auth and not sent and _registry(wanted) == _registry(current.spec):
        result.task.container.pull_options.registry_auth = auth
    return result


def _registry(spec: ServiceSpec) -> str:
    return Reference.parse(spec.task.container.image).domain


@dataclass(frozen=True)
class Change:
    """What writing a spec would change of a service; `restarts`: its tasks are replaced."""

    differences: tuple[Difference, ...]
    restarts: bool


def change(wanted: ServiceSpec, current: Service, network_ids: dict[str, str]) -> Change | None:
    """None where nothing would differ, defaults and references said."""
    before, after = _normal(current.spec, network_ids), _normal(wanted, network_ids)
    if before == after:
        return None
    return Change(tuple(differences(before, after)), restarts(before, after))


def _normal(spec: ServiceSpec, network_ids: dict[str, str]) -> ServiceSpec:
    result = defaults.fill_service(spec)
    container = result.task.container
    for attachment in result.task.networks:
        attachment.target = network_ids.get(attachment.target, attachment.target)
    for secret in container.secrets:
        secret.secret_id = ""
    for config in container.configs:
        config.config_id = ""
    # Empty messages that one side spells out and the other leaves unsaid mean the same.
    parts: list[tuple[Any, str]] = [
        (result.task, "placement"),
        (result.task, "resources"),
        (result.task, "log_driver"),
        (container, "dns_config"),
        (container, "pull_options"),
    ]
    for parent, field in parts:
        if parent.HasField(field) and not getattr(parent, field).ByteSize():
            parent.ClearField(field)
    return result
