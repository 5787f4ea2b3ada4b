"""Containers that nobody sees: run once over a snapshot that is somebody's, and gone.

They have the confinement of any other, and no record: nothing lists them, no event tells of them,
and what a crash leaves of them the sweep takes for strays, snapshots too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from swarmlite.engine import configuration, network_plan
from swarmlite.engine.exits import Exit, SupervisorLink
from swarmlite.engine.records import Record, Records
from swarmlite.engine.steps import Job, Step, carry_out, finished, undo
from swarmlite.errors import NotFound, ResourceExhausted
from swarmlite.proto.containers_pb2 import Container, ContainerConfig
from swarmlite.storage import trees
from swarmlite.storage.images.types import Image

NO_IMAGE = Image("", (), (), {}, (), 0, "")


class Transients:
    """Runs them; one event loop's."""

    def __init__(self, records: Records, steps: Sequence[Step], supervisor: SupervisorLink) -> None:
        """`steps` are those of a start that need no record: sandbox, files, bundle."""
        self._records, self._supervisor = records, supervisor
        self._steps: Sequence[Step] = (_Folder(), *steps)

    @contextlib.contextmanager
    def held(self) -> Iterator[str]:
        """A new id, by which a snapshot may be made and `run`: the sweep leaves it alone."""
        name = secrets.token_hex(32)
        self._records.transient.add(name)
        try:
            yield name
        finally:
            self._records.transient.discard(name)

    def check(self, config: ContainerConfig) -> None:
        """Raises InvalidSpec for what no container may be asked to be."""
        configuration.check(config)

    async def run(
        self,
        key: str,
        config: ContainerConfig,
        *,
        mounts: Sequence[dict[str, Any]] = (),
        stdio: Sequence[int],
    ) -> Exit:
        """Run `config` over the snapshot of a held id, to its end. Nothing of it stays.

        `mounts` are OCI's; `stdio` are three descriptors, the caller's to close. Its image counts
        for nothing: command, environment, user and directory are the config's. Raises
        FailedPrecondition with exec's error, and what a start raises. Cancelled: it is killed.
        """
        message = Container(id=key, config=config)
        message.config.name = f"build-{key[:12]}"
        message.wanted_networks.extend(network_plan.wanted(message.config))
        record = Record(message, self._records.directory / key)
        job = Job(record, NO_IMAGE)
        job.mounts.extend(mounts)
        steps = (*self._steps, _Process(self._supervisor, stdio))
        await carry_out(steps, job)
        try:
            end = self._supervisor.expect(key)
            await finished(self._supervisor.client.start(key))
            return await asyncio.shield(end)
        finally:
            await finished(undo(steps, record))


class _Folder:
    """The bundle's."""

    name = "transient"

    async def do(self, job: Job) -> None:
        """Raises ResourceExhausted."""
        try:
            os.mkdir(job.record.folder, 0o700)  # noqa: PTH102
        except OSError as error:
            raise ResourceExhausted(
                f"a step of a build has no place in {job.record.folder.parent}: {error.strerror}"
            ) from error

    async def undo(self, record: Record) -> None:
        """With all in it."""
        await asyncio.to_thread(trees.set_aside, record.folder)


class _Process:
    """The supervisor's container, on descriptors of the caller's."""

    name = "process"

    def __init__(self, supervisor: SupervisorLink, stdio: Sequence[int]) -> None:
        self._supervisor, self._stdio = supervisor, stdio

    async def do(self, job: Job) -> None:
        """It waits before its exec."""
        record = job.record
        self._supervisor.expect(record.id)
        await self._supervisor.client.create(record.id, record.folder, stdio=self._stdio)

    async def undo(self, record: Record) -> None:
        """Killed, if it still runs."""
        with contextlib.suppress(NotFound):
            await self._supervisor.client.delete(record.id, force=True)
        self._supervisor.forget(record.id)
