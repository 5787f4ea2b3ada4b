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
from swarmlite.runtime.supervisor.kits import Key
from swarmlite.runtime.supervisor.output import Output
from swarmlite.runtime.supervisor.parking import Parked, Parking, make_channel
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
    if plan.staged:
        return False
    try:
        data = jobs.pack(jobs.Job(plan, cgroup.binds()))
    except ValueError:
        return False
    ahead, later = plan.clone_flags & forker.AHEAD, plan.clone_flags & ~forker.AHEAD
    found = _given_away(data, fds, ahead, later, kit_of(plan), cgroup.directory(), parking)
    if found is None:
        return False
    container.pid, container.channel = found.pid, found.channel
    return True


def _given_away(
    data: bytes,
    fds: list[int],
    ahead: int,
    later: int,
    kit: list[Key] | None,
    cgroup_directory: str | None,
    parking: Parking | None,
) -> Parked | None:
    """Who does a job now, in namespaces made `ahead` of it or `later`; None: that is no way."""
    if parking is None or len(data) > jobs.MAX_BYTES - jobs.HEADER:
        return None
    directory = -1
    try:
        if cgroup_directory is not None:
            directory = os.open(cgroup_directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        parked = parking.take(ahead, kit, directory)
        try:
            lean.send_fds(parked.channel, later.to_bytes(jobs.HEADER, "little") + data, fds)
        except OSError:
            parked.channel.close()
            raise
    except OSError:
        return None  # what is wrong with it will be seen on the other way
    finally:
        if directory >= 0:
            os.close(directory)
    if directory < 0:
        parking.refill(ahead, kit, parked.pid)
    return parked


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
    container: Container,
    process: ProcessPlan,
    stdio: list[int],
    parking: Parking | None,
    *,
    traceable: bool,
) -> tuple[Joining, socket.socket]:
    """Who makes a process in the container, and the channel to both. Raises OSError.

    `traceable`: something in there may trace what it has no other power over.
    """
    assert container.cgroup is not None
    others = capabilities.mask(container.bounding()) | process.bounding
    filtered = process.filtered_at_birth(others)
    spawns = not traceable and _may_spawn(container, process, filtered)
    opened: list[int] = []
    try:
        target = processes.pidfd_open(container.pid)
        opened.append(target)
        files = open_all(container.cgroup.join_files(), opened)
        job = jobs.ExecJob(process, namespaces_of(container.pid), filtered, spawns)
        memory = processes.handover_memory()
        opened.append(memory)
        handover = processes.Handover(memory)
        fds = [*stdio, target, memory, *files]
        directory = container.cgroup.directory()
        parked = _given_away(jobs.pack(job), fds, 0, 0, None, directory, parking)
        if parked is not None:
            return Joining(parked.pid, handover, adopted=spawns), parked.channel
        ours, theirs = make_channel()
        try:
            child = ExecChild(
                process, theirs, stdio, files, target, job.namespace_flags, filtered, handover
            )
            return Joining(clone(child, 0, directory), handover), ours
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
    finally:
        for fd in opened:
            os.close(fd)


def _may_spawn(container: Container, process: ProcessPlan, filtered: bool) -> bool:
    """Whether the process may be born with its maker's memory: see ExecChild."""
    if process.terminal or not container.own_pid_namespace:
        return False  # it takes more steps of its own; its orphans could not be told from it
    return process.filter is None or (filtered and process.filter.lets_spawn)
