"""The start of the engine: what an earlier process left is taken up, finished or undone.

Decided by what the record says and what the supervisor has: a process that runs is adopted by its
pid and start time, which only the supervisor vouches for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from swarmlite.engine import bundles
from swarmlite.engine.container_mounts import ContainerMounts
from swarmlite.engine.events import moment, nanoseconds
from swarmlite.engine.exits import LOST_CODE, Exit, SupervisorLink, exit_of
from swarmlite.engine.lifecycle import Lifecycle, StepLists
from swarmlite.engine.records import ACTIVE, OWNER, Record, Records
from swarmlite.engine.restart import wanted
from swarmlite.engine.steps import undo
from swarmlite.errors import NotFound, SwarmliteError
from swarmlite.network.node import NodeNetwork
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.types_pb2 import Mount
from swarmlite.runtime.client import State
from swarmlite.storage import trees
from swarmlite.storage.host import Storage

log = logging.getLogger(__name__)

GOING = (ContainerState.REMOVING, ContainerState.DEAD)
LOST = "the container is gone: the node or its supervisor was started again"


class Recovery:
    """One pass at the start, and a sweep from time to time."""

    def __init__(
        self,
        records: Records,
        steps: StepLists,
        lifecycle: Lifecycle,
        supervisor: SupervisorLink,
        network: NodeNetwork,
        mounts: ContainerMounts,
        storage: Storage,
    ) -> None:
        """All are the engine's own."""
        self._records, self._steps, self._lifecycle = records, steps, lifecycle
        self._supervisor, self._network, self._mounts = supervisor, network, mounts
        self._storage = storage

    async def start(self) -> None:
        """Take everything up. Raises Unavailable without a supervisor, OSError."""
        self._records.load()
        self._hold()
        states = {state.id: state for state in await self._supervisor.client.list()}
        sandboxes = set(self._network.sandboxes())
        for record in self._records:
            try:
                await self._take_up(record, states.get(record.id), record.id in sandboxes)
            except (SwarmliteError, OSError) as error:  # the sweep tries again
                log.warning("not taken up container=%s error=%s", record.id, error)
        await self.sweep()

    def _hold(self) -> None:
        """The records say what is in use: a power cut may have cost the newest leases."""
        leases = self._storage.leases
        for record in self._records:
            message = record.message
            if record.of_task and record.state.status == ContainerState.EXITED:
                continue  # nothing but its log is left
            leases.hold(
                record.owner,
                images=[message.image_id],
                volumes=[m.source for m in message.resolved_mounts if m.type == Mount.VOLUME],
            )

    async def _take_up(self, record: Record, found: State | None, has_sandbox: bool) -> None:
        status = record.state.status
        if status == ContainerState.CREATING:
            log.info("undoing a create that was cut short container=%s", record.id)
            await undo([*self._steps.create, *self._steps.run], record)
            self._records.drop(record)
        elif status in GOING:
            await self._lifecycle.remove(record, force=True, volumes=record.config.auto_remove)
        elif found is not None and found.status == "running":
            await self._adopt(record, found)
        elif status in ACTIVE or (found is not None and found.started_at > 0):
            self._lifecycle.runs.follow(record, end=_end(record, found))
        else:
            if found is not None or has_sandbox:  # a start or an end that was cut short
                await undo(self._steps.run, record)
            if status == ContainerState.EXITED and record.state.HasField("started"):
                record.last_end = _recorded_end(record.state)
            self._start_as_wanted(record)

    async def _adopt(self, record: Record, found: State) -> None:
        state = record.state
        if state.status != ContainerState.PAUSED:
            state.status = ContainerState.RUNNING
        state.pid = found.pid
        if found.started_at:
            state.started.CopyFrom(moment(round(found.started_at * 1e9)))
        record.run += 1
        record.mounted = True
        self._supervisor.expect(record.id)
        self._lifecycle.runs.follow(record)

    def _start_as_wanted(self, record: Record) -> None:
        """What has ended before: `always` brings it back when the daemon starts."""
        state, config = record.state, record.config
        if record.of_task or not state.HasField("started"):
            return
        if config.auto_remove:
            self._lifecycle.background.spawn(
                self._lifecycle.remove(record, volumes=True), f"removal of {record.id}"
            )
        elif wanted(config.restart, state, daemon=True):
            self._lifecycle.background.spawn(self._start(record), f"start of {record.id}")

    async def _start(self, record: Record) -> None:
        try:
            await self._lifecycle.start(record)
        except SwarmliteError as error:
            log.warning("not started again container=%s error=%s", record.id, error)

    # leftovers
    async def sweep(self) -> None:
        """Remove what no record owns. Raises Unavailable without a supervisor.

        What there is is listed first and the records asked after, so that what begins meanwhile is
        spared.
        """
        listed = await self._supervisor.client.list()
        folders = await asyncio.to_thread(_names, self._records.directory)
        made = await asyncio.to_thread(_names, self._records.bundles)
        ours = (self._records.directory, self._records.bundles)
        for state in listed:
            if state.bundle.parent in ours and state.id not in self._records:
                log.info("removing a stray container id=%s", state.id)
                with contextlib.suppress(NotFound, SwarmliteError):
                    await self._supervisor.client.delete(state.id, force=True)
        for sandbox in self._strays(self._network.sandboxes()):
            log.info("removing a stray sandbox id=%s", sandbox)
            with contextlib.suppress(SwarmliteError, OSError):
                await self._network.delete_sandbox(sandbox)
        snapshots, leases = self._storage.snapshots, self._storage.leases
        for key in self._strays(snapshots.keys()):
            with contextlib.suppress(SwarmliteError):
                await asyncio.to_thread(snapshots.remove, key)
        for name in self._strays(folders):
            log.info("removing a stray folder name=%s", name)
            try:
                await asyncio.to_thread(self._mounts.remove_anonymous, name)
                await asyncio.to_thread(trees.remove, self._records.directory / name)
            except (SwarmliteError, OSError) as error:
                log.warning("a stray folder stays name=%s error=%s", name, error)
        for name in self._strays(made):
            with contextlib.suppress(OSError):
                bundles.discard(self._records.bundles / name)
        for owner in leases.owners(OWNER):
            if owner.removeprefix(OWNER) not in self._records:
                leases.release(owner)
        await self._undo_ended({state.id: state for state in listed})

    def _strays(self, ids: Sequence[str]) -> list[str]:
        return [name for name in ids if name not in self._records]

    async def _undo_ended(self, states: Mapping[str, State]) -> None:
        """Runs whose undo failed when they ended, say because the supervisor was away."""
        held = set(self._network.sandboxes()) | {
            s.id for s in states.values() if s.status == "stopped"
        }
        for record in self._records:
            if record.state.status in GOING and not record.lock.locked():
                with contextlib.suppress(SwarmliteError):
                    await self._lifecycle.remove(record, volumes=record.config.auto_remove)
            if record.id not in held or record.lock.locked() or record.active or record.prepared:
                continue
            async with record.lock:
                if not record.active and not record.prepared and not record.removed:
                    with contextlib.suppress(SwarmliteError, OSError):
                        await undo(self._steps.run, record)


def _names(directory: Path) -> list[str]:
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return [name for name in names if not name.startswith(trees.GONE)]


def _end(record: Record, found: State | None) -> Exit:
    """How a container ended that was running, or waited to be started again."""
    if found is not None and found.started_at > 0:
        return exit_of(found)
    if record.state.status == ContainerState.RESTARTING:
        return _recorded_end(record.state)
    return Exit(LOST_CODE, lost=LOST)


def _recorded_end(state: ContainerState) -> Exit:
    return Exit(state.exit_code, state.oom_killed, "", nanoseconds(state.finished))
