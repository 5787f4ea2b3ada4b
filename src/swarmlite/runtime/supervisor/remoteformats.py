"""What journald and syslog servers understand: their messages, and sockets to them.

Sources: systemd's JOURNAL_NATIVE_PROTOCOL, RFC 3164, RFC 5424; names and layout are Docker's.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

JOURNAL_SOCKET = "/run/systemd/journal/socket"
SYSLOG_SOCKETS = ("/dev/log", "/var/run/syslog", "/var/run/log")
INFO, ERROR = 6, 3


class Format:
    """How lines are written, and where to.

    name: what complaints begin with. stream: a message may be taken in part. lossy: what cannot be
    sent is lost, as with UDP, and no reason to connect again.
    """

    name = ""
    stream = False
    lossy = False

    def encode(self, stream: str, lines: list[bytes]) -> Iterator[bytes]:
        """One message for each line, or part of one; all of this moment."""
        raise NotImplementedError

    def connect(self) -> tuple[socket.socket, bool]:
        """A socket, and whether it is still connecting. Raises OSError."""
        raise NotImplementedError


class Journald(Format):
    """Datagrams of fields; a field of several lines is given with its length."""

    name = "journald"

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = b"".join(
            _field(name.encode(), value.encode("utf-8", "replace"))
            for name, value in fields.items()
        )

    def encode(self, stream: str, lines: list[bytes]) -> Iterator[bytes]:
        """With its priority, and a mark when more of the line follows."""
        head = b"PRIORITY=%d\n" % (ERROR if stream == "stderr" else INFO) + self._fields
        for line in lines:
            if line.endswith(b"\n"):
                yield head + _field(b"MESSAGE", line[:-1])
            else:
                yield head + b"CONTAINER_PARTIAL_MESSAGE=true\n" + _field(b"MESSAGE", line)

    def connect(self) -> tuple[socket.socket, bool]:
        """To the host's journal."""
        return _unix(JOURNAL_SOCKET, socket.SOCK_DGRAM), False


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name + b"=" + value + b"\n"


class Syslog(Format):
    """One message a line, over a unix socket, UDP or TCP."""

    def __init__(self, wanted: dict) -> None:  # type: ignore[type-arg]
        self._transport = str(wanted["transport"])
        self._path = str(wanted.get("path") or "")
        self._address, self._port = str(wanted.get("address") or ""), int(wanted.get("port") or 0)
        self._facility = int(wanted["facility"])
        self._form = str(wanted["format"])
        self._tag, self._hostname = str(wanted["tag"]), str(wanted["hostname"])
        self.lossy = self._transport == "udp"
        self.stream = self._transport in ("tcp", "unix")
        where = self._path or (f"{self._address}:{self._port}" if self._address else "/dev/log")
        self.name = f"syslog {where}"

    def encode(self, stream: str, lines: list[bytes]) -> Iterator[bytes]:
        """In the form asked for; "" is what the host's own socket expects."""
        priority = self._facility * 8 + (ERROR if stream == "stderr" else INFO)
        head = self._head(priority).encode("utf-8", "replace")
        for line in lines:
            yield head + line if line.endswith(b"\n") else head + line + b"\n"

    def _head(self, priority: int) -> str:
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        pid, tag, host = os.getpid(), self._tag, self._hostname
        if self._form.startswith("rfc5424"):
            fraction = f".{nanoseconds // 1000:06d}" if self._form == "rfc5424micro" else ""
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"
            app = _printable(tag, 48)
            return f"<{priority}>1 {stamp} {_printable(host, 255)} {app} {pid} {app[:32]} - "
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(seconds))
        middle = f"{host} {tag}" if self._form == "rfc3164" else tag
        return f"<{priority}>{stamp} {middle}[{pid}]: "

    def connect(self) -> tuple[socket.socket, bool]:
        """To where it was asked for, or to the host's own."""
        if self._transport in ("tcp", "udp"):
            return self._inet()
        if self._path:
            kind = socket.SOCK_STREAM if self._transport == "unix" else socket.SOCK_DGRAM
            return _unix(self._path, kind), False
        return self._own()

    def _inet(self) -> tuple[socket.socket, bool]:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        kind = socket.SOCK_STREAM if self._transport == "tcp" else socket.SOCK_DGRAM
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        code = sock.connect_ex((self._address, self._port))
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(code, os.strerror(code))
        return sock, code != 0

    def _own(self) -> tuple[socket.socket, bool]:
        refused: OSError | None = None
        for path in SYSLOG_SOCKETS:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                try:
                    sock = _unix(path, kind)
                except OSError as error:
                    refused = refused or error
                    continue
                self.stream = kind == socket.SOCK_STREAM
                return sock, False
        assert refused is not None
        raise refused


def _printable(text: str, longest: int) -> str:
    """As RFC 5424 has its header's words: printable ASCII without spaces; "-" for none."""
    return "".join(c if "!" <= c <= "~" else "_" for c in text[:longest]) or "-"


def _unix(path: str, kind: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{path}: {os.strerror(error.errno or 0)}") from error
    return sock
