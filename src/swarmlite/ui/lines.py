"""Logs of a service or a task, merged: the last lines, and those that come, as server-sent events;
or the last lines as text, for a browser that runs no scripts.

A log may be a gigabyte: only so many of the last lines of each task are read, to search too, and
whoever reads slowly slows down the nodes and fills no memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from swarmlite import rpc
from swarmlite.errors import InvalidSpec, PermissionDenied, SwarmliteError
from swarmlite.proto.control_pb2 import (
    LOG_STDERR,
    LOG_UNKNOWN,
    Filter,
    ListTasksRequest,
    LogMessage,
    LogOptions,
    LogSelector,
    LogsRequest,
)
from swarmlite.ui import cluster, moments
from swarmlite.ui.server import HEADERS, Server
from swarmlite.ui.signing import Session

TAIL = 300
SEARCHED = 10_000
"""Of each task."""
MAX_LINE = 4000
MAX_SEARCH = 200
LOOK_S = 5.0


class LogPages:
    """Handlers; `request["session"]` is who is signed in."""

    def __init__(self, server: Server) -> None:
        """`server` has the cluster."""
        self._server, self._cluster = server, server.cluster

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The one."""
        router.add_get("/ui/logs/{kind}/{id}", self.logs)

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """Lines as events `lines`, an array each; `problem` where they end before their time."""
        session: Session = request["session"]
        asked, names = await self._asked(session, request)
        search = request.query.get("search", "")[:MAX_SEARCH].casefold()
        asked.options.tail = SEARCHED if search else TAIL
        if request.query.get("as") == "text":
            return await self._text(session, asked, names, search, request)
        answer = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await answer.prepare(request)
        sending = asyncio.ensure_future(self._send(session, asked, names, search, answer))
        watching = asyncio.ensure_future(self._signed_in(request))
        try:
            await asyncio.wait((sending, watching), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except SwarmliteError as error:
            await answer.write(_event("problem", str(error)))
        finally:
            for each in (sending, watching):
                each.cancel()
            await asyncio.gather(sending, watching, return_exceptions=True)
        await answer.write(_event("end", "the log ended"))
        return answer

    async def _text(
        self, session: Session, asked: LogsRequest, names: dict[str, str], search: str,
        request: web.Request,
    ) -> web.StreamResponse:  # fmt: skip
        """What there is, to its end."""
        asked.options.follow = False
        answer = web.StreamResponse(
            headers={**HEADERS, "Content-Type": "text/plain; charset=utf-8"}
        )
        await answer.prepare(request)
        try:
            async for lines in self._lines(session, asked, names, search):
                said = (f"{line['at']} {line['task']} | {line['text']}\n" for line in lines)
                await answer.write("".join(said).encode())
        except SwarmliteError as error:
            await answer.write(f"The log ends here: {error}\n".encode())
        return answer

    async def _asked(
        self, session: Session, request: web.Request
    ) -> tuple[LogsRequest, dict[str, str]]:
        kind, ref = request.match_info["kind"], request.match_info["id"]
        if kind not in ("service", "task"):
            raise InvalidSpec("logs are of a service or of a task")
        selector = LogSelector()
        (selector.service_ids if kind == "service" else selector.task_ids).append(ref)
        options = LogOptions(
            follow=request.query.get("follow", "1") == "1", stdout=True, stderr=True
        )
        names = await self._names(session, kind, ref)
        return LogsRequest(selector=selector, options=options), names

    async def _names(self, session: Session, kind: str, ref: str) -> dict[str, str]:
        filters = [Filter(key="service" if kind == "service" else "id", values=[ref])]
        asked = ListTasksRequest(filters=filters)
        tasks = (await self._cluster.call(session, "ListTasks", asked)).tasks
        return {task.id: cluster.task_name(task) for task in tasks}

    async def _send(
        self, session: Session, asked: LogsRequest, names: dict[str, str], search: str,
        answer: web.StreamResponse,
    ) -> None:  # fmt: skip
        async for lines in self._lines(session, asked, names, search):
            await answer.write(_event("lines", lines))

    async def _lines(
        self, session: Session, asked: LogsRequest, names: dict[str, str], search: str
    ) -> AsyncIterator[list[dict[str, str]]]:
        """Those that have what is searched for, some at a time."""
        async for messages in self._messages(session, asked):
            lines = [_line(message, names) for message in messages]
            if search:
                lines = [line for line in lines if search in line["text"].casefold()]
            if lines:
                yield lines

    async def _messages(self, session: Session, asked: LogsRequest) -> AsyncIterator[Any]:
        call = self._cluster.logs(session, asked)
        try:
            with rpc.translated("the manager"):
                async for response in call:
                    yield response.messages
        finally:
            call.cancel()

    async def _signed_in(self, request: web.Request) -> None:
        """Returns once whoever reads may no longer."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._server.who(request)
            except PermissionDenied:
                return
            except SwarmliteError:
                continue


def _line(message: LogMessage, names: dict[str, str]) -> dict[str, str]:
    task_id = message.context.task_id
    stream = {LOG_STDERR: "stderr", LOG_UNKNOWN: "note"}.get(message.stream, "stdout")
    return {
        "at": moments.shown(message.timestamp),
        "task": names.get(task_id, task_id[:12]),
        "stream": stream,
        "text": message.data[:MAX_LINE].decode(errors="replace").rstrip("\r\n"),
    }


def _event(kind: str, data: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
