"""The managers of a swarm, by their own port and with a user's certificate.

What the certificate's role allows is the managers' to say. Nothing of a host is reached this way:
neither its engine nor its daemon.
"""

from __future__ import annotations

import socket
import ssl
import threading

from swarmlite.client.reach.api import Reach
from swarmlite.client.reach.tls import CONNECT_S, TlsFiles, carry
from swarmlite.errors import FailedPrecondition, PermissionDenied, Unavailable

PORT = 2377
NAME = "swarm-manager"
"""What a manager's certificate bears, wherever it is."""
Address = tuple[str, int]


class Managers(Reach):
    """Any of a swarm's managers."""

    managers_only = True

    def __init__(self, addresses: list[Address], files: TlsFiles) -> None:
        """Connects to nothing yet. They are tried in order, the last one that answered first."""
        self._addresses, self._files = list(addresses), files
        self._context: ssl.SSLContext | None = None

    def describe(self, service: str) -> str:
        """As it is written in a URL."""
        return "swarm://" + ",".join(_joined(each) for each in self._addresses)

    def log(self, name: str) -> str:
        """Where a process of the node logs, for a message."""
        return f"the manager's logs/{name}.log"

    def connect(self, service: str) -> socket.socket:
        """As Reach says; raises FailedPrecondition for what is no manager's."""
        if service != "manager":
            raise FailedPrecondition(
                "this context leads to the managers of a swarm and to no host: containers, images"
                " and volumes of a node are reached by a context with ssh:// or tcp://"
            )
        said = []
        for address in self._addresses:
            try:
                plain = socket.create_connection(address, CONNECT_S)
            except OSError as error:
                said.append(f"{_joined(address)}: {error.strerror or error}")
                continue
            # Another list: other threads may be at this one.
            self._addresses = [address, *(each for each in self._addresses if each != address)]
            return self._secured(plain, address)
        raise Unavailable(f"no manager can be reached ({'; '.join(said)})")

    def _secured(self, plain: socket.socket, address: Address) -> socket.socket:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._context is None:
            self._context = self._files.context()
            self._context.set_alpn_protocols(["h2"])
        try:
            secured = self._context.wrap_socket(plain, server_hostname=NAME)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise PermissionDenied(
                f"{_joined(address)}: its certificate is refused: {error.verify_message}"
            ) from error
        except (ssl.SSLError, OSError) as error:
            plain.close()
            raise Unavailable(f"{_joined(address)}: no TLS with it: {error}") from error
        secured.settimeout(None)
        ours, theirs = socket.socketpair()
        threading.Thread(target=carry, args=(theirs, secured), daemon=True).start()
        return ours


def _joined(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(rest: str) -> list[Address]:
    """HOST[:PORT] between commas. Raises ValueError."""
    found = []
    for word in rest.split(","):
        host, port = word, ""
        if word.startswith("["):
            host, _, port = word[1:].partition("]")
            port = port.removeprefix(":")
        elif word.count(":") == 1:
            host, _, port = word.partition(":")
        number = int(port) if port else PORT
        if not host or not 0 < number < 65536 or set(host) & set("/@?# "):
            raise ValueError(word)
        found.append((host, number))
    return found
