"""/dev/shm of containers whose ipc mode is `shareable`: a tmpfs each on this host, to be joined.

It is never looked up through a container, whose own /dev may lead anywhere.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from swarmlite.engine.oci_spec.namespaces import CONTAINER, SHM_BYTES
from swarmlite.engine.records import Record, Records
from swarmlite.engine.steps import Job
from swarmlite.errors import FailedPrecondition
from swarmlite.kernel import mounting
from swarmlite.proto.containers_pb2 import ContainerState

SHAREABLE = "shareable"


class SharedMemory:
    """A step of `prepare`."""

    name = "shm"

    def __init__(self, folder: Path, records: Records) -> None:
        """`folder` holds the mounts, in the run directory."""
        self._folder, self._records = folder, records

    async def do(self, job: Job) -> None:
        """Mount it, where the container is to share its own."""
        spec = job.record.config.spec
        if spec.ipc_mode != SHAREABLE:
            return
        place = self._folder / job.record.id
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = f"mode=1777,size={spec.shm_size_bytes or SHM_BYTES}".encode()
        flags = mounting.MS_NOSUID | mounting.MS_NODEV | mounting.MS_NOEXEC
        mounting.mount(b"shm", os.fsencode(place), b"tmpfs", flags, options)

    async def undo(self, record: Record) -> None:
        """Unmount it; who has joined it keeps it until it ends."""
        place = self._folder / record.id
        if not place.exists():
            return
        while place.is_mount():
            mounting.umount(os.fsencode(place), mounting.MNT_DETACH)
        with contextlib.suppress(FileNotFoundError):
            place.rmdir()

    def of(self, record: Record) -> Path | None:
        """What a container binds on its /dev/shm; None for one of its own.

        Raises NotFound, FailedPrecondition where another's is not to be had.
        """
        mode = record.config.spec.ipc_mode
        if mode == SHAREABLE:
            return self._folder / record.id
        if not mode.startswith(CONTAINER):
            return None
        other = self._records.find(mode.removeprefix(CONTAINER))
        if other.config.spec.ipc_mode != SHAREABLE:
            raise FailedPrecondition(
                f"container {other.name}: its IPC mode is not shareable: start it with "
                "--ipc=shareable"
            )
        if other.state.status not in (ContainerState.RUNNING, ContainerState.PAUSED):
            raise FailedPrecondition(f"cannot join IPC of a non running container: {other.id}")
        return self._folder / other.id
