"""Commands in running containers: made under an id, started once, told of until forgotten.

Nothing of an exec outlives the engine's own process but what it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmlite.engine.bundles import process_spec
from swarmlite.engine.io import console
from swarmlite.engine.io.descriptors import Owned
from swarmlite.engine.io.exec_events import ExecEvents, Tell
from swarmlite.engine.io.pumps import ended, feed, outputs
from swarmlite.errors import (
    Conflict,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
    SwarmliteError,
)
from swarmlite.proto.containers_pb2 import (
    Container,
    ContainerState,
    ExecConfig,
    ExecInput,
    ExecState,
    StreamOutput,
)
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogStream
from swarmlite.runtime.client import Exec, Supervisor

MAX_PER_CONTAINER = 1000  # execs that have not ended
KEPT_PER_CONTAINER = 64  # execs that have ended, and may still be inspected
NOT_RUN, NOT_FOUND = 126, 127


def process_of(container: Container, bundle: Path, config: ExecConfig) -> dict[str, Any]:
    """The OCI process: as the container's own, but for what `config` says.

    Raises as `check` does.
    """
    check(container, config)
    process = dict(process_spec(bundle))
    process.update(args=list(config.command), terminal=config.tty)
    terminal = ["TERM=xterm"] if config.tty else []
    process["env"] = _merged([*terminal, *process.get("env", []), *config.env])
    process.pop("consoleSize", None)
    if config.tty and config.console_height and config.console_width:
        process["consoleSize"] = {"height": config.console_height, "width": config.console_width}
    if config.dir:
        process["cwd"] = config.dir
    if config.user:
        added = process.get("user", {}).get("additionalGroups", [])
        process["user"] = {"uid": 0, "gid": 0, "username": config.user, "additionalGroups": added}
    return process


def check(container: Container, config: ExecConfig) -> None:
    """Raises FailedPrecondition when the container does not run, InvalidSpec."""
    if container.state.status == ContainerState.PAUSED:
        raise FailedPrecondition(
            f"Container {container.id[:12]} is paused, unpause the container before exec"
        )
    if container.state.status != ContainerState.RUNNING:
        raise FailedPrecondition(f"container {container.id[:12]} is not running")
    if not config.command or not config.command[0]:
        raise InvalidSpec("no exec command specified")


def _merged(entries: list[str]) -> list[str]:
    """A later NAME=value replaces an earlier one; a bare NAME takes it away."""
    values: dict[str, str] = {}
    for entry in entries:
        name, separator, value = entry.partition("=")
        if separator:
            values[name] = value
        else:
            values.pop(name, None)
    return [f"{name}={value}" for name, value in values.items()]


class Execution:
    """One exec, from its making until it is forgotten."""

    def __init__(self, container: Container, bundle: Path, config: ExecConfig, tell: Tell) -> None:
        self.id = os.urandom(32).hex()
        self.events = ExecEvents(tell, container.id, config.command, self.id)
        self.container_id, self.bundle, self.config = container.id, bundle, config
        self.started = False
        self.running: Exec | None = None
        self.exit_code: int | None = None

    def state(self) -> ExecState:
        """As clients see it."""
        return ExecState(
            id=self.id,
            container_id=self.container_id,
            config=self.config,
            running=self.running is not None and self.exit_code is None,
            exit_code=self.exit_code,
            pid=self.running.pid if self.running is not None else 0,
        )


@dataclass(frozen=True)
class Opened:
    """One that runs, with our ends of its streams, which do not block; `end` comes after its exit.

    `streams` are to be read from; `stdin` is there where its input is open.
    """

    execution: Execution
    owned: Owned
    streams: dict[int, LogStream.ValueType]
    stdin: int | None
    end: asyncio.Future[None]

    def feed(self, inputs: AsyncIterator[ExecInput]) -> asyncio.Future[None]:
        """Hand input on until its end."""
        assert self.stdin is not None
        return asyncio.ensure_future(feed(self.owned, self.stdin, inputs))


class Execs:
    """The execs of this host's containers."""

    def __init__(self, client: Callable[[], Supervisor], tell: Tell) -> None:
        """`client` is the connection to the supervisor; raises Unavailable while there is none."""
        self._client, self._tell = client, tell
        self._execs: dict[str, Execution] = {}
        self._watching: set[asyncio.Future[None]] = set()

    def create(self, container: Container, bundle: Path, config: ExecConfig) -> str:
        """Its id. Raises as `check` does, ResourceExhausted."""
        check(container, config)
        mine = [e for e in self._execs.values() if e.container_id == container.id]
        over = [e for e in mine if e.started and e.exit_code is not None]
        if len(mine) - len(over) >= MAX_PER_CONTAINER:
            raise ResourceExhausted(
                f"container {container.id[:12]} has {MAX_PER_CONTAINER} execs that have not ended"
            )
        for execution in over[: max(0, len(over) - KEPT_PER_CONTAINER)]:
            del self._execs[execution.id]
        execution = Execution(container, bundle, config, self._tell)
        self._execs[execution.id] = execution
        execution.events.created()
        return execution.id

    def inspect(self, exec_id: str) -> ExecState:
        """Raises NotFound."""
        return self._get(exec_id).state()

    def ids_of(self, container_id: str) -> list[str]:
        """Those of a container that run."""
        return [
            execution.id
            for execution in self._execs.values()
            if execution.container_id == container_id and execution.state().running
        ]

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        for execution in [e for e in self._execs.values() if e.container_id == container_id]:
            del self._execs[execution.id]

    def container_of(self, exec_id: str) -> str:
        """The id of the container that it is for. Raises NotFound."""
        return self._get(exec_id).container_id

    def sized(self, exec_id: str, size: Any) -> None:
        """The terminal's [height, width] when it begins. Raises NotFound, InvalidSpec."""
        config = self._get(exec_id).config
        match size:
            case [int(height), int(width)]:
                console.check_size(height, width)
                config.console_height, config.console_width = height, width
            case _:
                raise InvalidSpec(f"exec: {str(size)[:40]} is not a size of a terminal")

    def resize(self, exec_id: str, height: int, width: int) -> None:
        """Its terminal's size. Raises NotFound, FailedPrecondition without a terminal."""
        running = self._get(exec_id).running
        if running is None or running.console is None:
            raise FailedPrecondition(f"exec {exec_id[:12]} has no terminal that is open")
        console.resize(running.console, height, width)

    def _get(self, exec_id: str) -> Execution:
        found = self._execs.get(exec_id)
        if found is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    async def start(
        self, exec_id: str, container: Container, inputs: AsyncIterator[ExecInput], detach: bool
    ) -> AsyncGenerator[StreamOutput, None]:
        """Output as it comes; the last message carries the exit code. Detached: nothing comes.

        Raises and leaves what it runs as `opened` does.
        """
        if detach or self._get(exec_id).config.detach:
            execution, process = self._begin(exec_id, container)
            with Owned() as owned:
                await self._run(execution, process, owned, {})
            return
        async with self.opened(exec_id, container) as made:
            feeding = [] if made.stdin is None else [made.feed(inputs)]
            try:
                async with contextlib.aclosing(outputs(made.streams)) as messages:
                    async for message in messages:
                        yield message
                await asyncio.shield(made.end)
                yield StreamOutput(exit_code=made.execution.exit_code)
            finally:
                await ended(*feeding)

    @asynccontextmanager
    async def opened(self, exec_id: str, container: Container) -> AsyncIterator[Opened]:
        """It runs, and what it reads and writes is here until the end of the block.

        Raises SwarmliteError when it cannot be run; its exit code is then 126 or 127. At the end of
        the block what it runs goes on, its input ended, its output read and dropped.
        """
        execution, process = self._begin(exec_id, container)
        with Owned() as owned:
            made = await self._open(execution, process, owned)
            try:
                yield made
            finally:
                if execution.exit_code is None:
                    self._watch_over(_discard(owned.release(*made.streams), made.streams))

    def _begin(self, exec_id: str, container: Container) -> tuple[Execution, dict[str, Any]]:
        execution = self._get(exec_id)
        if execution.started:
            raise Conflict(f"exec {exec_id[:12]} has already been started")
        execution.started = True
        try:
            return execution, process_of(container, execution.bundle, execution.config)
        except SwarmliteError:
            execution.exit_code = NOT_RUN
            raise

    async def _open(self, execution: Execution, process: dict[str, Any], owned: Owned) -> Opened:
        config = execution.config
        stdin: int | None = None
        theirs = {}
        streams = {}
        if not config.tty:
            for name, kind in (("stdout", LOG_STDOUT), ("stderr", LOG_STDERR)):
                ours, theirs[name] = owned.pipe()
                streams[ours] = kind
            if config.attach_stdin:
                theirs["stdin"], stdin = owned.pipe()
        running, end = await self._run(execution, process, owned, theirs)
        owned.close(*theirs.values())
        if running.console is not None:
            output = os.dup(running.console)
            owned.add(output)
            streams = {output: LOG_STDOUT}
            if config.attach_stdin:
                stdin = os.dup(running.console)
                owned.add(stdin)
        for descriptor in (*streams, *([] if stdin is None else [stdin])):
            os.set_blocking(descriptor, False)
        return Opened(execution, owned, streams, stdin, end)

    def _watch_over(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        future = asyncio.ensure_future(work)
        self._watching.add(future)
        future.add_done_callback(self._watching.discard)
        return future

    async def _run(
        self,
        execution: Execution,
        process: dict[str, Any],
        owned: Owned,
        theirs: dict[str, int],
    ) -> tuple[Exec, asyncio.Future[None]]:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        owned.add(null)
        try:
            running = await self._client().exec(
                execution.container_id,
                process,
                stdin=theirs.get("stdin", null),
                stdout=theirs.get("stdout", null),
                stderr=theirs.get("stderr", null),
                privileged=execution.config.privileged,
            )
        except SwarmliteError as error:
            execution.exit_code = exit_code_of(error)
            raise
        execution.running = running
        execution.events.started()
        return running, self._watch_over(_watch(execution, running))


async def _watch(execution: Execution, running: Exec) -> None:
    """Its exit code, whoever still asks; its console is open until then."""
    try:
        execution.exit_code = await running.wait()
    except SwarmliteError:
        execution.exit_code = 255  # the supervisor, or the container, is gone
    finally:
        if execution.exit_code is not None:
            execution.events.died(execution.exit_code)
        if running.console is not None:
            os.close(running.console)
            running.console = None


async def _discard(owned: Owned, streams: Iterable[int]) -> None:
    """Read what nobody wants any more, so that its writer neither waits nor dies of it."""
    with owned:
        async for _ in outputs(dict.fromkeys(streams, LOG_STDOUT)):
            pass


def exit_code_of(error: SwarmliteError) -> int:
    """A shell's exit code for a command that could not be run: not there, or not a program."""
    text = str(error)
    missing = "not found" in text or "no such file" in text or "is missing" in text
    return NOT_FOUND if text.startswith("exec: ") and missing else NOT_RUN
