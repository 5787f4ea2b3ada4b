"""TLS in front of the server, with half-close, which asyncio's own has not.

A client of `exec` closes its writing side and goes on reading: asyncio would end the connection,
and the output would be lost. Here a client's records are opened in memory and go to the server over
a pair of unix sockets, which know half-close; a close_notify is the end of what one side writes,
and no more. Clients show a certificate of the CA that is configured, or are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from swarmlite.errors import InvalidSpec

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
HANDSHAKE_S = 30.0
LINGER_S = 5.0


def context_of(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Of a server whose clients show certificates of `ca`. Raises InvalidSpec naming the file."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSpec(
            f"{certificate} and {key}: not a certificate and its key: {error}"
        ) from error
    try:
        made.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSpec(f"{ca}: not a CA's certificate: {error}") from error
    made.set_alpn_protocols(["http/1.1"])
    return made


class Terminators:
    """Every connection with TLS of the process."""

    def __init__(
        self, server: Callable[[], asyncio.Protocol], files: tuple[Path, Path, Path] | None
    ) -> None:
        """`server` makes a protocol for each connection. Raises InvalidSpec for the files."""
        self._server = server
        self._context = context_of(*files) if files is not None else None
        self._listening: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()

    async def listen(self, listening: socket.socket) -> None:
        """Accept from now on."""
        self._listening.append(await asyncio.start_server(self._accepted, sock=listening))

    def close(self) -> None:
        """Accept no more, and end what is open."""
        for each in self._listening:
            each.close()
        for task in self._open:
            task.cancel()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None and self._context is not None
        self._open.add(task)
        try:
            await _Terminator(self._context, reader, writer).run(self._server)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            log.info("connection ended peer=%s error=%s", writer.get_extra_info("peername"), error)
        except asyncio.CancelledError:
            pass  # the process ends
        finally:
            self._open.discard(task)
            writer.close()


class _Terminator:
    """One connection."""

    def __init__(
        self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def run(self, server: Callable[[], asyncio.Protocol]) -> None:
        """Until both sides have ended. Raises OSError, SSLError, TimeoutError."""
        async with asyncio.timeout(HANDSHAKE_S):
            await self._handshake()
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(server, theirs)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        upwards = asyncio.ensure_future(self._upwards(writer))
        downwards = asyncio.ensure_future(self._downwards(reader))
        try:
            # What the server writes decides: a client that ended its side may read on.
            while not downwards.done():
                waiting = [each for each in (upwards, downwards) if not each.done()]
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
        finally:
            for each in (upwards, downwards):
                each.cancel()
            await asyncio.gather(upwards, downwards, return_exceptions=True)
            writer.transport.abort()
        await self._linger()

    async def _linger(self) -> None:
        """Read what the client still sends: closing before would take back what it has not read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(CHUNK_BYTES):
                    pass

    async def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                await self._flush()
                return
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._receive():
                    raise ConnectionResetError("the client left during the handshake") from None
            except ssl.SSLError:
                await self._flush()  # the alert that tells the client why
                raise

    async def _receive(self) -> bool:
        """More of the client's records; False at the end of the connection."""
        data = await self._reader.read(CHUNK_BYTES)
        self._incoming.write(data)
        return bool(data)

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            self._writer.write(data)
            await self._writer.drain()

    async def _upwards(self, writer: asyncio.StreamWriter) -> None:
        """What the client writes, until its close_notify or the end of its connection."""
        while True:
            try:
                data = self._tls.read(CHUNK_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()  # a new key was asked for
                if not await self._receive():
                    # Without a close_notify: it is gone, and what is left is for nobody.
                    raise ConnectionResetError("the client has gone") from None
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                break
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _downwards(self, reader: asyncio.StreamReader) -> None:
        """What the server writes, to its end; then the connection is over."""
        while data := await reader.read(CHUNK_BYTES):
            self._tls.write(data)
            await self._flush()
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()
        self._writer.write_eof()
