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
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path
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
    def _wanted(self) -> dict[str, str]:
        """`addr`, and `cert` and `key` where they are the owner's; nothing where it is off."""
        try:
            said = dict(json.loads(self._file.read_text()))
        except (OSError, ValueError, TypeError):
            return {}
        return said if said.get("addr") else {}

    @property
    def addr(self) -> str:
        """Where it is enabled; nothing where it is not."""
        return str(self._wanted.get("addr", ""))

    def start(self) -> None:
        """Of a manager where it is enabled. An address that is taken is logged."""
        if self.child is None and (wanted := self._wanted):
            try:
                self._open(wanted)
            except SwarmliteError as error:
                log.error("the page is not served error=%s", error)

    def _open(self, wanted: Mapping[str, str]) -> None:
        self._listening = listening = listen_tcp("ui enable --addr", wanted["addr"])
        self._links.mkdir(mode=0o700, exist_ok=True)
        command = [sys.executable, "-m", "swarmlite.ui", f"--state-dir={self._paths.state_dir}"]
        command += [f"--run-dir={self._paths.run_dir}", f"--listen-fd={listening.fileno()}"]
        command += [f"--{each}={wanted[each]}" for each in ("cert", "key") if wanted.get(each)]
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
        """`ui`: {action: enable {addr, cert, key}, disable, open {role}} -> {addr} or {link}."""
        if not membership.is_manager(self._paths):
            raise FailedPrecondition("the page is a manager's: this node is none")
        action = request.get("action")
        if action == "enable":
            wanted = {"addr": str(request.get("addr") or USUAL_ADDR)}
            wanted |= {each: str(request.get(each) or "") for each in ("cert", "key")}
            return await self._enable({key: value for key, value in wanted.items() if value})
        if action == "disable":
            await self.stop()
            self._file.unlink(missing_ok=True)
            return {}
        if action == "open":
            return {"link": self._link(str(request.get("role") or "admin"))}
        raise InvalidSpec(f"ui: unknown kind of action {action!r}")

    async def _enable(self, wanted: dict[str, str]) -> dict[str, Any]:
        _check_pair(wanted)
        before = self.addr
        await self.stop()
        try:
            self._open(wanted)
        except SwarmliteError:
            if before:
                self.start()
            raise
        durable.write(self._file, json.dumps(wanted).encode())
        return {"addr": wanted["addr"]}

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
        wanted = self._wanted
        host, _, port = wanted.get("addr", "").rpartition(":")
        if named := _name_in(wanted.get("cert", "")):
            host = named
        elif host.strip("[]") in ("", "0.0.0.0", "::"):
            host = membership.advertised(self._paths)
            host = f"[{host}]" if ":" in host else host
        return f"https://{host}:{port}/ui/signin?token={token}"


def _check_pair(wanted: Mapping[str, str]) -> None:
    """Raises InvalidSpec for files that no browser would be answered with."""
    cert, key = wanted.get("cert", ""), wanted.get("key", "")
    if bool(cert) != bool(key):
        raise InvalidSpec("--cert and --key go together: a chain and its private key, in PEM")
    if not cert:
        return
    for option, path in (("--cert", cert), ("--key", key)):
        if not Path(path).is_absolute():
            raise InvalidSpec(f"{option} {path}: expected an absolute path on the manager's host")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except OSError as error:  # an SSLError too
        raise InvalidSpec(f"--cert {cert}, --key {key}: cannot be used: {error}") from error


def _name_in(cert: str) -> str:
    """The first name of a host that the certificate is for; nothing without one."""
    if not cert:
        return ""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(Path(cert).read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return ""
    hosts = names.get_values_for_type(x509.DNSName)
    return next((name for name in hosts if "*" not in name), "")
