"""A container that is created, started, listened to and waited for in one call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.cli.terminal.streams import Streams, write
from swarmlite.errors import Unavailable
from swarmlite.proto.containers_pb2 import ContainerConfig, RunInput, RunOutput


class Running(Streams):
    """`create`, `start`, `show`, in this order; the call ends with whichever of them fails."""

    def __init__(self, config: ContainerConfig) -> None:
        """Nothing is asked before `create`."""
        super().__init__(RunInput, RunInput(config=config), stdin=config.attach_stdin)
        self._may_start = threading.Event()
        self._replies: Iterator[RunOutput] = iter(())

    def create(self, session: Session, config: ContainerConfig) -> RunOutput:
        """Its id and warnings. Raises swarmlite's errors; then it may be tried once more."""
        self._done.clear()
        self.open(session.containers.Run)
        assert self._call is not None
        self._replies = client.stream(self._call)  # type: ignore[arg-type]
        return self._next()

    def start(self) -> None:
        """Returns once its program runs. Raises swarmlite's errors."""
        self._may_start.set()
        self.begin()
        try:
            self._next()
        except BaseException:
            self.close()
            raise

    def show(self) -> int | None:
        """Write what comes; the exit code, once it has ended."""
        code = None
        try:
            for output in self._replies:
                if output.data:
                    write(output)
                if output.HasField("exit_code"):
                    code = output.exit_code
                    if output.error:
                        click.echo(output.error, err=True)
        finally:
            self.close()
        return code

    def close(self) -> None:
        """See Streams."""
        self._done.set()
        self._may_start.set()
        super().close()

    def _opening(self) -> Iterator[Any]:
        yield self._first
        self._may_start.wait()
        if not self._done.is_set():
            yield RunInput(start=True)

    def _next(self) -> RunOutput:
        found = next(self._replies, None)
        if found is None:
            raise Unavailable("the engine ended the call")
        return found
