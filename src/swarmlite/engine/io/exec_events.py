"""What is told of one command in a container, in Docker's words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol


class Tell(Protocol):
    """Tells an event of a container."""

    def __call__(self, container_id: str, action: str, /, **attributes: str) -> None:
        """Nothing is told of a container that is gone."""


class ExecEvents:
    """Of one exec."""

    def __init__(
        self, tell: Tell, container_id: str, command: Sequence[str], exec_id: str = ""
    ) -> None:
        """Without an id it is one that nobody can ask for, as a health test."""
        self.exec_id = exec_id or os.urandom(32).hex()
        self._tell, self._container_id = tell, container_id
        # The blank behind a command without arguments is Docker's.
        self._command = f"{command[0]} {' '.join(command[1:])}"

    def created(self) -> None:
        """It is known, and does not run yet."""
        self._tell(self._container_id, f"exec_create: {self._command}", execID=self.exec_id)

    def started(self) -> None:
        """It is about to run."""
        self._tell(self._container_id, f"exec_start: {self._command}", execID=self.exec_id)

    def died(self, exit_code: int) -> None:
        """It has ended."""
        attributes = {"execID": self.exec_id, "exitCode": str(exit_code)}
        self._tell(self._container_id, "exec_die", **attributes)
