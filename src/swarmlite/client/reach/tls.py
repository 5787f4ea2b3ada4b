"""A node of another host by TCP: with certificates on both sides, or in clear if asked for so."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from swarmlite.client.reach.api import Reach
from swarmlite.client.reach.tunnel import entered
from swarmlite.errors import InvalidSpec, PermissionDenied, Unavailable

CONNECT_S = 30.0
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a client; `verify`: whether the node must show a certificate of `ca`."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Raises InvalidSpec naming the file."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        elif self.ca is None:
            made.load_default_certs()
        else:
            try:
                made.load_verify_locations(self.ca)
            except (OSError, ssl.SSLError) as error:
                raise InvalidSpec(f"{self.ca}: not a CA's certificate: {error}") from error
        if self.cert is not None and self.key is not None:
            try:
                made.load_cert_chain(self.cert, self.key)
            except (OSError, ssl.SSLError) as error:
                raise InvalidSpec(
                    f"{self.cert} and {self.key}: not a certificate and its key: {error}"
                ) from error
        return made


class Tcp(Reach):
    """The node whose API listens there; in clear where `files` is None."""

    def __init__(self, host: str, port: int, files: TlsFiles | None) -> None:
        """Connects to nothing yet."""
        self._address, self._files = (host, port), files
        self._context: ssl.SSLContext | None = None

    def describe(self, service: str) -> str:
        """As it is written in a URL."""
        host, port = self._address
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    def connect(self, service: str) -> socket.socket:
        """As Reach says."""
        where = self.describe(service)
        try:
            plain = socket.create_connection(self._address, CONNECT_S)
        except OSError as error:
            raise Unavailable(f"Cannot connect to {where}: {error.strerror or error}") from error
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A stream of events may be silent for long: that its node is gone is heard all the same.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._files is None:
            made = entered(plain, service, where)
            made.settimeout(None)
            return made
        made = entered(self._wrapped(plain, self._files, where), service, where)
        assert isinstance(made, ssl.SSLSocket)
        ours, theirs = socket.socketpair()
        threading.Thread(target=carry, args=(theirs, made), daemon=True).start()
        return ours

    def _wrapped(self, plain: socket.socket, files: TlsFiles, where: str) -> ssl.SSLSocket:
        if self._context is None:
            self._context = files.context()
        try:
            return self._context.wrap_socket(plain, server_hostname=self._address[0])
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise PermissionDenied(
                f"{where}: its certificate is refused: {error.verify_message}"
            ) from error
        except (ssl.SSLError, OSError) as error:
            plain.close()
            raise Unavailable(f"{where}: no TLS with it: {error}") from error


def carry(ours: socket.socket, tls: ssl.SSLSocket) -> None:
    """Bytes both ways until one side ends; what the node has sent is handed on first.

    By one thread, since a connection of OpenSSL's is not to be read and written by two at once.
    """
    tls.setblocking(False)
    ours.setblocking(False)
    up, down = bytearray(), bytearray()
    with contextlib.suppress(OSError, ValueError), ours, tls:
        while True:
            readers = [each for each, full in ((ours, up), (tls, down)) if len(full) < CHUNK_BYTES]
            writers = [each for each, waiting in ((ours, down), (tls, up)) if waiting]
            select.select(readers, writers, [], 0 if tls in readers and tls.pending() else None)
            more = len(down) >= CHUNK_BYTES or _received(tls, down)
            _sent(ours, down)
            if not more and not down:
                return
            if ours in readers and _received(ours, up) is False:
                return
            _sent(tls, up)


def _received(source: socket.socket, into: bytearray) -> bool:
    """Take what has come, if anything has; False at the end."""
    try:
        data = source.recv(CHUNK_BYTES)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return True
    except ssl.SSLEOFError:
        return False
    into += data
    return bool(data)


def _sent(target: socket.socket, data: bytearray) -> None:
    """As much as it takes just now."""
    if data:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            del data[: target.send(data)]
