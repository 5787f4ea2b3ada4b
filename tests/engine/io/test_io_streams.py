"""Attach and exec as the engine offers them, on a real supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rt_harness import Containers

from swarmlite import errors
from swarmlite.engine.io.attach import Attachments
from swarmlite.engine.io.exec import Execs
from swarmlite.proto.containers_pb2 import (
    AttachInput,
    Container,
    ContainerState,
    ExecConfig,
    ExecInput,
    StreamOutput,
)
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT
from swarmlite.runtime.client import Log

START = AttachInput.Start(stdin=True, stdout=True, stderr=True, stream=True)


class Typed:
    """A client's side: what it sends, in order, when the test says so."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def type(self, data: bytes) -> None:
        self._queue.put_nowait(self._kind(stdin=data))

    def close(self) -> None:
        self._queue.put_nowait(self._kind(stdin_close=True))

    async def messages(self) -> AsyncIterator[Any]:
        while True:
            yield await self._queue.get()


class Engine:
    """What the engine's records would know of a container."""

    def __init__(self, containers: Containers) -> None:
        self.containers = containers
        self.attachments = Attachments(lambda: containers.supervisor)
        self.execs = Execs(lambda: containers.supervisor, self._tell)
        self.messages: dict[str, Container] = {}
        self.told: list[tuple[str, dict[str, str]]] = []

    def _tell(self, container_id: str, action: str, /, **attributes: str) -> None:
        self.told.append((action, attributes))

    def new(self, *args: str, tty: bool = False) -> tuple[Container, Path]:
        def change(spec: dict[str, Any]) -> None:
            spec["process"]["terminal"] = tty

        container_id, bundle = self.containers.bundle(*args, change=change)
        message = Container(id=container_id)
        message.state.status = ContainerState.CREATED
        message.config.spec.open_stdin = True
        message.config.spec.tty = tty
        return message, bundle

    async def run(self, message: Container, bundle: Path, *, stdin_once: bool = False) -> None:
        supervisor = self.containers.supervisor
        self.containers.ids.append(message.id)
        await supervisor.create(message.id, bundle, log=Log(), stdin=True, stdin_once=stdin_once)
        await self.attachments.connect(message.id)
        await supervisor.start(message.id)
        message.state.status = ContainerState.RUNNING

    def attach(self, message: Container, typed: Typed) -> Seen:
        ready = asyncio.Event()

        async def attached() -> None:
            ready.set()

        stream = self.attachments.attach(message, START, typed.messages(), attached)
        return Seen(stream, ready)

    def exec(self, message: Container, bundle: Path, typed: Typed, **config: Any) -> Seen:
        exec_id = self.execs.create(message, bundle, ExecConfig(container=message.id, **config))
        seen = Seen(self.execs.start(exec_id, message, typed.messages(), False), asyncio.Event())
        seen.exec_id = exec_id
        return seen

    async def ended(self, exec_id: str) -> None:
        async with asyncio.timeout(30):
            while self.execs.inspect(exec_id).running:
                await asyncio.sleep(0.02)


class Seen:
    """What a client has been sent."""

    def __init__(self, stream: AsyncIterator[StreamOutput], ready: asyncio.Event) -> None:
        self.stream, self.ready = stream, ready
        self.out, self.err, self.exec_id = b"", b"", ""
        self.exit_code: int | None = None
        self._changed = asyncio.Event()
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async for message in self.stream:
            self.out += message.data if message.stream == LOG_STDOUT else b""
            self.err += message.data if message.stream == LOG_STDERR else b""
            if message.HasField("exit_code"):
                self.exit_code = message.exit_code
            self._changed.set()

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(30):
            while text not in self.out:
                self._changed.clear()
                await self._changed.wait()

    async def end(self) -> int | None:
        await asyncio.wait_for(self.task, 30)
        return self.exit_code

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))


@pytest_asyncio.fixture
async def engine(containers: Containers) -> Engine:
    return Engine(containers)


async def test_who_attaches_before_the_start_misses_nothing(engine: Engine) -> None:
    message, bundle = engine.new("sh", "-c", "echo out; echo err >&2; read word; exit $word")
    typed = Typed(AttachInput)
    seen = engine.attach(message, typed)
    await seen.ready.wait()
    await engine.run(message, bundle)
    typed.type(b"7\n")
    assert await seen.end() == 7
    assert (seen.out, seen.err) == (b"out\n", b"err\n")


async def test_detaching_ends_nothing_and_half_closing_ends_the_input(engine: Engine) -> None:
    message, bundle = engine.new("sh", "-c", "cat; echo over")
    await engine.run(message, bundle)
    first = engine.attach(message, Typed(AttachInput))
    await first.ready.wait()
    await first.leave()
    typed = Typed(AttachInput)
    seen = engine.attach(message, typed)
    typed.type(b"still here\n")
    await seen.until(b"still here\n")
    await seen.leave()
    assert (await engine.containers.supervisor.state(message.id)).status == "running"
    once, bundle = engine.new("sh", "-c", "cat; echo over")
    await engine.run(once, bundle, stdin_once=True)
    typed = Typed(AttachInput)
    seen = engine.attach(once, typed)
    typed.type(b"a")
    typed.close()
    assert await seen.end() == 0
    assert seen.out == b"aover\n"


async def test_a_container_that_is_paused_cannot_be_attached_to(engine: Engine) -> None:
    message, bundle = engine.new("sleep", "100")
    await engine.run(message, bundle)
    message.state.status = ContainerState.PAUSED
    seen = engine.attach(message, Typed(AttachInput))
    with pytest.raises(errors.FailedPrecondition, match="unpause it first"):
        await seen.end()


async def test_a_stream_ends_though_its_container_runs_again_before_its_end_is_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an exit code: that of the process that runs now is another's."""
    message, bundle = engine.new("sleep", "100")
    await engine.run(message, bundle)
    supervisor = engine.containers.supervisor
    attach = supervisor.attach

    async def late(*args: Any, **options: Any) -> Any:
        attached = await attach(*args, **options)
        await supervisor.delete(message.id, force=True)
        await supervisor.create(message.id, bundle, log=Log(), start=True)
        return attached

    monkeypatch.setattr(supervisor, "attach", late)
    seen = engine.attach(message, Typed(AttachInput))
    assert await seen.end() is None
    assert (await supervisor.state(message.id)).status == "running"


async def test_those_who_wait_for_a_removed_container_are_told(engine: Engine) -> None:
    message, _ = engine.new("true")
    seen = engine.attach(message, Typed(AttachInput))
    await seen.ready.wait()
    engine.attachments.removed(message.id)
    with pytest.raises(errors.FailedPrecondition, match="was removed"):
        await seen.end()


async def test_exec_runs_as_asked_and_its_exit_code_can_be_asked_for(engine: Engine) -> None:
    message, bundle = engine.new("sleep", "100")
    await engine.run(message, bundle)
    typed = Typed(ExecInput)
    script = "id -u; pwd; echo $WORD $TERM.; cat; echo bad >&2; exit 5"
    seen = engine.exec(
        message, bundle, typed,
        command=["sh", "-c", script], env=["WORD=yes"], user="redis", dir="/data",
        attach_stdin=True,
    )  # fmt: skip
    typed.type(b"typed\n")
    await seen.until(b"typed\n")
    assert engine.execs.inspect(seen.exec_id).running
    assert engine.execs.ids_of(message.id) == [seen.exec_id]
    typed.close()
    assert await seen.end() == 5
    assert (seen.out, seen.err) == (b"999\n/data\nyes .\ntyped\n", b"bad\n")
    state = engine.execs.inspect(seen.exec_id)
    assert (state.running, state.exit_code) == (False, 5)
    with pytest.raises(errors.Conflict, match="already been started"):
        await anext(engine.execs.start(seen.exec_id, message, typed.messages(), False))
    engine.execs.forget(message.id)
    with pytest.raises(errors.NotFound):
        engine.execs.inspect(seen.exec_id)


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/etc/passwd", 126)])
async def test_exec_of_no_program_has_a_shells_exit_code(
    engine: Engine, command: str, code: int
) -> None:
    message, bundle = engine.new("sleep", "100")
    await engine.run(message, bundle)
    seen = engine.exec(message, bundle, Typed(ExecInput), command=[command])
    with pytest.raises(errors.FailedPrecondition, match=r"^exec: "):
        await seen.end()
    assert engine.execs.inspect(seen.exec_id).exit_code == code


async def test_an_exec_with_a_terminal_knows_its_size_and_kind_and_follows_resizes(
    engine: Engine,
) -> None:
    message, bundle = engine.new("sleep", "100")
    await engine.run(message, bundle)
    typed = Typed(ExecInput)
    script = "trap 'stty size' WINCH; stty size; echo $TERM; while :; do sleep 0.05; done"
    seen = engine.exec(
        message, bundle, typed, command=["sh", "-c", script], tty=True,
        console_height=31, console_width=97, attach_stdin=True,
    )  # fmt: skip
    await seen.until(b"31 97\r\nxterm\r\n")
    engine.execs.resize(seen.exec_id, 40, 80)
    await seen.until(b"40 80\r\n")
    typed.type(b"\x03")
    assert await seen.end() == 130


def test_a_size_that_no_terminal_has_changes_nothing() -> None:
    def nobody() -> Any:
        raise errors.Unavailable("nothing is run here")

    execs = Execs(nobody, lambda *_, **__: None)
    message = Container(id="a" * 64)
    message.state.status = ContainerState.RUNNING
    exec_id = execs.create(message, Path(), ExecConfig(command=["sh"], tty=True))
    execs.sized(exec_id, [31, 97])
    for size in ([70_000, 5], [5, -1], [5, 1.5], [5], 5, "55", None):
        with pytest.raises(errors.InvalidSpec, match="terminal"):
            execs.sized(exec_id, size)
    config = execs.inspect(exec_id).config
    assert (config.console_height, config.console_width) == (31, 97)


async def test_what_an_exec_runs_outlives_its_client(engine: Engine) -> None:
    message, bundle = engine.new("sleep", "100")
    await engine.run(message, bundle)
    for tty in (False, True):
        seen = engine.exec(
            message, bundle, Typed(ExecInput), tty=tty,
            command=["sh", "-c", "echo one; while [ ! -e /tmp/go ]; do sleep 0.05; done; "
                     "seq 1 50000; touch /tmp/done"],
        )  # fmt: skip
        await seen.until(b"one")
        await seen.leave()
        await engine.containers.exec(message.id, "touch", "/tmp/go")
        await engine.ended(seen.exec_id)
        assert engine.execs.inspect(seen.exec_id).exit_code == 0
        code, _ = await engine.containers.exec(message.id, "rm", "/tmp/done", "/tmp/go")
        assert code == 0


async def test_a_detached_exec_is_answered_at_once(engine: Engine) -> None:
    message, bundle = engine.new("sleep", "100")
    await engine.run(message, bundle)
    exec_id = engine.execs.create(
        message, bundle, ExecConfig(command=["sh", "-c", "read word; exit 3"], detach=True)
    )
    stream = engine.execs.start(exec_id, message, Typed(ExecInput).messages(), False)
    assert [output async for output in stream] == []
    await engine.ended(exec_id)
    assert engine.execs.inspect(exec_id).exit_code != 0


async def test_a_privileged_exec_has_what_the_hosts_root_has(engine: Engine) -> None:
    message, bundle = engine.new("sleep", "100")
    await engine.run(message, bundle)
    masks = []
    for privileged in (False, True):
        seen = engine.exec(
            message, bundle, Typed(ExecInput), privileged=privileged,
            command=["sh", "-c", "grep -E 'CapEff|Seccomp:' /proc/self/status"],
        )  # fmt: skip
        assert await seen.end() == 0
        masks.append(seen.out.decode().split())
    own = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff")
    )
    assert masks[1][1] == own["CapEff"] and masks[0][1] != own["CapEff"]
    assert (masks[1][3]) == "0"


async def test_exec_in_a_paused_or_stopped_container_says_so(engine: Engine) -> None:
    message, bundle = engine.new("true")
    for status, words in ((ContainerState.PAUSED, "unpause"), (ContainerState.EXITED, "not run")):
        message.state.status = status
        with pytest.raises(errors.FailedPrecondition, match=words):
            engine.execs.create(message, bundle, ExecConfig(command=["true"]))
    message.state.status = ContainerState.RUNNING
    with pytest.raises(errors.InvalidSpec, match="no exec command"):
        engine.execs.create(message, bundle, ExecConfig())


async def test_who_leaves_before_the_start_is_not_attached(engine: Engine) -> None:
    message, bundle = engine.new("sh", "-c", "echo out; cat")
    gone = [engine.attach(message, Typed(AttachInput)) for _ in range(3)]
    staying = engine.attach(message, Typed(AttachInput))
    for seen in (*gone, staying):
        await seen.ready.wait()
    running = asyncio.ensure_future(engine.run(message, bundle))
    await asyncio.sleep(0)
    for seen in gone:
        await seen.leave()
    await running
    await staying.until(b"out\n")
    await engine.containers.supervisor.kill(message.id, 9)
    assert await staying.end() == 137
