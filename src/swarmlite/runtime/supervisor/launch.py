"""The parent's side of a start: pipes, cgroup, clone."""

from __future__ import annotations

import os
import socket

from swarmlite.kernel import processes
from swarmlite.runtime.cgroups.base import Cgroup
from swarmlite.runtime.oci import capabilities
from swarmlite.runtime.supervisor.child import ExecChild
from swarmlite.runtime.supervisor.clone import clone, namespaces_of, open_all
from swarmlite.runtime.supervisor.container import Container
from swarmlite.runtime.supervisor.container_child import ContainerChild
from swarmlite.runtime.supervisor.joining import Joining
from swarmlite.runtime.supervisor.output import Output
from swarmlite.runtime.supervisor.plan import Plan, ProcessPlan

CHANNEL = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def make_channel() -> tuple[socket.socket, socket.socket]:
    """Ours and the child's; the child's blocks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, CHANNEL)
    theirs.setblocking(True)
    return ours, theirs


def launch_container(
    container: Container, plan: Plan, cgroup: Cgroup, stdio: list[int], null: int, stdin: bool
) -> None:
    """Clone the container's first process; its channel and streams are then the container's.

    `stdio` are three descriptors, or none: then output goes to the container's, and with `stdin`
    its input is a pipe that is held open. Raises OSError with nothing left behind but the cgroup,
    which is the caller's.
    """
    ours, theirs = make_channel()
    opened: list[int] = []
    held: dict[str, int] = {}
    try:
        child_stdio = list(stdio) or [null, null, null]
        if plan.process is not None and plan.process.terminal:
            child_stdio = [null, null, null]
        elif not stdio and container.output is not None:
            child_stdio = _pipes(held, opened, null, stdin)
        files = open_all(cgroup.join_files(), opened)
        child = ContainerChild(plan, theirs, child_stdio, files, cgroup.binds())
        container.pid = clone(child, plan.clone_flags, cgroup.directory())
        container.joining = Joining(container.pid, child.handover) if plan.staged else None
    except BaseException:
        ours.close()
        for fd in held.values():
            os.close(fd)
        raise
    finally:
        theirs.close()
        for fd in opened:
            os.close(fd)
    container.channel = ours
    if container.output is not None:
        _hold(container.output, held)


def _pipes(held: dict[str, int], opened: list[int], null: int, stdin: bool) -> list[int]:
    """The child's stdio; our ends are put into `held`, the child's into `opened`."""
    child_stdio = [null]
    if stdin:
        reader, held["stdin"] = os.pipe2(os.O_CLOEXEC)
        opened.append(reader)
        child_stdio = [reader]
    for name in ("stdout", "stderr"):
        held[name], writer = os.pipe2(os.O_CLOEXEC)
        opened.append(writer)
        child_stdio.append(writer)
    return child_stdio


def _hold(output: Output, held: dict[str, int]) -> None:
    for name, fd in held.items():
        if name == "stdin":
            os.set_blocking(fd, False)
            output.stdin = fd
        else:
            output.follow(fd, name)


def launch_exec(
    container: Container, process: ProcessPlan, stdio: list[int]
) -> tuple[Joining, socket.socket]:
    """Clone what makes a process in the container, and the channel to both."""
    assert container.cgroup is not None
    others = capabilities.mask(container.bounding()) | process.bounding
    filtered = process.filtered_at_birth(others)
    ours, theirs = make_channel()
    opened: list[int] = []
    try:
        target = processes.pidfd_open(container.pid)
        opened.append(target)
        files = open_all(container.cgroup.join_files(), opened)
        flags = namespaces_of(container.pid)
        child = ExecChild(process, theirs, stdio, files, target, flags, filtered)
        maker = clone(child, 0, container.cgroup.directory())
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        for fd in opened:
            os.close(fd)
    return Joining(maker, child.handover), ours
