"""The sockets of Docker's API: held here from the start, answered by a process that starts at the
first connection and ends when nobody is connected any more. Unused it costs nothing.

Who may write to such a socket is root on this host: it has mode 0660, and is its group's if there
is one named `swarmlite`. TCP is for holders of a certificate; without TLS only by a flag that says
what it means.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import grp
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.kernel.processes import die_with_parent
from swarmlite.paths import Paths

from .children import BACK_OFF_S, STEADY_S, end

log = logging.getLogger(__name__)

GROUP = "swarmlite"
BACKLOG = 1024


@dataclass(frozen=True)
class DockerOptions:
    """What swarmlited was told of Docker's API."""

    socket: bool = True
    link: Path | None = None
    tcp: str = ""
    tls: tuple[Path, Path, Path] | None = None  # the clients' CA, our certificate and its key
    open_tcp: str = ""
    idle_s: float = 30.0
    arguments: tuple[str, ...] = ()  # of the gateway, as they are


class DockerSocket:
    """Holds the sockets, and starts the gateway when somebody connects."""

    def __init__(self, paths: Paths, options: DockerOptions, *, debug: bool = False) -> None:
        """Binds nothing yet."""
        self._paths, self._options, self._debug = paths, options, debug
        self._sockets: list[tuple[str, socket.socket]] = []
        self._bound: list[Path] = []
        self.pid: int | None = None
        self.starts = 0
        self.last_exit = ""

    def open(self) -> None:
        """Bind every socket. Raises InvalidSpec naming the one that cannot be."""
        options = self._options
        if options.socket:
            path = self._paths.docker_socket
            self._sockets.append(("--listen-fd", _unix(path)))
            self._bound.append(path)
        if options.link is not None:
            self._bound.append(_link(options.link, self._paths.docker_socket))
        if options.tcp:
            if options.tls is None:
                raise InvalidSpec(
                    "--docker-tcp needs --docker-tls-ca, --docker-tls-cert and --docker-tls-key:"
                    " whoever reaches the port would be root on this host"
                )
            self._sockets.append(("--tls-fd", listen_tcp("--docker-tcp", options.tcp)))
        if options.open_tcp:
            name = "--docker-tcp-without-tls-anyone-is-root"
            log.warning("%s: whoever reaches %s is root on this host", name, options.open_tcp)
            self._sockets.append(("--listen-fd", listen_tcp(name, options.open_tcp)))

    async def run(self) -> None:
        """Until cancelled; the gateway has ended then, and the sockets are gone."""
        delay_s = BACK_OFF_S[0]
        try:
            while self._sockets:
                await self._asked()
                begun = time.monotonic()
                try:
                    ended_well = await self._serve()
                except OSError as error:
                    ended_well, self.last_exit = False, str(error)
                    log.error("gateway cannot start: %s", error)
                if ended_well or time.monotonic() - begun > STEADY_S:
                    delay_s = BACK_OFF_S[0]
                    continue
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, BACK_OFF_S[1])
        finally:
            self.close()

    async def _asked(self) -> None:
        """Until somebody connects to one of the sockets."""
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        for _, each in self._sockets:
            loop.add_reader(each.fileno(), asked.set)
        try:
            await asked.wait()
        finally:
            for _, each in self._sockets:
                loop.remove_reader(each.fileno())

    def _command(self) -> Sequence[str]:
        paths, options = self._paths, self._options
        command = [sys.executable, "-m", "swarmlite.gateway", f"--state-dir={paths.state_dir}"]
        command += [f"--run-dir={paths.run_dir}", f"--idle={options.idle_s:g}", *options.arguments]
        command += [f"{flag}={each.fileno()}" for flag, each in self._sockets]
        if options.tls is not None:
            for flag, path in zip(("ca", "cert", "key"), options.tls, strict=True):
                command.append(f"--tls-{flag}={path}")
        return command

    async def _serve(self) -> bool:
        """One life of the gateway; whether it ended well."""
        with (self._paths.logs_dir / "gateway.log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=None if self._debug else output,
                start_new_session=True,
                preexec_fn=die_with_parent,  # the daemon has one thread: see children.py
                pass_fds=[each.fileno() for _, each in self._sockets],
            )
        self.pid, self.starts = process.pid, self.starts + 1
        try:
            code = await process.wait()
            self.last_exit = f"exit {code}"
            return code == 0
        finally:
            self.pid = None
            await end(process)

    def close(self) -> None:
        """Listen no more."""
        for _, each in self._sockets:
            each.close()
        self._sockets.clear()
        for path in self._bound:
            with contextlib.suppress(OSError):
                path.unlink()
        self._bound.clear()


def _unix(path: Path) -> socket.socket:
    """Bound, readable and writable for root and its group only, from its first moment."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        made.bind(str(path))
    except OSError as error:
        made.close()
        raise InvalidSpec(f"cannot listen on {path}: {error.strerror}") from error
    finally:
        os.umask(mask)
    _give_to_group(path)
    made.listen(BACKLOG)
    made.setblocking(False)
    return made


def _give_to_group(path: Path) -> None:
    """To the group `swarmlite`, with a way through the folder and into nothing else there."""
    with contextlib.suppress(KeyError):
        group = grp.getgrnam(GROUP).gr_gid
        os.chown(path, 0, group)
        os.chown(path.parent, 0, group)
        path.parent.chmod(0o710)
    path.chmod(0o660)


def _link(link: Path, target: Path) -> Path:
    """A link to the socket. Raises InvalidSpec where something else stands already."""
    try:
        if link.is_symlink() and link.readlink() == target:
            link.unlink()
        link.symlink_to(target)
    except OSError as error:
        raise InvalidSpec(
            f"--docker-socket-link {link}: {error.strerror or error}: another engine's?"
        ) from error
    return link


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """swarmlited's flags of Docker's API."""
    add = parser.add_argument_group("Docker's API").add_argument
    add("--docker-socket", choices=("on", "off"), default="on", help="RUN_DIR/docker.sock")
    add("--docker-socket-link", type=Path, help="a link to it, as /var/run/docker.sock")
    add("--docker-tcp", default="", metavar="HOST:PORT", help="also here, with mutual TLS")
    for name, what in (("ca", "who signs clients"), ("cert", "ours"), ("key", "its key")):
        add(f"--docker-tls-{name}", type=Path, metavar="FILE", help=f"PEM: {what}")
    add(
        "--docker-tcp-without-tls-anyone-is-root",
        default="",
        metavar="HOST:PORT",
        help="also here, for whoever reaches it: each of them is root on this host",
    )
    add("--docker-idle", type=float, default=30.0, metavar="SECONDS", help="0: never ends")
    add("--docker-api-version", default="", metavar="1.N", help="the newest that is served")
    add("--docker-api-min-version", default="", metavar="1.N", help="the oldest that is served")


def options_of(parsed: argparse.Namespace) -> DockerOptions:
    """What these flags say. Raises InvalidSpec where they contradict each other."""
    files = (parsed.docker_tls_ca, parsed.docker_tls_cert, parsed.docker_tls_key)
    if any(files) and not all(files):
        raise InvalidSpec("--docker-tls-ca, --docker-tls-cert and --docker-tls-key go together")
    arguments = []
    if parsed.docker_api_version:
        arguments.append(f"--api-version={parsed.docker_api_version}")
    if parsed.docker_api_min_version:
        arguments.append(f"--api-min-version={parsed.docker_api_min_version}")
    return DockerOptions(
        socket=parsed.docker_socket == "on",
        link=parsed.docker_socket_link,
        tcp=parsed.docker_tcp,
        tls=(files[0].absolute(), files[1].absolute(), files[2].absolute()) if all(files) else None,
        open_tcp=parsed.docker_tcp_without_tls_anyone_is_root,
        idle_s=parsed.docker_idle,
        arguments=tuple(arguments),
    )


def listen_tcp(flag: str, text: str) -> socket.socket:
    """A socket that listens on HOST:PORT, which `flag` named. Raises InvalidSpec."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise InvalidSpec(f"{flag} {text!r}: expected HOST:PORT, for example 0.0.0.0:2376")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host.strip("[]"), int(port)))
    except OSError as error:
        made.close()
        raise InvalidSpec(f"{flag} {text}: {error.strerror or error}") from error
    made.listen(BACKLOG)
    made.setblocking(False)
    return made
