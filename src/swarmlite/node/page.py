"""The page of this manager: enabled by its owner, off else. Its address is held here, and a process
of its own answers (`swarmlite.ui`) while the node is a manager.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from swarmlite.client import membership
from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError
from swarmlite.kernel import durable
from swarmlite.paths import Paths

from .children import Child
from .dockersocket import listen_tcp
from .requests import Progress

log = logging.getLogger(__name__)

USUAL_ADDR = "0.0.0.0:2376"
LINK_S = 300.0
ROLES = ("admin", "operator", "reader")


class Page:
    """Keeps the page as `ui enable` and `ui disable` want it."""

    def __init__(self, paths: Paths, *, debug: bool = False) -> None:
        """Nothing is bound yet."""
        self._paths, self._debug = paths, debug
        self._file = paths.state_dir / "ui.json"
        self._links = paths.run_dir / "ui"
        self._listening: socket.socket | None = None
        self.child: Child | None = None

    @property
    def addr(self) -> str:
        """Where it is enabled; nothing where it is not."""
        try:
            return str(json.loads(self._file.read_text())["addr"])
        except (OSError, ValueError, KeyError):
            return ""

    def start(self) -> None:
        """Of a manager where it is enabled. An address that is taken is logged."""
        if self.child is None and self.addr:
            try:
                self._open(self.addr)
            except SwarmliteError as error:
                log.error("the page is not served error=%s", error)

    def _open(self, addr: str) -> None:
        self._listening = listening = listen_tcp("ui enable --addr", addr)
        self._links.mkdir(mode=0o700, exist_ok=True)
        command = [sys.executable, "-m", "swarmlite.ui", f"--state-dir={self._paths.state_dir}"]
        command += [f"--run-dir={self._paths.run_dir}", f"--listen-fd={listening.fileno()}"]
        fds = [listening.fileno()]
        self.child = Child("ui", lambda: command, self._paths.logs_dir, self._debug, pass_fds=fds)
        self.child.start()

    async def stop(self) -> None:
        """Listen no more."""
        child, self.child = self.child, None
        if child is not None:
            await child.stop()
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def operation(self, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        """`ui`: {action: enable {addr}, disable, open {role}} -> {addr} or {link}."""
        if not membership.is_manager(self._paths):
            raise FailedPrecondition("the page is a manager's: this node is none")
        action = request.get("action")
        if action == "enable":
            return await self._enable(str(request.get("addr") or USUAL_ADDR))
        if action == "disable":
            await self.stop()
            self._file.unlink(missing_ok=True)
            return {}
        if action == "open":
            return {"link": self._link(str(request.get("role") or "admin"))}
        raise InvalidSpec(f"ui: unknown kind of action {action!r}")

    async def _enable(self, addr: str) -> dict[str, Any]:
        before = self.addr
        await self.stop()
        try:
            self._open(addr)
        except SwarmliteError:
            if before:
                self.start()
            raise
        durable.write(self._file, json.dumps({"addr": addr}).encode())
        return {"addr": addr}

    def _link(self, role: str) -> str:
        """Signs in once, within five minutes. Only its digest lies on this host."""
        if role not in ROLES:
            raise InvalidSpec(f"--role {role[:20]}: expected one of {', '.join(ROLES)}")
        if self.child is None:
            raise FailedPrecondition(
                "the page is not enabled here: `swarmlite ui enable` does that"
            )
        now = time.time()
        for old in self._links.iterdir():
            with contextlib.suppress(OSError):
                if old.stat().st_mtime < now - LINK_S:
                    old.unlink()
        token = secrets.token_urlsafe(32)
        said = {"role": role, "name": f"link of {time.strftime('%H:%M')}", "until": now + LINK_S}
        name = hashlib.sha256(token.encode()).hexdigest()
        durable.write(self._links / name, json.dumps(said).encode())
        host, _, port = self.addr.rpartition(":")
        if host.strip("[]") in ("", "0.0.0.0", "::"):
            host = membership.advertised(self._paths)
            host = f"[{host}]" if ":" in host else host
        return f"https://{host}:{port}/ui/signin?token={token}"
