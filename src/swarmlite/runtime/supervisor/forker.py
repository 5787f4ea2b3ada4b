"""The process that forks: small, since each child copies the pages that it writes to.

It is forked by the supervisor before that has grown, and makes children of its own parent
(CLONE_PARENT): so the supervisor reaps them, and does not pay for a fork with copies of its own
pages. Who is made waits for a job (jobs.py) on its socket: it is a container's first process from
then on, or makes one more in a running container. The mount and UTS namespaces are made only then:
they are copies of the host's, and have to be of its present state.

Everything that a child needs is loaded here: later it sees the files of an image.
"""

from __future__ import annotations

import gc
import marshal
import os

from swarmlite.kernel import namespaces, processes
from swarmlite.runtime import lean
from swarmlite.runtime.lean import signal
from swarmlite.runtime.supervisor import jobs
from swarmlite.runtime.supervisor.child import Child, ExecChild
from swarmlite.runtime.supervisor.container_child import ContainerChild
from swarmlite.runtime.supervisor.kits import Key, Kit
from swarmlite.runtime.supervisor.pages import Pages

#: Made with the child; what is not among them is left to the time of the job.
AHEAD = namespaces.CLONE_NEWPID | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWNET
MAX_FDS = 32
IGNORED = (lean.SIGHUP, lean.SIGINT, lean.SIGTERM)  # it ends with its socket


def begin() -> tuple[int, lean.Socket]:
    """Fork the forking process: its pid, and the socket to it. Before there is anything to hold."""
    ours, theirs = lean.socketpair()
    # What lives now lives on: no collection writes to it.
    gc.collect()
    gc.freeze()
    pid = processes.fork()
    if pid == 0:
        try:
            ours.close()
            for number in IGNORED:
                signal.signal(number, signal.SIG_IGN)
            gc.disable()
            serve(theirs)
        finally:
            os._exit(0)
    theirs.close()
    return pid, ours


def serve(channel: lean.Socket) -> None:
    """Make a child for each request, until the parent is gone.

    A request is the namespaces' flags and what to make ahead (kits.py; None: nothing), with the
    child's socket and, if it is to be born in one, a cgroup's directory; the answer a pid, or an
    errno below 0.
    """
    os.umask(0)  # for the nodes of a /dev; a child's is set by its job
    known: list[Key] = []
    kit, none = Kit(known), Kit([])
    first, further = Pages(), Pages()  # of a container's first process, and of an exec
    while True:
        request, fds = lean.recv_fds(channel, jobs.MAX_BYTES, 2)
        if not request:
            return
        flags, wanted = marshal.loads(request)
        pages = first if flags else further
        pages.hear()
        if wanted is not None and wanted != known:
            kit.close()
            known, kit = wanted, Kit(wanted)
        try:
            pid = processes.clone_sibling(flags, fds[1] if len(fds) > 1 else -1)
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            become(fds[0], flags, none if wanted is None else kit, pages)
        for fd in fds:
            os.close(fd)
        channel.send(b"%d" % pid)
        if pid > 0 and wanted is not None:
            kit.close()
            kit = Kit(wanted)  # while nobody waits


def become(fd: int, flags: int, kit: Kit, pages: Pages) -> None:
    """In the child: wait for the job, and do it. Never returns."""
    try:
        pages.copy_ahead()
        processes.close_all_but(3, [fd, *kit.descriptors(), *pages.descriptors()])
        kit.complete(flags)
        channel = lean.adopt(fd)
        data, fds = lean.recv_fds(channel, jobs.MAX_BYTES, MAX_FDS)
        if data:
            unshare = int.from_bytes(data[: jobs.HEADER], "little")
            if unshare:
                namespaces.unshare(unshare)
            child = child_for(jobs.unpack(data[jobs.HEADER :]), channel, fds, kit)
            child.pages = pages
            child.guarded_run()
    finally:
        os._exit(127)


def child_for(
    job: jobs.Job | jobs.ExecJob, channel: lean.Socket, fds: list[int], kit: Kit
) -> Child:
    """Who does a job with these descriptors."""
    stdio, rest = fds[:3], fds[3:]
    if isinstance(job, jobs.Job):
        return ContainerChild(job.plan, channel, stdio, rest, job.cgroup_binds, kit)
    container, memory, *files = rest
    handover = processes.Handover(memory)
    return ExecChild(
        job.process, channel, stdio, files, container, job.namespace_flags, job.filtered, handover,
        job.spawns,
    )  # fmt: skip
