"""swarmlited.sock: one JSON line a request, JSON lines back (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from swarmlite.errors import InvalidSpec, SwarmliteError

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 1024 * 1024

Progress = Callable[[str], None]
Operation = Callable[[Mapping[str, Any], Progress], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def serving(path: Path, operations: Mapping[str, Operation]) -> AsyncIterator[None]:
    """Answer requests on the socket, root's own, until leaving."""
    path.unlink(missing_ok=True)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                await _answer(line, operations, writer)
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.LimitOverrunError) as error:
            log.info("a client went away: %s", error)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(
        connected, sock=_private_socket(path), limit=MAX_LINE_BYTES
    )
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def _private_socket(path: Path) -> socket.socket:
    """Bound, mode 0600. No await while the umask is changed: a child started then would keep it."""
    bound = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(mask)
    return bound


async def _answer(
    line: bytes, operations: Mapping[str, Operation], writer: asyncio.StreamWriter
) -> None:
    def say(message: Mapping[str, Any]) -> None:
        if not writer.is_closing():
            writer.write(json.dumps(message).encode() + b"\n")

    try:
        request = json.loads(line)
        name = str(request.get("op")) if isinstance(request, dict) else "none"
        if name not in operations:
            raise InvalidSpec(f"unknown op {name!r}: one of {', '.join(sorted(operations))}")
        say({"ok": await operations[name](request, lambda text: say({"progress": text}))})
    except SwarmliteError as error:
        say({"error": str(error)})
    except json.JSONDecodeError as error:
        say({"error": f"a request is one line of JSON: {error}"})
    except Exception as error:
        log.exception("op failed")
        say({"error": f"swarmlited failed: {error!r}; its log has more"})
