"""The node of this host, by its unix sockets."""

from __future__ import annotations

import socket
from pathlib import Path

from swarmlite.client.reach.api import Reach
from swarmlite.paths import Paths


class Local(Reach):
    """The node whose directories are `paths`."""

    remote = False

    def __init__(self, paths: Paths) -> None:
        """Connects to nothing yet."""
        self._paths = paths

    def connect(self, service: str) -> socket.socket:
        """As Reach says."""
        return unix(self._path(service))

    def describe(self, service: str) -> str:
        """The socket's path."""
        return str(self._path(service))

    def log(self, name: str) -> str:
        """The file's path."""
        return str(self._paths.logs_dir / f"{name}.log")

    def _path(self, service: str) -> Path:
        paths = self._paths
        sockets = {
            "agent": paths.agent_socket,
            "manager": paths.manager_socket,
            "swarmlited": paths.daemon_socket,
        }
        return sockets[service]


def unix(path: Path) -> socket.socket:
    """A connection to a unix socket. Raises OSError."""
    made = socket.socket(socket.AF_UNIX)
    try:
        made.connect(str(path))
    except BaseException:
        made.close()
        raise
    return made
