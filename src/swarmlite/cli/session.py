"""One invocation's way to the node: its directories, and connections made when first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import click

from swarmlite.paths import Paths

if TYPE_CHECKING:
    from swarmlite.proto.control_pb2_grpc import ControlStub
    from swarmlite.proto.engine_pb2_grpc import EngineStub


class Session:
    """Connections of one command to the node that `paths` names.

    The properties raise Unavailable, FailedPrecondition or PermissionDenied, each with the line
    that tells the user what to do.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    @cached_property
    def control(self) -> ControlStub:
        """The manager of this node."""
        from swarmlite.cli import client

        return client.control(self.paths)

    @cached_property
    def engine(self) -> EngineStub:
        """The agent of this node."""
        from swarmlite.cli import client

        return client.engine(self.paths)


pass_session = click.make_pass_decorator(Session)
