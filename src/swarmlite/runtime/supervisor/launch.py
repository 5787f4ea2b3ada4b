"""The parent's side of a start: pipes, cgroup, clone."""

from __future__ import annotations

import os
import socket

from swarmlite.kernel import processes
from swarmlite.runtime import lean
from swarmlite.runtime.cgroups.base import Cgroup
from swarmlite.runtime.oci import capabilities
from swarmlite.runtime.supervisor import forker, jobs
from swarmlite.runtime.supervisor.child import ExecChild
from swarmlite.runtime.supervisor.clone import clone, namespaces_of, open_all
from swarmlite.runtime.supervisor.container import Container
from swarmlite.runtime.supervisor.container_child import ContainerChild
from swarmlite.runtime.supervisor.joining import Joining
from swarmlite.runtime.supervisor.output import Output
from swarmlite.runtime.supervisor.parking import Parking, make_channel
from swarmlite.runtime.supervisor.plan import Plan, ProcessPlan
from swarmlite.runtime.supervisor.rootfs import kit_of


def launch_container(
    container: Container,
    plan: Plan,
    cgroup: Cgroup,
    stdio: list[int],
    null: int,
    stdin: bool,
    parking: Parking | None,
) -> None:
    """Make the container's first process; its channel and streams are then the container's.

    `stdio` are three descriptors, or none: then output goes to the container's, and with `stdin`
    its input is a pipe that is held open. Raises OSError with nothing left behind but the cgroup,
    which is the caller's.
    """
    opened: list[int] = []
    held: dict[str, int] = {}
    try:
        child_stdio = list(stdio) or [null, null, null]
        if plan.process is not None and plan.process.terminal:
            child_stdio = [null, null, null]
        elif not stdio and container.output is not None:
            child_stdio = _pipes(held, opened, null, stdin)
        files = open_all(cgroup.join_files(), opened)
        if not _give_away(container, plan, cgroup, [*child_stdio, *files], parking):
            _fork(container, plan, cgroup, child_stdio, files)
    except BaseException:
        for fd in held.values():
            os.close(fd)
        raise
    finally:
        for fd in opened:
            os.close(fd)
    if container.output is not None:
        _hold(container.output, held)


def _give_away(
    container: Container, plan: Plan, cgroup: Cgroup, fds: list[int], parking: Parking | None
) -> bool:
    """To a child of the forking process; False when that is no way for this one."""
    if parking is None or plan.staged:
        return False
    directory = -1
    try:
        data = jobs.pack(jobs.Job(plan, cgroup.binds()))
        if len(data) > jobs.MAX_BYTES - jobs.HEADER:
            return False
        if (path := cgroup.directory()) is not None:
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        ahead, kit = plan.clone_flags & forker.AHEAD, kit_of(plan)
        parked = parking.take(ahead, kit, directory)
        left = (plan.clone_flags & ~forker.AHEAD).to_bytes(jobs.HEADER, "little")
        try:
            lean.send_fds(parked.channel, left + data, fds)
        except OSError:
            parked.channel.close()
            raise
    except (OSError, ValueError):
        return False  # what is wrong with it will be seen on the other way
    finally:
        if directory >= 0:
            os.close(directory)
    container.pid, container.channel = parked.pid, parked.channel
    if directory < 0:
        parking.refill(ahead, kit)
    return True


def _fork(
    container: Container, plan: Plan, cgroup: Cgroup, stdio: list[int], files: list[int]
) -> None:
    """Out of this process itself."""
    ours, theirs = make_channel()
    try:
        child = ContainerChild(plan, theirs, stdio, files, cgroup.binds())
        container.pid = clone(child, plan.clone_flags, cgroup.directory())
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    container.channel = ours
    container.joining = Joining(container.pid, child.handover) if plan.staged else None


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
