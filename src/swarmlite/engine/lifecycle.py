"""What is done to a container: created, started, stopped, restarted, paused, renamed, removed.

One lock a container keeps its changes apart. Whoever waits for a process to end does not hold it:
the end is recorded by the container's own life (`lives`), which takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swarmlite.engine import configuration, id_ranges, mount_plan
from swarmlite.engine.background import Background
from swarmlite.engine.checked import Checked
from swarmlite.engine.container_events import ContainerEvents
from swarmlite.engine.events import moment
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.records import ACTIVE, SHORT, Record, Records
from swarmlite.engine.runs import Runs
from swarmlite.engine.steps import Job, Step, carry_out, finished, kill_point, undo
from swarmlite.engine.turns import Stage, Turns
from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound, SwarmliteError
from swarmlite.model import defaults
from swarmlite.model.signals import signal_number
from swarmlite.proto.containers_pb2 import Container, ContainerConfig, ContainerState
from swarmlite.runtime.client import State
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Image
from swarmlite.tallies import LONG_S, Outcomes

log = logging.getLogger(__name__)

SIGKILL, SIGTERM, SIGCONT = 9, 15, 18
KILL_TIMEOUT_S = 10.0
AT_ONCE = 16
"""Creates and starts at a time: more of them only wait for the same kernel locks."""
START_FAILED = 128
"""The exit code of a container whose process could not even be made, as Docker's."""


@dataclass(frozen=True)
class StepLists:
    """What a container has from its creation on, and what it has while it runs."""

    create: Sequence[Step]
    prepare: Sequence[Step]
    """What a process needs that is not there yet."""
    process: Sequence[Step]
    discard: Sequence[Step]
    """Those of `create` whose undo leaves the record and the log."""

    @property
    def run(self) -> Sequence[Step]:
        """All that a run has."""
        return *self.prepare, *self.process


class Lifecycle:
    """Every change of a container of this host goes through here; one event loop's."""

    def __init__(
        self,
        records: Records,
        steps: StepLists,
        images: ImageStore,
        supervisor: SupervisorLink,
        events: ContainerEvents,
        remove_anonymous: Callable[[str], list[str]],
    ) -> None:
        """`remove_anonymous` takes a container's own volumes away; it blocks."""
        self.records, self._steps, self._images = records, steps, images
        self._supervisor, self._events = supervisor, events
        self._anonymous_gone = remove_anonymous
        self._checked = Checked()
        self._turns = Turns(AT_ONCE)
        self.background = Background()
        self.starts = Outcomes(LONG_S)
        """Of containers, in this process's life."""
        self.cgroup = ""
        """What this host mounts: v1, v2 or hybrid."""
        self.gone: Callable[[Record], None] = lambda _: None
        """Called once a container is removed."""
        self.runs = Runs(self, supervisor, events, self.background)

    # created and removed
    async def create(
        self, config: ContainerConfig, *, container_id: str = "", image: Image | None = None
    ) -> tuple[Record, list[str]]:
        """A container that has not been started, and warnings.

        `container_id` and `image` are a task's. Raises InvalidSpec, NotFound for the image,
        AlreadyExists for the name, and what the steps raise; then nothing of it is left.
        """
        if image is None:
            warnings = [*configuration.check(config), *configuration.left_out(config, self.cgroup)]
            self._check_others(config)
            image = self._image(config.spec.image)
            configuration.check_platform(config, image)
            message = Container(config=config)
            configuration.settle(message, image)
        else:
            message, warnings = self._checked.make(config, image, self.cgroup)
        message.id = container_id or secrets.token_hex(32)
        message.created.CopyFrom(moment(time.time_ns()))
        if id_ranges.is_auto(config.spec.userns_mode):
            message.id_count = id_ranges.count_of(config.spec.userns_mode)
            message.first_id = id_ranges.choose(
                message.id_count, (record.message for record in self.records)
            )
        record = self.records.add(message)
        job = Job(record, image, warnings)
        async with record.lock:
            try:
                self._images.use(image.id, record.owner)
                async with self._turns.one(Stage.CREATE):
                    await carry_out(self._steps.create, job)
                record.state.status = ContainerState.CREATED
                if not record.of_task:  # a task's is written once, by `prepare`
                    await self.records.save(record)
            except BaseException:
                self.records.drop(record)
                self._images.leases.release(record.owner)
                raise
        self._events.tell(record, "create")
        return record, job.warnings

    def _check_others(self, config: ContainerConfig) -> None:
        """Raise InvalidSpec where it names a container that is not there.

        NotFound is the image's: clients pull that one, and ask again.
        """
        for text, name in configuration.others(config):
            try:
                self.records.find(name)
            except NotFound as error:
                raise InvalidSpec(f"{text}{error}") from error

    def _image(self, reference: str) -> Image:
        try:
            return self._images.get(reference)
        except NotFound as error:
            raise NotFound(f"No such image: {reference}") from error

    async def remove(self, record: Record, *, force: bool = False, volumes: bool = False) -> None:
        """Take it away. Raises FailedPrecondition when it runs and `force` is not given."""
        if force:
            await self.end_now(record)
        async with record.lock:
            if record.removed:
                return
            if record.state.status in ACTIVE:
                word = ContainerState.Status.Name(record.state.status).lower()
                raise FailedPrecondition(
                    f'cannot remove container "/{record.name}": container is {word}: stop the '
                    "container before removing or force remove"
                )
            await finished(self._remove(record, volumes))

    async def _remove(self, record: Record, volumes: bool) -> None:
        record.state.status = ContainerState.REMOVING
        # What becomes of a task its agent remembers; one of --rm that has ended goes in any case.
        if not record.of_task and not (record.config.auto_remove and record.exits):
            await self.save(record)
        kill_point("removing")
        try:
            await self._to_rest(record)
            if volumes:
                await self._remove_anonymous(record)
            await undo(self._steps.create, record)
        except OSError as error:
            record.state.status = ContainerState.DEAD
            record.state.error = str(error)
            raise FailedPrecondition(
                f"container {record.id[:SHORT]} could not be removed: {error}"
            ) from error
        self.records.drop(record)
        self.gone(record)
        self._events.tell(record, "destroy")

    async def discard(self, record: Record) -> None:
        """A task's container that has ended: only its record and log stay; safe to repeat.

        Raises SwarmliteError, OSError for what stays.
        """
        async with record.lock:
            if not record.removed and not record.active:
                await finished(self._discard(record))

    async def _discard(self, record: Record) -> None:
        await undo(self._steps.discard, record)
        record.discarded = True
        await self._remove_anonymous(record)
        self._images.leases.release(record.owner)

    async def _remove_anonymous(self, record: Record) -> None:
        mounts = record.message.mounts
        if any(m.name == mount_plan.anonymous(record.id, m.destination) for m in mounts):
            gone = await asyncio.to_thread(self._anonymous_gone, record.id)
            self._events.volumes("destroy", gone)

    async def release(self, record: Record) -> None:
        """It does not run, and nothing of a run is left; safe to repeat."""
        await self.end_now(record)
        async with record.lock:
            if record.prepared and not record.removed:
                record.prepared = False
                await finished(self._to_rest(record))

    async def _to_rest(self, record: Record) -> None:
        """Undo a run, unless that is known to be done. Raises SwarmliteError, OSError."""
        if not record.at_rest:
            await undo(self._steps.run, record)
            record.at_rest = True

    # started
    async def prepare(self, record: Record) -> None:
        """Everything but the process: a task's, ahead of its start."""
        async with record.lock:
            self._check_there(record)
            record.at_rest = False
            async with self._turns.one(Stage.PREPARE):
                await carry_out(self._steps.prepare, self._job(record))
            record.prepared = True
            try:
                # Before there is a process: who is killed then leaves none that nobody knows.
                await self.records.save(record)
            except BaseException as error:
                await finished(self._not_started(record, error))
                raise

    def _job(self, record: Record) -> Job:
        return Job(record, self._images.get(record.message.image_id))

    async def start(self, record: Record) -> None:
        """Run it; one that runs is left alone.

        Raises FailedPrecondition with exec's error and what the steps raise; `state.error` and
        `state.exit_code` say it too then.
        """
        async with record.lock:
            self._check_there(record)
            if record.state.status == ContainerState.PAUSED:
                raise FailedPrecondition("cannot start a paused container, try unpause instead")
            if record.state.status in ACTIVE:
                return
            record.state.stopped_by_user = False
            record.state.restart_count = 0
            await self.begin(record)
            self.runs.follow(record)

    async def start_by_user(self, record: Record) -> None:
        """`start`, of a container that no agent starts. Raises FailedPrecondition for a task's."""
        if record.of_task and not record.active:
            raise FailedPrecondition(
                f"container {record.name} is a task's: its service starts and replaces it"
            )
        await self.start(record)

    async def begin(self, record: Record) -> None:
        """Prepare unless that was done, and start; the lock is the caller's."""
        try:
            with self.starts.one():
                job = self._job(record)
                record.at_rest = False
                async with self._turns.one(Stage.START):
                    steps = self._steps.process if record.prepared else self._steps.run
                    await carry_out(steps, job)
                    record.prepared = True
                    state = await finished(self._begun(job))
        except BaseException as error:
            await finished(self._not_started(record, error))
            raise
        kill_point("started")
        await self._running(record, state)

    async def _begun(self, job: Job) -> State:
        """Its program runs, also where its process was made to wait. Raises SwarmliteError."""
        if job.not_begun is not None:
            raise job.not_begun
        if job.state is not None and job.state.status == "running":
            return job.state
        return await self._supervisor.client.start(job.record.id)

    async def _running(self, record: Record, state: State) -> None:
        now = record.state
        now.status, now.pid = ContainerState.RUNNING, state.pid
        now.started.CopyFrom(moment(int(state.started_at * 1e9)))
        now.error, now.exit_code, now.oom_killed = "", 0, False
        record.run += 1
        record.ended_by_hand = ""
        if record.of_task:
            record.changed()
        else:
            await self.records.save(record, doing=True)
        self._events.tell(record, "start")

    async def _not_started(self, record: Record, error: BaseException) -> None:
        """Keep why, and undo what was prepared; a container of --rm goes."""
        code = START_FAILED
        with contextlib.suppress(SwarmliteError):
            found = await self._supervisor.client.state(record.id)
            code = found.exit_code or code
        record.prepared = False
        with contextlib.suppress(SwarmliteError, OSError):
            await undo(self._steps.run, record)
        record.state.exit_code, record.state.error = code, str(error) or type(error).__name__
        await self.save(record)
        record.failed_starts += 1
        record.changed()
        if record.config.auto_remove and not record.of_task:
            with contextlib.suppress(SwarmliteError):
                await self._remove(record, volumes=True)

    def _check_there(self, record: Record) -> None:
        if record.removed or record.state.status in (ContainerState.REMOVING, ContainerState.DEAD):
            raise FailedPrecondition(
                "container is marked for removal and cannot be started"
                if not record.removed
                else f"No such container: {record.id}"
            )

    # ended
    async def ended(self, record: Record, status: ContainerState.Status.ValueType) -> None:
        """Nothing of its run stays; the lock is the caller's. See runs.Runs."""
        record.prepared = False
        record.state.status = status
        record.state.pid = 0
        # First of all: the supervisor forgets the exit code with the first undo.
        self.records.note(record)
        try:
            await finished(self._to_rest(record))
        except (SwarmliteError, OSError) as error:  # the sweep tries again
            log.warning("a run left something container=%s error=%s", record.id, error)
        if record.of_task or record.config.auto_remove:
            record.changed()  # `note` has said all that anybody will ask for
        else:
            await self.save(record)

    async def save(self, record: Record) -> None:
        """Write down what it is doing; a full disk is said in the log, the container goes on."""
        try:
            await self.records.save(record, doing=True)
        except SwarmliteError as error:
            log.warning("record not written container=%s error=%s", record.id, error)

    async def stop(
        self, record: Record, *, signal: str = "", timeout_s: float | None = None
    ) -> None:
        """The stop signal, the grace period, SIGKILL; one that does not run is left alone.

        `timeout_s` below 0 waits without end. Cancelled: what was signalled stays signalled.
        """
        number = self._stop_signal(record, signal)
        async with record.lock:
            run = await self._run_to_end(record)
            if run is None:
                return
            if record.state.status == ContainerState.PAUSED:
                await self._unpause(record)
        if timeout_s is None:
            timeout_s = defaults.stop_grace_s(record.config.spec)
        self._events.tell(record, "kill", signal=str(number))
        if timeout_s == 0 or not await self._signal(record, run, number, timeout_s):
            await self._kill_run(record, run)
        self._events.tell(record, "stop")

    def _stop_signal(self, record: Record, signal: str) -> int:
        text = signal or record.message.stop_signal
        return signal_number(text) if text else SIGTERM

    async def _stopped_by_user(self, record: Record) -> None:
        record.state.stopped_by_user = True
        if not record.of_task:  # what is desired of a task its agent remembers
            await self.save(record)

    async def _signal(self, record: Record, run: int, number: int, timeout_s: float) -> bool:
        """Whether the run has ended, and its end is recorded, within the time."""
        with contextlib.suppress(NotFound):
            await self._supervisor.client.kill(record.id, number)
        try:
            async with asyncio.timeout(None if timeout_s < 0 else timeout_s):
                await record.until(lambda: record.run != run or not record.active)
        except TimeoutError:
            return False
        return True

    async def end_now(self, record: Record) -> None:
        """SIGKILL, and wait; one that does not run is left alone. Before a forced removal."""
        async with record.lock:
            run = await self._run_to_end(record)
        if run is not None:
            await self._kill_run(record, run)

    async def _run_to_end(self, record: Record) -> int | None:
        """The run that is to end and not to begin again; None when nothing runs. Under the lock."""
        if record.removed or not record.active:
            return None
        await self._stopped_by_user(record)
        if record.state.status == ContainerState.RESTARTING:
            await self.runs.give_up(record)
            return None
        return record.run

    async def _kill_run(self, record: Record, run: int) -> None:
        self._events.tell(record, "kill", signal=str(SIGKILL))
        if not await self._signal(record, run, SIGKILL, KILL_TIMEOUT_S):
            raise FailedPrecondition(
                f"container {record.id[:SHORT]} did not end {KILL_TIMEOUT_S:g} s after SIGKILL"
            )

    async def kill(self, record: Record, signal: str = "") -> None:
        """Send a signal; SIGKILL has ended it when this returns, unless the kernel takes long.

        Raises FailedPrecondition when it does not run, InvalidSpec.
        """
        exits = record.exits
        number = signal_number(signal) if signal else SIGKILL
        if record.state.status not in (ContainerState.RUNNING, ContainerState.PAUSED):
            raise FailedPrecondition(
                f"cannot kill container: {record.name}: container {record.id} is not running"
            )
        if number in (SIGKILL, self._stop_signal(record, "")):
            await self._stopped_by_user(record)
        try:
            await self._supervisor.client.kill(record.id, number)
        except NotFound as error:
            raise FailedPrecondition(
                f"cannot kill container: {record.name}: container {record.id} is not running"
            ) from error
        self._events.tell(record, "kill", signal=str(number))
        if number == SIGKILL:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_TIMEOUT_S):
                    await record.until(lambda: record.removed or record.exits != exits)

    async def restart(
        self, record: Record, *, signal: str = "", timeout_s: float | None = None
    ) -> None:
        """Stop it if it runs, and start it. Raises what both raise."""
        if record.of_task:
            raise FailedPrecondition(
                f"container {record.name} is a task's, and a task is only replaced: use service "
                "update --force"
            )
        await self.stop(record, signal=signal, timeout_s=timeout_s)
        await self.start(record)
        self._events.tell(record, "restart")

    # paused
    async def pause(self, record: Record) -> None:
        """Freeze it. Raises FailedPrecondition."""
        async with record.lock:
            if record.state.status == ContainerState.PAUSED:
                raise FailedPrecondition(f"Container {record.id} is already paused")
            if record.state.status != ContainerState.RUNNING:
                raise FailedPrecondition(f"Container {record.id} is not running")
            await finished(self._supervisor.client.pause(record.id))
            record.state.status = ContainerState.PAUSED
            await self.records.save(record, doing=True)
        self._events.tell(record, "pause")

    async def has_ended(self, record: Record) -> bool:
        """Whether its process has, be it recorded yet or not."""
        if record.state.status not in ACTIVE:
            return True
        try:
            return (await self._supervisor.client.state(record.id)).status == "stopped"
        except NotFound:
            return True

    async def unpause(self, record: Record) -> None:
        """Let it go on. Raises FailedPrecondition."""
        async with record.lock:
            if record.state.status != ContainerState.PAUSED:
                raise FailedPrecondition(f"Container {record.id} is not paused")
            await self._unpause(record)
        self._events.tell(record, "unpause")

    async def _unpause(self, record: Record) -> None:
        await finished(self._supervisor.client.resume(record.id))
        record.state.status = ContainerState.RUNNING
        await self.records.save(record, doing=True)

    # named
    async def rename(self, record: Record, name: str) -> None:
        """Raises AlreadyExists, InvalidSpec."""
        if not name:
            raise InvalidSpec("Neither old nor new names may be empty")
        async with record.lock:
            old = record.name
            self.records.rename(record, name)
            try:
                await self.records.save(record)
            except SwarmliteError:
                self.records.rename(record, old)
                raise
        self._events.tell(record, "rename", oldName=f"/{old}")
