"""A Docker API over a unix socket, TCP with or without TLS, or ssh; only ever read from."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from swarmlite.errors import FailedPrecondition, InvalidSpec, Unavailable

TIMEOUT_S = 60.0
VERSION = "v1.40"
"""Old enough for every engine that still runs a swarm, and for its newest release too."""
TLS_PORT, PLAIN_PORT = 2376, 2375

Json = dict[str, Any]
Connect = Callable[[], socket.socket]


class Source:
    """The other swarm: `Source.at("unix:///var/run/docker.sock")`."""

    def __init__(self, address: str, connect: Connect) -> None:
        """`connect` opens a connection to the API."""
        self.address, self._connect = address, connect

    @classmethod
    def at(cls, address: str, certificates: str | None = None) -> Source:
        """By Docker's words: unix://PATH, tcp://HOST[:PORT], ssh://[USER@]HOST[:PORT].

        `certificates` is a folder with ca.pem, cert.pem and key.pem, for TCP with TLS. Raises
        InvalidSpec.
        """
        parts = urlsplit(address)
        if parts.scheme == "unix":
            path = parts.netloc + parts.path
            return cls(address, lambda: _unix(path))
        if parts.scheme == "tcp" and parts.hostname:
            host, port = parts.hostname, parts.port
            if certificates is None:
                return cls(address, lambda: _tcp(host, port or PLAIN_PORT))
            context = _tls(certificates)
            return cls(
                address,
                lambda: context.wrap_socket(_tcp(host, port or TLS_PORT), server_hostname=host),
            )
        if parts.scheme == "ssh" and parts.hostname:
            return cls(address, lambda: _ssh(address))
        raise InvalidSpec(
            f"{address[:200]!r}: expected unix://PATH, tcp://HOST[:PORT] or ssh://[USER@]HOST[:PORT]"
        )

    def get(self, path: str, filters: Json | None = None) -> Any:
        """What a GET answers. Raises Unavailable, or FailedPrecondition with Docker's words."""
        target = f"/{VERSION}{path}"
        if filters is not None:
            target += f"?filters={quote(json.dumps(filters))}"
        connection = http.client.HTTPConnection("docker", timeout=TIMEOUT_S)
        try:
            connection.sock = self._connect()
            connection.request("GET", target)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            said = getattr(error, "strerror", None) or error or "no answer"
            raise Unavailable(f"{self.address}: {said}") from error
        finally:
            connection.close()
        return self._parsed(path, answer.status, body)

    def _parsed(self, path: str, status: int, body: bytes) -> Any:
        try:
            value = json.loads(body)
        except ValueError as error:
            raise Unavailable(f"{self.address}{path}: the answer is not JSON") from error
        if status != 200:
            said = value.get("message") if isinstance(value, dict) else None
            raise FailedPrecondition(f"{self.address}: {said or f'answered {status} to {path}'}")
        return value


def _unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _tcp(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), TIMEOUT_S)


def _tls(folder: str) -> ssl.SSLContext:
    place = Path(folder)
    try:
        context = ssl.create_default_context(cafile=str(place / "ca.pem"))
        # Docker takes CAs without a key usage or key identifiers; so does Python before 3.13.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(str(place / "cert.pem"), str(place / "key.pem"))
    except OSError as error:
        raise InvalidSpec(f"{folder}: expected ca.pem, cert.pem and key.pem: {error}") from error
    return context


def _ssh(address: str) -> socket.socket:
    """Docker's own way: the far side's `docker system dial-stdio` is the connection."""
    parts = urlsplit(address)
    command = ["ssh", "-o", "BatchMode=yes"]
    if parts.username:
        command += ["-l", parts.username]
    if parts.port:
        command += ["-p", str(parts.port)]
    ours, theirs = socket.socketpair()
    try:
        # "--" ends ssh's own options: a host's name is never one of them.
        subprocess.Popen(
            [*command, "--", str(parts.hostname), "docker", "system", "dial-stdio"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.settimeout(TIMEOUT_S)
    return ours
