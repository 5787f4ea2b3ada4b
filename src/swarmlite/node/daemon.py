"""swarmlited: one daemon a node. It holds the state directory's lock, keeps the node's processes
running and takes the node into a cluster and out of it. The standard library only: no gRPC.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmlite import __version__, logs
from swarmlite.client.membership import LOCKED
from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError, Unavailable
from swarmlite.identity.files import LOOK_EVERY_S, Identity
from swarmlite.identity.node import NodeIdentity
from swarmlite.paths import Paths
from swarmlite.storage import trees

from . import dockersocket, etcdcmd, flags, hostcheck, metrics, oneshot, requests
from .children import Child
from .dockersocket import DockerSocket
from .page import Page
from .promotion import Promotion
from .rotation import LogRotation
from .supervision import SupervisorKeeper
from .unlocking import Unlocking

log = logging.getLogger(__name__)

READY_S, SLOW_READY_S = 30.0, 300.0
"""How long a manager is waited for where its process or its etcd has ended, and where both run: it
only has a slow processor then.
"""


class Daemon:
    """The running daemon."""

    def __init__(self, paths: Paths, options: argparse.Namespace) -> None:
        self._paths = paths
        self._options = options
        self._identity = Identity(paths)
        self._started_as: NodeIdentity | None = None
        self._error = ""
        self._changing = asyncio.Lock()
        self._unlocking = Unlocking(paths)
        self._promotion = Promotion(paths, options.etcd_binary, self._changing)
        places = [f"--state-dir={paths.state_dir}", f"--run-dir={paths.run_dir}"]
        python = [sys.executable, "-m"]
        agent = [*python, "swarmlite.agent", *places, f"--cgroup-parent={options.cgroup_parent}"]
        agent += [f"--generic-resource={text}" for text in options.node_generic_resource]
        agent += [f"--label={text}" for text in options.node_label]
        agent += [f"--allow={options.node_allow}"]
        manager = [*python, "swarmlite.manager", *places]
        manager += [f"--etcd-quota-bytes={options.etcd_quota}"]
        self._etcd_restart_wanted = False
        self._supervisor = SupervisorKeeper(paths, external=options.supervisor == "external")
        self._children = {
            "etcd": Child("etcd", self._etcd_command, paths.logs_dir, options.debug),
            "manager": Child("manager", lambda: manager, paths.logs_dir, options.debug),
            "agent": Child("agent", lambda: agent, paths.logs_dir, options.debug),
        }

        self._docker = DockerSocket(paths, dockersocket.options_of(options), debug=options.debug)
        self._page = Page(paths, debug=options.debug)
        self._metrics = metrics.Metrics(paths, metrics.options_of(options), debug=options.debug)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Containers run on. Raises InvalidSpec for a bad address."""
        self._docker.open()
        self._metrics.open()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        operations: dict[str, requests.Operation] = {
            "status": self.status,
            "init": self.init,
            "join": self.join,
            "leave": self.leave,
            "unlock": self.unlock,
            "backup": self.backup,
            "restore": self.restore,
            "restart_etcd": self.restart_etcd,
            "ui": self._page.operation,
        }
        # A loop that dies takes the daemon down, so that it is seen and whoever runs it starts it.
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(self._supervisor.run(), name="supervisor"),
                group.create_task(LogRotation(self._paths.logs_dir).run(), name="log rotation"),
                group.create_task(self._follow_identity(), name="identity"),
                group.create_task(self._docker.run(), name="docker socket"),
                group.create_task(self._promotion.run(), name="promotion"),
                group.create_task(self._follow_roots(), name="roots"),
            ]
            try:
                self._identity.lock.forget()  # with autolock, each start asks for the key
                self._start_children()
                if self._metrics.child is not None:
                    self._metrics.child.start()
                async with requests.serving(self._paths.daemon_socket, operations):
                    _notify("READY=1")
                    log.info("swarmlited %s ready", __version__)
                    await stop.wait()
                    _notify("STOPPING=1")
            finally:
                for each in loops:
                    each.cancel()
                await self._stop_children()
                await self._metrics.close()
                self._identity.lock.forget()

    # children
    def _etcd_command(self) -> list[str]:
        node = self._identity.read()
        if node is None or node.etcd is None:
            raise FileNotFoundError(f"{self._paths.node_file} names no member of etcd")
        etcdcmd.check_data(self._paths.etcd_dir)
        return etcdcmd.command(
            self._options.etcd_binary,
            node.etcd,
            self._paths.etcd_dir,
            self._paths.certificates_dir,
            quota_bytes=self._options.etcd_quota,
        )

    def _start_children(self) -> None:
        """What the node's role asks for, of node.json as it is now."""
        try:
            node = self._who()
        except SwarmliteError:
            return  # the agent would not read it either; containers run on
        self._started_as = node
        logs.node_id = node.node_id if node is not None else ""
        if node is not None and node.manager and not self._identity.lock.locked:
            if node.etcd:
                self._children["etcd"].start()
            self._children["manager"].start()
            self._page.start()
        self._children["agent"].start()

    def _who(self) -> NodeIdentity | None:
        """node.json as it is now. The status says why it cannot be read."""
        self._error = ""
        try:
            return self._identity.read()
        except SwarmliteError as error:
            self._error = str(error)
            log.error("%s", error)
            raise

    async def _follow_identity(self) -> None:
        """What the agent learnt of this node's role: the processes that it takes run, no others."""
        async for _ in self._identity.changes():
            async with self._changing:
                await self._become()

    async def _follow_roots(self) -> None:
        """etcd reads its roots only when it starts: after a rotation of the CA it is to start
        again. The managers say when: one member at a time (manager/etcdcare).
        """
        known = self._roots()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with contextlib.suppress(OSError):
                etcdcmd.has_data(self._paths.etcd_dir)
            found = self._roots()
            if found and 0 < known > found and self._children["etcd"].pid:
                self._etcd_restart_wanted = True
            known = found

    def _roots(self) -> int:
        try:
            return self._identity.certificates.roots.count(b"BEGIN CERTIFICATE")
        except OSError:
            return 0

    async def _become(self) -> None:
        try:
            node = self._who()
        except SwarmliteError:
            return
        if node is None or _runs_as(node) == _runs_as(self._started_as):
            return  # leave is this daemon's own doing, and what is to be comes later
        log.info("this node is a %s now", node.role)
        await self._stop_children()
        if not node.etcd:
            trees.sweep(self._paths.etcd_dir)  # a member that is in no cluster any more
        if not node.manager:
            trees.sweep(self._paths.manager_dir)  # the store's keys are the managers'
            self._identity.lock.forget()
        self._start_children()

    async def _stop_children(self) -> None:
        await self._page.stop()
        # etcd last: the manager gives up its leadership there.
        await asyncio.gather(self._children["agent"].stop(), self._children["manager"].stop())
        await self._children["etcd"].stop()

    # operations
    async def status(
        self, request: Mapping[str, Any], progress: requests.Progress
    ) -> dict[str, Any]:
        """As docs/ARCHITECTURE.md says; and this daemon's own pid and version."""
        node: NodeIdentity | None = None
        with contextlib.suppress(SwarmliteError):
            node = self._identity.read()
        swarm = "active" if node else "inactive"
        if node and self._identity.lock.locked:
            swarm = "locked"
        children: dict[str, Any] = {
            name: {"pid": child.pid, "restarts": child.restarts, "last_exit": child.last_exit}
            for name, child in {
                **self._children,
                "exporter": self._metrics.child,
                "ui": self._page.child,
            }.items()
            if child is not None and (child.pid or child.restarts)
        }
        if self._docker.starts:
            children["gateway"] = {
                "pid": self._docker.pid,
                "restarts": self._docker.starts - 1,
                "last_exit": self._docker.last_exit,
            }
        children["supervisor"] = {
            "pid": self._supervisor.pid,
            "restarts": self._supervisor.restarts,
        }
        return {
            "swarm": "error" if self._error else swarm,
            "role": node.role if node else "",
            "node_id": node.node_id if node else "",
            "cluster_id": node.cluster_id if node else "",
            "addr": node.advertise_addr if node else "",
            "error": self._error or self._children["etcd"].hindrance,
            "changing": self._changing.locked(),
            "etcd_restart_wanted": self._etcd_restart_wanted,
            "children": children,
            "pid": os.getpid(),
            "version": __version__,
        }

    async def init(self, request: Mapping[str, Any], progress: requests.Progress) -> dict[str, Any]:
        """A new cluster, or the one of this manager without the others; returns once it answers."""
        async with self._changes():
            asked = self._with_etcd(request)
            if request.get("force_new_cluster"):
                if self._identity.lock.locked:
                    raise FailedPrecondition(LOCKED.format(program="swarmlite"))
                return await self._recover(asked, progress)
            answer = await oneshot.run("init", self._paths, asked, progress)
            await self._restart(progress)
            return answer

    def _with_etcd(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request with the etcd to run. Raises FailedPrecondition where that is none."""
        if not request.get("etcd_endpoints"):
            wrong = hostcheck.check_etcd(self._options.etcd_binary)  # no thread: see _main
            if wrong:
                raise FailedPrecondition(wrong)
        return {**request, "etcd_binary": self._options.etcd_binary}

    async def _recover(
        self, request: Mapping[str, Any], progress: requests.Progress
    ) -> dict[str, Any]:
        """The agent goes on meanwhile, and so do containers."""
        await oneshot.run("recover", self._paths, {**request, "only_check": True}, progress)
        await self._children["manager"].stop()
        await self._children["etcd"].stop()
        try:
            answer = await oneshot.run("recover", self._paths, request, progress)
            if answer.get("moved"):
                await self._children["agent"].stop()  # it has the old address; containers run on
        finally:
            self._start_children()
        await self._manager_answers(progress)  # where it failed nothing does without a quorum
        return answer

    async def join(self, request: Mapping[str, Any], progress: requests.Progress) -> dict[str, Any]:
        """Into the cluster of another manager."""
        async with self._changes():
            # Of use only to a manager; which role it is, the token's cluster knows.
            missing = hostcheck.check_etcd(self._options.etcd_binary)
            asked = {**request, "etcd_missing": missing}
            answer = await oneshot.run("join", self._paths, asked, progress)
            await self._restart(progress)
            return answer

    async def leave(
        self, request: Mapping[str, Any], progress: requests.Progress
    ) -> dict[str, Any]:
        """Out of the cluster; the agent then stops its tasks."""
        async with self._changes():
            answer = await oneshot.run("leave", self._paths, request, progress)
            await self._stop_children()
            self._identity.remove()
            self._start_children()
            return answer

    async def backup(
        self, request: Mapping[str, Any], progress: requests.Progress
    ) -> dict[str, Any]:
        """The cluster to a file of this host."""
        async with self._changes():
            return await oneshot.run("backup", self._paths, request, progress)

    async def restore(
        self, request: Mapping[str, Any], progress: requests.Progress
    ) -> dict[str, Any]:
        """A manager out of such a file; returns once it answers."""
        async with self._changes():
            asked = self._with_etcd(request)
            answer = await oneshot.run("restore", self._paths, asked, progress)
            await self._restart(progress)
            return answer

    async def restart_etcd(
        self, request: Mapping[str, Any], progress: requests.Progress
    ) -> dict[str, Any]:
        """The managers' turn for it has come; nothing where it is not called for."""
        async with self._changing:
            if self._etcd_restart_wanted and self._children["etcd"].pid:
                log.info("the CA was rotated: etcd starts again with the new root")
                await self._children["etcd"].stop()
                self._children["etcd"].start()
            self._etcd_restart_wanted = False
        return {}

    async def unlock(
        self, request: Mapping[str, Any], progress: requests.Progress
    ) -> dict[str, Any]:
        """With the unlock key, what a manager runs; a wrong key is answered ever later."""
        if self._identity.read() is None:
            raise FailedPrecondition("This node is not part of a swarm")
        await self._unlocking.unlock(str(request.get("key") or ""))
        async with self._changing:
            self._start_children()
        try:
            await self._manager_answers(progress)
        except Unavailable as error:  # the others may be locked still: there is no quorum then
            progress(str(error))
        return {}

    @contextlib.asynccontextmanager
    async def _changes(self) -> Any:
        """One change at a time."""
        if self._changing.locked():
            raise FailedPrecondition("another init, join or leave is under way on this node")
        async with self._changing:
            yield

    async def _restart(self, progress: requests.Progress) -> None:
        """The agent again, and the manager's processes; waits until a manager answers."""
        # The manager's processes need not wait for the agent, which ends in its own time.
        self._start_children()
        await self._children["agent"].stop()
        self._start_children()
        await self._manager_answers(progress)

    async def _manager_answers(self, progress: requests.Progress) -> None:
        """Wait for it; nothing on a worker."""
        node = self._identity.read()
        if node is None or not node.manager:
            return
        progress("waiting for the manager")
        names = ("etcd", "manager") if node.etcd else ("manager",)
        before = {name: self._children[name].restarts for name in names}
        begun, told = time.monotonic(), False
        while not _answers(self._paths.manager_socket):
            ended = [name for name in names if self._children[name].restarts > before[name]]
            waited_s = time.monotonic() - begun
            see = " and ".join(f"{self._paths.logs_dir}/{name}.log" for name in ended or names)
            if waited_s > READY_S and not (ended or told):
                told = True
                progress(
                    f"the manager runs and does not answer yet: waiting {SLOW_READY_S:.0f} s for it"
                    f" at most; see {see}"
                )
            if waited_s > (READY_S if ended else SLOW_READY_S):
                raise Unavailable(f"the manager does not answer yet; see {see}")
            await asyncio.sleep(0.05)


def _runs_as(node: NodeIdentity | None) -> NodeIdentity | None:
    """What the processes of a node were started for."""
    return node and dataclasses.replace(node, promoted=False, hindrance="")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _notify(state: str) -> None:
    """sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError):
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())


def _lock(state_dir: Path) -> int:
    """An exclusive lock for this process's life. Raises FailedPrecondition when it is taken."""
    descriptor = os.open(state_dir / "swarmlited.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode().strip() or "unknown"
        os.close(descriptor)
        raise FailedPrecondition(
            f"another swarmlited (pid {holder}) already uses {state_dir}"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def main(arguments: list[str] | None = None) -> int:
    """The command `swarmlited`."""
    options = flags.parse(arguments)
    # For the children, too.
    os.environ[logs.FORMAT_VARIABLE] = options.log_format
    os.environ[logs.LEVEL_VARIABLE] = options.log_level or ("debug" if options.debug else "info")
    logs.begin()
    # For the children: gRPC tells every refused handshake in lines of its own.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    paths = Paths(options.state_dir.absolute(), options.run_dir.absolute())
    try:
        return _main(paths, options)
    except SwarmliteError as error:
        print(f"swarmlited: {error}", file=sys.stderr)
        return 1


def _main(paths: Paths, options: argparse.Namespace) -> int:
    missing = hostcheck.check()
    for thing in missing:
        print(f"swarmlited: {thing.line}", file=sys.stderr)
    if any(thing.fatal for thing in missing):
        return 1
    for folder in (paths.state_dir, paths.run_dir, paths.logs_dir):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidSpec(f"cannot make {folder}: {error.strerror}") from error
    if len(os.fsencode(paths.supervisor_socket)) > 100:
        raise InvalidSpec(f"--run-dir {paths.run_dir} is too long for the path of a socket")
    if options.shutdown_containers:
        return asyncio.run(_shutdown_containers(paths))
    lock = _lock(paths.state_dir)
    # Volumes' folders are the containers' to read, whoever started this and with what umask.
    os.umask(0o022)
    # Children are waited for by pidfd: no thread a child, so that forking stays safe.
    if sys.version_info < (3, 12):
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        asyncio.run(_daemon(paths, options))
    finally:
        os.close(lock)
    return 0


async def _daemon(paths: Paths, options: argparse.Namespace) -> None:
    await Daemon(paths, options).run()


async def _shutdown_containers(paths: Paths) -> int:
    from swarmlite.runtime.client import Supervisor

    supervisor = await Supervisor.connect(paths.supervisor_socket)
    await supervisor.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
