"""The asyncio client of the supervisor: what the agent and the command line call.

One connection carries all calls at once. When the supervisor goes away every call in flight raises
Unavailable; containers that it ran are then gone too (connect again to learn of it). Cancelling a
call abandons its answer, not its effect.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmlite import errors
from swarmlite.runtime.supervisor import protocol


@dataclass(frozen=True)
class State:
    """One container as the supervisor knows it; times are seconds since the epoch, 0 for never."""

    id: str
    bundle: Path
    pid: int
    start_time_ticks: int
    status: str  # "created", "running" or "stopped"
    created_at: float
    started_at: float
    finished_at: float
    exit_code: int | None  # 128+signal when killed by one
    oom_killed: bool
    error: str
    warnings: Sequence[str] = ()  # what the spec asks for and this host left out

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> State:
        """From the supervisor's JSON."""
        return cls(**{**data, "bundle": _path(data["bundle"])})


_path = functools.lru_cache(4096)(Path)
"""A container's state comes several times in its life; making the Path is half of reading it."""


@dataclass(frozen=True)
class LogFile:
    """JSON lines, rotated to path.1, path.2 ... at max_bytes; `attrs` stand in each."""

    path: Path
    max_bytes: int = 10 << 20
    max_files: int = 3
    compress: bool = False
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """Where stdout and stderr go: into a file, to a driver elsewhere, both, or nowhere.

    `remote`: {"kind": "journald", "fields": {NAME: value}}, or {"kind": "syslog", "transport",
    "path" or "address" and "port", "facility", "format", "hostname", "tag"}. When it takes no more
    the container waits a while with `blocking`, else what is above the buffer is dropped.
    """

    file: LogFile | None = None
    remote: Mapping[str, Any] | None = None
    blocking: bool = True
    max_buffer_bytes: int = 1 << 20

    def to_wire(self) -> dict[str, Any]:
        """As the supervisor reads it."""
        wire: dict[str, Any] = {}
        if self.file is not None:
            wire["file"] = {**vars(self.file), "path": str(self.file.path)}
        if self.remote is not None:
            wire |= {
                "remote": dict(self.remote),
                "blocking": self.blocking,
                "max_buffer_bytes": self.max_buffer_bytes,
            }
        return wire


Answer = tuple[dict[str, Any], list[int]]
"""What came for a call, an error too, and its descriptors."""


@dataclass(frozen=True)
class Attached:
    """An attachment: a descriptor for standard input, if there is one, and since when it is."""

    stdin: int | None
    time_ns: int
    tty: bool
    created_at: float | None
    """What `wait` takes; None where the supervisor is older than that."""


@dataclass
class Exec:
    """A process that was started in a container; `console` is its pty's master, yours to close."""

    id: str
    pid: int
    console: int | None
    supervisor: Supervisor
    end: asyncio.Future[Answer]

    async def wait(self) -> int:
        """Its exit code, 128+signal when killed; raises Unavailable."""
        answer, _ = await asyncio.shield(self.end)
        return int(_result(answer)["exit_code"])

    async def kill(self, signal: int) -> None:
        """Send it a signal; raises NotFound when it has ended."""
        await self.supervisor._call("exec_kill", exec_id=self.id, signal=signal)


class Supervisor:
    """A connection to the supervisor; make it with `connect`, end it with `close`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = protocol.Decoder()
        self._fds: list[int] = []
        self._outgoing: list[tuple[bytes, list[int]]] = []
        self._waits_to_write = False
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._subscribers: set[asyncio.Queue[State | None]] = set()
        self.on_oom: Callable[[str], None] | None = None
        self._next_id = 0
        self._closed: str | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    async def connect(cls, socket_path: Path) -> Supervisor:
        """Connect; raises Unavailable when nobody listens, PermissionDenied when not root."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, str(socket_path))
        except PermissionError as error:
            sock.close()
            raise errors.PermissionDenied(f"supervisor at {socket_path}: only root may") from error
        except OSError as error:
            sock.close()
            raise errors.Unavailable(
                f"supervisor at {socket_path} does not answer: {error.strerror}"
            ) from error
        return cls(sock)

    async def close(self) -> None:
        """End the connection; containers are not touched."""
        self._lost("the connection was closed")

    # containers
    async def create(
        self,
        container_id: str,
        bundle: Path,
        *,
        log: Log | LogFile | None = None,
        stdio: Sequence[int] | None = None,
        stdin: bool = False,
        stdin_once: bool = False,
        start: bool = False,
    ) -> State:
        """Set everything up; the process then waits before exec (OCI "created").

        With `start` it does not wait, and this is `start` as well: what that raises is raised, and
        then leaves a container that has stopped.
        stdout and stderr go to `log` and can be attached to, or to the three descriptors of
        `stdio`, else to /dev/null. With `log` and `stdin` its standard input is held open for
        those who attach; with `stdin_once` it ends with the first of them.
        Raises InvalidSpec, AlreadyExists, FailedPrecondition (the step that failed, and why).
        """
        extra: dict[str, Any] = {}
        if log is not None:
            extra["log"] = (Log(log) if isinstance(log, LogFile) else log).to_wire()
            extra |= {"stdin": stdin, "stdin_once": stdin_once}
        if start:
            extra["start"] = True
        answer = await self._call(
            "create", fds=list(stdio or ()), container=container_id, bundle=str(bundle), **extra
        )
        return State.from_wire(answer)

    async def attach(
        self,
        container_id: str,
        *,
        stdout: int | None = None,
        stderr: int | None = None,
        stdin: bool = False,
        running: bool = False,
    ) -> Attached:
        """Have its output written to these descriptors (which stay yours) from now on.

        They are the writing ends of pipes or sockets, closed there at the stream's end; who stops
        reading without closing the other end stops the container in time. A terminal's output is
        stdout. Raises FailedPrecondition when it has ended or was created without a log; with
        `running`, for who knows no more of it than its id, also when it is paused or has yet to
        start, and InvalidSpec where the supervisor is older than that.
        """
        streams = {"stdout": stdout, "stderr": stderr}
        fds = {name: fd for name, fd in streams.items() if fd is not None}
        answer, received = await self._call_fds(
            "attach_running" if running else "attach",
            list(fds.values()),
            container=container_id,
            streams=list(fds),
            stdin=stdin,
        )
        stdin_fd = received[0] if received else None
        tty = bool(answer.get("tty"))
        return Attached(stdin_fd, answer["time_ns"], tty, answer.get("created_at"))

    async def start(self, container_id: str) -> State:
        """Exec the user's process; returns once that has succeeded.

        Raises FailedPrecondition with exec's error (the container is then stopped, exit code 127
        or 126), NotFound.
        """
        return State.from_wire(await self._call("start", container=container_id))

    async def kill(self, container_id: str, signal: int, *, everything: bool = False) -> None:
        """Send a signal to the first process, or to all of them; NotFound if stopped."""
        await self._call("kill", container=container_id, signal=signal, everything=everything)

    async def pause(self, container_id: str) -> None:
        """Freeze all its processes."""
        await self._call("pause", container=container_id)

    async def resume(self, container_id: str) -> None:
        """Thaw them."""
        await self._call("resume", container=container_id)

    async def delete(self, container_id: str, *, force: bool = False) -> None:
        """Forget a stopped container: cgroup, namespaces, state; not its bundle.

        `force` kills it first. Raises FailedPrecondition when it runs, NotFound.
        """
        await self._call("delete", container=container_id, force=force)

    async def state(self, container_id: str) -> State:
        """Raises NotFound."""
        return State.from_wire(await self._call("state", container=container_id))

    async def list(self) -> list[State]:
        """Every container that was not deleted."""
        return [State.from_wire(s) for s in (await self._call("list"))["containers"]]

    async def wait(self, container_id: str, created_at: float | None = None) -> State:
        """Until it is stopped; raises NotFound also when it is deleted meanwhile.

        `created_at`: of this one, not of another that was made under its id since, which is
        NotFound too.
        """
        which: dict[str, Any] = {} if created_at is None else {"created_at": created_at}
        return State.from_wire(await self._call("wait", container=container_id, **which))

    async def stats(self, container_id: str) -> dict[str, Any]:
        """What its cgroup counts, by the names in runtime/cgroups/counters.py."""
        return await self._call("stats", container=container_id)

    async def pids(self, container_id: str) -> builtins.list[int]:
        """Its processes, by their pids on the host, in no order."""
        return [int(pid) for pid in (await self._call("pids", container=container_id))["pids"]]

    async def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """Change its limits: an OCI `linux.resources`, of which absent keys stay as they are."""
        await self._call("update", container=container_id, resources=resources)

    async def exits(self) -> AsyncIterator[State]:
        """Each stop from now on, after those stopped and not deleted; Unavailable at the end.

        While this is read, `on_oom` is called with a container's id whenever processes of it were
        killed for memory: at once where it has a limit, else before its stop.
        """
        queue: asyncio.Queue[State | None] = asyncio.Queue()
        self._subscribers.add(queue)
        try:
            known = await self._call("subscribe")
            seen = set()
            for data in known["containers"]:
                seen.add((data["id"], data["created_at"]))
                yield State.from_wire(data)
            while (state := await queue.get()) is not None:
                if (state.id, state.created_at) not in seen:
                    yield state
            raise errors.Unavailable(f"supervisor: {self._closed}")
        finally:
            self._subscribers.discard(queue)

    async def exec(
        self,
        container_id: str,
        process: dict[str, Any],
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        start_timeout_s: float = 30.0,
        timeout_s: float = 0.0,
        privileged: bool = False,
    ) -> Exec:
        """Run an OCI `process` in a running container with these descriptors (which stay yours).

        `privileged`: with every capability of this host's root, and no seccomp filter. With
        `process["terminal"]` a pty is made in the container instead; its master is `Exec.console`.
        After `timeout_s` (0 is never) it is killed, also when this connection is gone by then.
        Raises FailedPrecondition with exec's error, or when the program has not begun in time,
        whatever the container does to it; ResourceExhausted when the host could not run it;
        NotFound.
        """
        end_id, end = self._expect()
        try:
            answer, fds = await self._call_fds(
                "exec", [stdin, stdout, stderr], container=container_id, process=process,
                start_timeout_s=start_timeout_s, timeout_s=timeout_s, privileged=privileged,
                end=end_id,
            )  # fmt: skip
        except BaseException:
            end.cancel()
            raise
        if not answer.get("waits"):  # a supervisor that is older than this agent
            end.cancel()  # it never comes
            _, end = self._send("exec_wait", [], exec_id=answer["exec_id"])
        return Exec(answer["exec_id"], answer["pid"], fds[0] if fds else None, self, end)

    async def console(self, container_id: str) -> int:
        """A duplicate of the master of the container's pty; FailedPrecondition if it has none.

        Its output comes to whoever reads first: for what was created with `log` use `attach`.
        """
        _, fds = await self._call_fds("console", [], container=container_id)
        return int(fds[0])

    async def resize(self, container_id: str, width: int, height: int) -> None:
        """Tell its pty a new size, in characters."""
        await self._call("console", container=container_id, width=width, height=height)

    # descriptors
    async def keep_fds(self, name: str, fds: Sequence[int]) -> None:
        """Hold duplicates of `fds` under `name`, in place of what it held."""
        await self._call("keep_fds", fds=list(fds), name=name)

    async def kept_fds(self, name: str) -> builtins.list[int]:
        """New duplicates of what is held under `name`, in order; raises NotFound."""
        _, fds = await self._call_fds("kept_fds", [], name=name)
        return [*fds]

    async def drop_fds(self, name: str) -> None:
        """Close what is held under `name`; safe to repeat."""
        await self._call("drop_fds", name=name)

    async def info(self) -> dict[str, Any]:
        """pid, version, cgroup ("v1", "v2" or "hybrid"), containers, kept (names), limits."""
        return await self._call("info")

    async def shutdown(self) -> None:
        """Kill every container, clean up after it and end the supervisor."""
        await self._call("shutdown")

    # the wire
    async def _call(self, op: str, fds: Sequence[int] = (), **arguments: Any) -> dict[str, Any]:
        answer, received = await self._call_fds(op, fds, **arguments)
        for fd in received:
            os.close(fd)
        return answer

    async def _call_fds(
        self, op: str, fds: Sequence[int], **arguments: Any
    ) -> tuple[dict[str, Any], Sequence[int]]:
        call_id, future = self._send(op, fds, **arguments)
        try:
            answer, received = await future
        finally:
            self._pending.pop(call_id, None)
        try:
            return _result(answer), received
        except errors.SwarmliteError:
            for fd in received:
                os.close(fd)
            raise

    def _expect(self) -> tuple[int, asyncio.Future[Answer]]:
        """The id of an answer that will come, and the answer; nobody need wait for it."""
        self._next_id += 1
        call_id = self._next_id
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._pending[call_id] = future

        def done(ended: asyncio.Future[Answer]) -> None:
            self._pending.pop(call_id, None)
            if not ended.cancelled():
                ended.exception()  # it counts as seen

        future.add_done_callback(done)
        return call_id, future

    def _send(
        self, op: str, fds: Sequence[int], **arguments: Any
    ) -> tuple[int, asyncio.Future[Answer]]:
        if self._closed is not None:
            raise errors.Unavailable(f"supervisor: {self._closed}")
        if len(fds) > protocol.MAX_FDS:
            raise errors.InvalidSpec(f"at most {protocol.MAX_FDS} descriptors go in one call")
        copies = _duplicates(fds)  # the caller may close its own before the socket is writable
        call_id, future = self._expect()
        message: dict[str, object] = {"id": call_id, "op": op, **arguments}
        if fds:
            message["fds"] = len(fds)
        self._outgoing.append((protocol.encode(message), copies))
        self._flush()
        return call_id, future

    def _flush(self) -> None:
        """Send what the socket takes; the rest when it is writable."""
        while self._outgoing:
            data, fds = self._outgoing[0]
            try:
                sent = socket.send_fds(self._sock, [data], fds) if fds else self._sock.send(data)
            except BlockingIOError:
                self._waits_to_write = True
                self._loop.add_writer(self._sock.fileno(), self._flush)
                return
            except OSError as error:
                self._lost(f"the connection broke: {error.strerror}")
                return
            for fd in fds:
                os.close(fd)
            if sent == len(data):
                self._outgoing.pop(0)
            else:
                self._outgoing[0] = (data[sent:], [])
        if self._waits_to_write:
            self._waits_to_write = False
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(
                self._sock, 1 << 16, protocol.MAX_FDS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(f"the connection broke: {error.strerror}")
            return
        self._fds += fds
        if not data:
            self._lost("it went away")
            return
        for message in self._decoder.feed(data):
            self._received(message)

    def _received(self, message: dict[str, Any]) -> None:
        if message.get("event") == "exit":
            for queue in self._subscribers:
                queue.put_nowait(State.from_wire(message["state"]))
            return
        if message.get("event") == "oom":
            if self.on_oom is not None:
                self.on_oom(str(message["id"]))
            return
        count = message.get("fds", 0)
        fds, self._fds = self._fds[:count], self._fds[count:]
        future = self._pending.get(message["id"])
        waits = future is not None and not future.done()  # else its caller was cancelled
        if future is not None and waits and len(fds) == count:
            future.set_result((message, fds))
            return
        for fd in fds:
            os.close(fd)
        if future is not None and waits:  # the kernel drops what does not fit: unix(7)
            said = f"supervisor: {count} descriptors were handed over, and no room is left for them"
            future.set_exception(errors.ResourceExhausted(said))

    def _lost(self, why: str) -> None:
        if self._closed is not None:
            return
        self._closed = why
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        with contextlib.suppress(OSError):
            self._sock.close()
        for fd in [*self._fds, *(fd for _, fds in self._outgoing for fd in fds)]:
            os.close(fd)
        self._fds, self._outgoing = [], []
        for future in self._pending.values():
            if not future.done():
                future.set_exception(errors.Unavailable(f"supervisor: {why}"))
        for queue in self._subscribers:
            queue.put_nowait(None)


def _result(answer: dict[str, Any]) -> dict[str, Any]:
    """What a call gives; raises what it failed with."""
    if "error" in answer:
        kind = getattr(errors, answer["error"]["kind"], errors.SwarmliteError)
        raise kind(answer["error"]["message"])
    result: dict[str, Any] = answer["ok"]
    return result


def _duplicates(fds: Sequence[int]) -> list[int]:
    """All or none; raises OSError."""
    made: list[int] = []
    try:
        for fd in fds:
            made.append(os.dup(fd))
    except OSError:
        for fd in made:
            os.close(fd)
        raise
    return made
