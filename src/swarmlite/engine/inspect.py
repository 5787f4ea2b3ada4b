"""A container as `inspect` and `ps` tell of it: its record, with what lies elsewhere added."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from swarmlite.engine.io.log_drivers import log_path
from swarmlite.engine.records import ACTIVE, Record
from swarmlite.errors import SwarmliteError
from swarmlite.proto.containers_pb2 import Container, EndpointState
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.snapshots.types import Snapshots

HIDDEN_LOGS = ("none", "journald", "syslog")


class Inspection:
    """Makes the messages that clients get; they may be changed by who asked."""

    def __init__(
        self,
        images: ImageStore,
        snapshots: Snapshots,
        exec_ids: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        """`exec_ids` are those of a container that are known."""
        self._images, self._snapshots, self._exec_ids = images, snapshots, exec_ids

    def summary(self, record: Record) -> Container:
        """What a list shows."""
        message = Container()
        message.CopyFrom(record.message)
        if record.of_task:
            message.config.task.ClearField("payload_mounts")
        message.config.spec.ClearField("pull_options")
        del message.resolved_mounts[:]
        del message.wanted_networks[:]
        if record.state.status not in ACTIVE or not message.networks:
            self._planned_networks(record, message)
        return message

    def _planned_networks(self, record: Record, message: Container) -> None:
        """Where a container that does not run will be."""
        if message.networks:
            return
        if record.of_task:
            message.networks.extend(
                EndpointState(network_id=a.network_id, network_name=a.network_name)
                for a in record.config.task.attachments
            )
            return
        message.networks.extend(
            EndpointState(network_name=wanted.network, aliases=wanted.aliases, config=wanted)
            for wanted in record.message.wanted_networks
        )

    def details(self, record: Record) -> Container:
        """Everything but the sizes."""
        message = self.summary(record)
        if record.config.log_driver.name not in HIDDEN_LOGS:
            message.log_path = str(log_path(record.folder))
        message.exec_ids.extend(self._exec_ids(record.id))
        return message

    async def add_sizes(self, record: Record, message: Container) -> None:
        """The bytes that it wrote, and with its image's."""
        try:
            message.size_rw_bytes = await asyncio.to_thread(self._snapshots.usage, record.id)
        except SwarmliteError:
            return  # a task's that has ended has none
        try:
            image = self._images.get(record.message.image_id)
        except SwarmliteError:
            return
        message.size_root_fs_bytes = message.size_rw_bytes + image.size_bytes
