"""What a container has from its creation to its removal: its folder, its root, its volumes."""

from __future__ import annotations

import asyncio
import contextlib
import os

from swarmlite.engine import mount_plan
from swarmlite.engine.container_events import ContainerEvents
from swarmlite.engine.container_mounts import ContainerMounts
from swarmlite.engine.records import Record, Records
from swarmlite.engine.roots import Roots
from swarmlite.engine.steps import Job
from swarmlite.errors import ResourceExhausted
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.storage import trees
from swarmlite.storage.leases import Leases

LOGS = "logs"


class Folder:
    """The container's own folder; while there is no record in it, a crash undoes the create."""

    name = "folder"

    def __init__(self, leases: Leases) -> None:
        """`leases` hold the image and volumes, by the container's name as an owner."""
        self._leases = leases

    async def do(self, job: Job) -> None:
        """First of all, so that a crash from here on is found."""
        try:
            for folder in (f"{job.record.folder}", f"{job.record.folder}/{LOGS}"):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700)  # noqa: PTH102
        except OSError as error:
            raise ResourceExhausted(
                f"container {job.record.id[:12]} cannot be given a folder in "
                f"{job.record.folder.parent}: {error.strerror}"
            ) from error

    async def undo(self, record: Record) -> None:
        """The folder, with logs and all; image and volumes are no longer held for it."""
        await asyncio.to_thread(trees.set_aside, record.folder)
        self._leases.release(record.owner)


class Root:
    """The container's writable layer over its image."""

    name = "root"

    def __init__(self, roots: Roots) -> None:
        """`roots` makes and keeps them."""
        self._roots = roots

    async def do(self, job: Job) -> None:
        """Nothing is mounted."""
        await self._roots.prepare(job.record, job.image)

    async def undo(self, record: Record) -> None:
        """What the container wrote is gone."""
        if not record.discarded:
            await self._roots.remove(record)


class Volumes:
    """Named volumes made when absent, anonymous ones of its own, empty ones filled from the image.

    The undo keeps them all: `Lifecycle.remove` is told whether anonymous ones go too.
    """

    name = "volumes"

    def __init__(
        self, volumes: ContainerMounts, records: Records, roots: Roots, events: ContainerEvents
    ) -> None:
        """`records` are where `volumes_from` looks."""
        self._volumes, self._records, self._roots = volumes, records, roots
        self._events = events

    async def do(self, job: Job) -> None:
        """Raises InvalidSpec for a bind's source that is not there."""
        record = job.record
        if not mount_plan.needs_any(record.config, job.image_config):
            return
        mounts = mount_plan.resolve(record.id, record.config, job.image_config, self._records.find)
        lower_dirs = self._roots.lower_dirs(job.image)
        made: list[str] = []
        try:
            points = await asyncio.to_thread(
                self._volumes.provide, record, mounts, lower_dirs, made.append
            )
        finally:
            self._events.volumes("create", made)
        record.message.resolved_mounts.extend(mounts)
        record.message.mounts.extend(points)

    async def undo(self, record: Record) -> None:
        """A create that failed takes the anonymous ones along."""
        if record.state.status == ContainerState.CREATING:
            gone = await asyncio.to_thread(self._volumes.remove_anonymous, record.id)
            self._events.volumes("destroy", gone)
