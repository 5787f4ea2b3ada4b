"""The first process of a command's container: it listens to be started, and runs hooks."""

from __future__ import annotations

import errno
import os

from swarmlite import errors
from swarmlite.runtime import lean
from swarmlite.runtime.command import hooks
from swarmlite.runtime.supervisor.child import START
from swarmlite.runtime.supervisor.container_child import ContainerChild
from swarmlite.runtime.supervisor.plan import Plan

HOOKS = b"hooks"
OF_THE_CREATE = ("prestart", "createRuntime", "createContainer", "startContainer")


class CommandChild(ContainerChild):
    """Between create and start nobody is its parent that knows it: whoever starts it connects."""

    def __init__(
        self,
        plan: Plan,
        channel: lean.Socket,
        stdio: list[int],
        cgroup_files: list[int],
        cgroup_binds: list[tuple[str, str]],
        listener: lean.Socket,
    ) -> None:
        super().__init__(plan, channel, stdio, cgroup_files, cgroup_binds)
        self.listener = listener
        self.state: dict[str, object] = {}

    def kept(self) -> list[int]:
        """The listening socket."""
        return [self.listener.fileno()]

    def before_pivot(self) -> None:
        """The caller runs those of the runtime's namespaces, then we those of the container's."""
        if not any(self.plan.hooks.get(kind) for kind in OF_THE_CREATE):
            return
        self.step = "hooks"
        self.channel.send(HOOKS)
        said = self.channel.recv(1 << 20)
        if not said:
            os._exit(127)
        self.state = lean.loads(said)
        self._run_hooks("createContainer")

    def wait_for_start(self) -> None:
        """Whoever connects and says so; others only looked whether we still wait."""
        while True:
            connection = lean.accept(self.listener)
            if connection.recv(64) == START:
                break
            connection.close()
        # What goes wrong from here on is the starter's to hear.
        self.channel.close()
        self.channel = connection
        self.step = "hooks"
        if self.plan.hooks.get("startContainer"):
            self.state["status"] = "created"
            self._run_hooks("startContainer")

    def _run_hooks(self, kind: str) -> None:
        try:
            hooks.run(self.plan.hooks, kind, self.state)
        except errors.FailedPrecondition as error:
            raise OSError(errno.ECANCELED, str(error)) from error
