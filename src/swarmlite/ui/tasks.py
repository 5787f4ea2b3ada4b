"""A task's page: its record, what its health check said, its logs, and a shell in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import grpc
from aiohttp import WSMsgType, web

from swarmlite import rpc
from swarmlite.docker.services import task as task_body
from swarmlite.errors import InvalidSpec, PermissionDenied, SwarmliteError
from swarmlite.model import enums, task_states
from swarmlite.proto.containers_pb2 import (
    ExecConfig,
    ExecInput,
    Health,
    InspectContainerRequest,
    ResizeRequest,
)
from swarmlite.proto.control_pb2 import GetRequest, TunnelTo
from swarmlite.proto.objects_pb2 import Task
from swarmlite.ui import cluster, moments
from swarmlite.ui.reaching import Reach
from swarmlite.ui.server import Server
from swarmlite.ui.signing import Session

FIRST_S = 10.0
LOOK_S = 5.0
HEALTH_S = 3.0
CALL_S = 10.0
MAX_INPUT_BYTES = 64 * 1024
MAX_WORDS = 100


class TaskPages:
    """Handlers; `request["session"]` is who is signed in."""

    def __init__(self, server: Server) -> None:
        """`server` renders, and has the cluster."""
        self._server, self._cluster = server, server.cluster
        self._reach = Reach(server.cluster, server.tunnels)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Every page."""
        router.add_get("/ui/task/{id}", self.task)
        router.add_get("/ui/task/{id}/shell", self.shell)

    async def task(self, request: web.Request) -> web.Response:
        """One task, as `inspect` has it; its container's health, where its node answers."""
        session: Session = request["session"]
        found = await self._task(session, request)
        runs = found.status.state == task_states.RUNNING
        health = await self._health(session, found) if runs else []
        return self._server.page(
            "task.html", session,
            id=found.id,
            name=cluster.task_name(found),
            service_id=found.service_id,
            service=found.service_annotations.name,
            node_id=found.node_id,
            state=task_states.name(found.status.state),
            desired=task_states.name(found.desired_state),
            at=moments.shown(found.status.timestamp),
            messages=[text for text in (found.status.err, found.status.message) if text],
            runs=runs,
            health=health,
            plots=await self._cluster.plots(session, [found]),
            events=self._server.live.events.of(found.id),
            body=json.dumps(task_body(found), indent=2),
        )  # fmt: skip

    async def _task(self, session: Session, request: web.Request) -> Task:
        ref = GetRequest(ref=request.match_info["id"])
        found: Task = await self._cluster.call(session, "GetTask", ref)
        return found

    async def _health(self, session: Session, task: Task) -> list[dict[str, str]]:
        """Of the last checks; nothing without a check, one line where nobody can say."""
        if not task.spec.container.healthcheck.test:
            return []
        try:
            async with asyncio.timeout(HEALTH_S):
                async with self._reach.containers(session, task.id, TunnelTo.READ) as containers:
                    with rpc.translated("the task's node"):
                        asked = InspectContainerRequest(ref=task.id)
                        health = (await containers.Inspect(asked)).state.health
        except (SwarmliteError, TimeoutError) as error:
            return [{"at": "", "code": "", "output": f"its node does not say: {error}"}]
        state = enums.word(Health.Status, health.status)
        found = [{"at": "now", "code": "", "output": state}]
        found += [
            {"at": moments.shown(each.start), "code": str(each.exit_code), "output": each.output}
            for each in reversed(health.log)
        ]
        return found

    # the shell
    async def shell(self, request: web.Request) -> web.StreamResponse:
        """A terminal in the task, by a websocket: bytes both ways, and JSON for the rest.

        The first message has the session's token, as every form has. What may be done is the
        managers' to say; it ends with the session that it was opened by.
        """
        session: Session = request["session"]
        if request.headers.get("Origin", "") != f"https://{request.host}":
            raise PermissionDenied("a shell is opened by this page only")
        found = await self._task(session, request)
        socket = web.WebSocketResponse(max_msg_size=MAX_INPUT_BYTES, heartbeat=30.0)
        await socket.prepare(request)
        try:
            asked = await _asked(socket, session)
            async with self._reach.containers(session, found.id, TunnelTo.WRITE) as containers:
                with rpc.translated("the task's node"):
                    code = await self._attended(request, socket, containers, found, asked)
            await socket.send_json({"ended": code})
        except SwarmliteError as error:
            await _said(socket, str(error))
        finally:
            await socket.close()
        return socket

    async def _attended(
        self, request: web.Request, socket: web.WebSocketResponse, containers: Any,
        task: Task, asked: dict[str, Any],
    ) -> int | None:  # fmt: skip
        config = ExecConfig(
            container=task.id, command=_words(asked), env=["TERM=dumb"], tty=True,
            attach_stdin=True, attach_stdout=True, attach_stderr=True,
            console_height=_size(asked, "rows"), console_width=_size(asked, "columns"),
        )  # fmt: skip
        made = await containers.CreateExec(config, timeout=CALL_S)
        call = containers.Exec()
        await call.write(ExecInput(exec_id=made.id))
        code: asyncio.Task[int | None] = asyncio.ensure_future(_down(call, socket))
        others = [
            asyncio.ensure_future(_up(call, socket, containers, made.id)),
            asyncio.ensure_future(self._while_signed_in(request)),
        ]
        try:
            done, _ = await asyncio.wait([code, *others], return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
            return code.result() if code in done else None
        finally:
            for each in (code, *others):
                each.cancel()
            await asyncio.gather(code, *others, return_exceptions=True)
            call.cancel()

    async def _while_signed_in(self, request: web.Request) -> None:
        """Raises PermissionDenied once who opened it may no longer."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                session = await self._server.who(request)
            except PermissionDenied:
                raise
            except SwarmliteError:
                continue
            if not session.may("operator"):
                raise PermissionDenied("a shell takes an operator")


async def _asked(socket: web.WebSocketResponse, session: Session) -> dict[str, Any]:
    """The first message. Raises PermissionDenied without the token, InvalidSpec for nonsense."""
    try:
        asked = json.loads(await socket.receive_str(timeout=FIRST_S))
        known = session.knows(str(asked["token"]))
    except (TimeoutError, TypeError, ValueError, KeyError, RecursionError) as error:
        raise InvalidSpec("the first message says what is to be run") from error
    if not known:
        raise PermissionDenied("this shell is not of this page or is too old: load the page again")
    found: dict[str, Any] = asked
    return found


def _words(asked: dict[str, Any]) -> list[str]:
    words = str(asked.get("command") or "sh").split()
    if not 0 < len(words) <= MAX_WORDS:
        raise InvalidSpec(f"command: expected up to {MAX_WORDS} words")
    return words


def _size(asked: dict[str, Any], key: str) -> int:
    value = asked.get(key)
    return min(max(value, 1), 1000) if isinstance(value, int) else {"rows": 24}.get(key, 80)


async def _down(call: Any, socket: web.WebSocketResponse) -> int | None:
    """The task's output; its exit code, None where it is not known."""
    while (output := await call.read()) is not grpc.aio.EOF:
        if output.data:
            await socket.send_bytes(output.data)
        if output.HasField("exit_code"):
            return int(output.exit_code)
    await call.code()
    return None


async def _up(
    call: Any, socket: web.WebSocketResponse, containers: Any, exec_id: str
) -> None:  # fmt: skip
    """What is typed; returns once the page is closed.

    Where the shell ends meanwhile, `_down` knows how: nothing is raised before it is told.
    """
    over = grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError
    async for message in socket:
        with contextlib.suppress(*over):
            if message.type == WSMsgType.BINARY:
                await call.write(ExecInput(stdin=message.data))
            elif message.type == WSMsgType.TEXT:
                with contextlib.suppress(ValueError, AttributeError, RecursionError):
                    said = json.loads(message.data)
                    request = ResizeRequest(
                        ref=exec_id, height=_size(said, "rows"), width=_size(said, "columns")
                    )
                    await containers.ResizeExec(request, timeout=CALL_S)


async def _said(socket: web.WebSocketResponse, text: str) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.send_json({"error": text})
