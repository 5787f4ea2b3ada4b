"""The daemon's part of etcd's restarts, asked over its socket (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

from swarmlite.errors import Unavailable

TIMEOUT_S = 60.0


class Restarts:
    """etcd reads the roots that it trusts only when it starts: the daemon knows when it has to."""

    def __init__(self, daemon_socket: Path) -> None:
        self._socket = daemon_socket

    async def wanted(self) -> bool:
        """Whether etcd is to start again. Nobody to ask is nothing wanted."""
        try:
            return bool((await self._asked("status")).get("etcd_restart_wanted"))
        except Unavailable:
            return False

    async def restart(self) -> None:
        """Start it again. Raises Unavailable."""
        await self._asked("restart_etcd")

    async def _asked(self, op: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                with contextlib.closing(writer):
                    writer.write(json.dumps({"op": op}).encode() + b"\n")
                    while line := await reader.readline():
                        answer = json.loads(line)
                        if "ok" in answer:
                            return dict(answer["ok"])
                        if "error" in answer:
                            raise Unavailable(str(answer["error"]))
        except (OSError, ValueError, TimeoutError) as error:
            raise Unavailable(f"swarmlited does not answer: {error}") from error
        raise Unavailable("swarmlited closed the connection")
