"""The parent's side of a start: pipes, cgroup, clone."""

from __future__ import annotations

import os
import signal
import socket

from swarmlite.kernel import namespaces, processes
from swarmlite.runtime.cgroups.base import Cgroup
from swarmlite.runtime.supervisor.child import Child, ContainerChild, ExecChild
from swarmlite.runtime.supervisor.container import Container
from swarmlite.runtime.supervisor.logfiles import Stream
from swarmlite.runtime.supervisor.plan import Plan, ProcessPlan

EVERY_SIGNAL = signal.valid_signals()
CHANNEL = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def make_channel() -> tuple[socket.socket, socket.socket]:
    """Ours and the child's; the child's blocks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, CHANNEL)
    theirs.setblocking(True)
    return ours, theirs


def launch_container(
    container: Container, plan: Plan, cgroup: Cgroup, stdio: list[int], null: int
) -> None:
    """Clone the container's first process; its channel and output are then the container's.

    `stdio` are three descriptors, or none: then output goes to the container's writer. Raises
    OSError with nothing left behind but the cgroup, which is the caller's.
    """
    ours, theirs = make_channel()
    opened: list[int] = []
    streams: list[Stream] = []
    try:
        child_stdio = list(stdio)
        if plan.process.terminal:
            child_stdio = [null, null, null]
        elif not stdio and container.writer is not None:
            child_stdio = [null]
            for name in ("stdout", "stderr"):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(reader, False)
                opened.append(writer)
                streams.append(Stream(reader, name, container.writer))
                child_stdio.append(writer)
        elif not stdio:
            child_stdio = [null, null, null]
        files = _open_all(cgroup.join_files(), opened)
        child = ContainerChild(plan, theirs, child_stdio, files, cgroup.binds())
        container.pid = _clone(child, plan.clone_flags, cgroup.directory())
    except BaseException:
        ours.close()
        for stream in streams:
            os.close(stream.fd)
        raise
    finally:
        theirs.close()
        for fd in opened:
            os.close(fd)
    container.channel, container.streams = ours, streams


def launch_exec(
    container: Container, process: ProcessPlan, stdio: list[int], own_pid_namespace: int
) -> tuple[int, socket.socket]:
    """Clone a process into the container's pid namespace; its pid, and the channel to it."""
    assert container.cgroup is not None
    ours, theirs = make_channel()
    opened: list[int] = []
    try:
        target = processes.pidfd_open(container.pid)
        opened.append(target)
        files = _open_all(container.cgroup.join_files(), opened)
        child = ExecChild(process, theirs, stdio, files, target)
        # Only children are affected, and we come straight back: so the process is our child, with
        # no process in between that would have to be waited for.
        if container.own_pid_namespace:
            namespaces.setns(target, namespaces.CLONE_NEWPID)
        try:
            pid = _clone(child, 0, container.cgroup.directory())
        finally:
            if container.own_pid_namespace:
                namespaces.setns(own_pid_namespace, namespaces.CLONE_NEWPID)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        for fd in opened:
            os.close(fd)
    return pid, ours


def _open_all(paths: list[str], opened: list[int]) -> list[int]:
    files = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in paths]
    opened += files
    return files


def _clone(child: Child, flags: int, cgroup_directory: str | None) -> int:
    """With every signal blocked, so that none runs the supervisor's handlers in the child."""
    directory = -1
    if cgroup_directory is not None:
        directory = os.open(cgroup_directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)
    try:
        pid = processes.clone(flags, directory)
        if pid == 0:
            child.guarded_run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if directory >= 0:
            os.close(directory)
    return pid
