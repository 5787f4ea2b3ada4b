"""Configurations of tasks that were checked and settled before: those of one service differ in
little but names, and what a check costs is paid once for all of them.
"""

from __future__ import annotations

from swarmlite.engine import configuration
from swarmlite.proto.containers_pb2 import Container, ContainerConfig
from swarmlite.storage.images.types import Image

KEPT = 256


class Checked:
    """One engine's; the oldest go."""

    def __init__(self) -> None:
        """Nothing was checked yet."""
        self._known: dict[tuple[bytes, str], tuple[Container, list[str]]] = {}

    def make(
        self, config: ContainerConfig, image: Image, cgroup: str
    ) -> tuple[Container, list[str]]:
        """A container of a task's configuration, without an id, and warnings.

        Limits that this host does not have are taken out of `config`. Raises InvalidSpec.
        """
        key = (_common(config), image.id)
        known = self._known.get(key)
        checked = configuration.check(config) if known is None else known[1]
        warnings = [*checked, *configuration.left_out(config, cgroup)]
        message = Container(config=config)
        if known is not None:
            message.MergeFrom(known[0])
            message.labels.update(config.spec.labels)
            return message, warnings
        configuration.settle(message, image)
        if len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = _settled(message, image), checked
        return message, warnings


def _common(config: ContainerConfig) -> bytes:
    """What the tasks of a service have in common."""
    common = ContainerConfig()
    common.CopyFrom(config)
    common.ClearField("name")
    common.ClearField("task")
    common.spec.labels.clear()
    return common.SerializeToString(deterministic=True)


def _settled(message: Container, image: Image) -> Container:
    """What `settle` wrote, but for the labels of the container itself."""
    settled = Container()
    settled.CopyFrom(message)
    settled.ClearField("config")
    settled.labels.clear()
    settled.labels.update(configuration.image_labels(image))
    return settled
