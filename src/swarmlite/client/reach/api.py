"""What every way to a node promises."""

from __future__ import annotations

import abc
import socket

SERVICES = ("agent", "manager", "swarmlited")
"""What can be reached: gRPC of the engine, gRPC of the manager, JSON lines of the daemon."""


class Reach(abc.ABC):
    """A way to one node. Each connection is the caller's, to be closed by it."""

    remote = True
    """Whether the node may be another host: its files are not to be looked at here."""

    managers_only = False
    """Whether it leads to a swarm's managers and to no host."""

    @abc.abstractmethod
    def connect(self, service: str) -> socket.socket:
        """A connection to one of SERVICES, blocking, without a timeout.

        Raises FileNotFoundError or ConnectionRefusedError where the service does not run,
        PermissionError for users who may not, Unavailable where the node cannot be reached.
        """

    def answers(self, service: str) -> bool:
        """Whether the service runs. Raises PermissionError and Unavailable."""
        try:
            self.connect(service).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def log(self, name: str) -> str:
        """Where a process of the node logs, for a message."""
        return f"logs/{name}.log of that node's state directory"

    @abc.abstractmethod
    def describe(self, service: str) -> str:
        """Where the service is, for a message."""
