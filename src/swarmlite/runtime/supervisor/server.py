"""The supervisor itself: containers, their processes, and what clients ask about them.

Everything happens on one loop. A start is a state machine: CREATING (queued, then cloned) until the
child says ready, CREATED, STARTING until its channel ends (exec succeeded) or brings an error,
RUNNING, STOPPED once it was reaped. `operations.py` holds the clients' side.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import time
from collections import deque

from swarmlite import errors
from swarmlite.runtime import lean
from swarmlite.runtime.cgroups import ooms
from swarmlite.runtime.cgroups.detect import Host
from swarmlite.runtime.seccomp.cache import Cache
from swarmlite.runtime.supervisor import container as containers
from swarmlite.runtime.supervisor import launch, logfiles
from swarmlite.runtime.supervisor.container import Container
from swarmlite.runtime.supervisor.execs import Execs
from swarmlite.runtime.supervisor.loop import Client, Loop, Timer, is_root
from swarmlite.runtime.supervisor.output import duplicate
from swarmlite.runtime.supervisor.parking import Parking
from swarmlite.runtime.supervisor.plan import HostPowers, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IN_FLIGHT = 4  # starts at once: more only wait for the same kernel locks
REMOVE_RETRY_S, REMOVE_TRIES = 0.005, 400
KILL_RETRY_S, KILL_TRIES = 0.02, 50
LOST_EXIT_CODE = 137
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the host's lack, nobody's mistake
CREATE_TIMEOUT_S = 60.0  # a mount of a dead server must not hold a place for ever

Reply = tuple[Client, object]  # whom to answer, and the id of the call


class Start:
    """A create that waits for its turn, or for its child."""

    def __init__(self, plan: Plan, stdio: list[int], reply: Reply, stdin: bool) -> None:
        self.plan, self.stdio, self.reply, self.stdin = plan, stdio, reply, stdin
        self.timer: Timer | None = None

    def end(self) -> None:
        """Its turn is over, one way or the other."""
        for fd in self.stdio:
            os.close(fd)
        if self.timer is not None:
            self.timer.cancel()


class Server:
    """State of the whole; `serve` runs it."""

    def __init__(self, state_dir: str, forker: tuple[int, lean.Socket] | None = None) -> None:
        self.loop = Loop()
        self.parking = Parking(self.loop, *forker) if forker else None
        self.state_dir = state_dir
        self.host = Host()
        self.powers = HostPowers()
        self.filters = Cache()
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.containers: dict[str, Container] = {}
        self.by_pid: dict[int, Container] = {}
        self.staged: set[Container] = set()  # whose first process was made by another
        self.execs = Execs(
            self.loop, self.null, self.answer, self.refuse, self.parking, self.containers
        )
        self.starts: dict[str, Start] = {}
        self.queue: deque[Container] = deque()
        self.in_flight = 0
        self.start_replies: dict[str, Reply] = {}
        self.on_stop: dict[str, list[Callable[[], None]]] = {}
        self.clients: set[Client] = set()
        self.kept: dict[str, list[int]] = {}
        self.shutting_down = False
        self.loop.handle_signal(signal.SIGCHLD, self.reap)

    # answers
    def answer(self, reply: Reply, result: dict[str, object], fds: list[int] | None = None) -> None:
        """The result of a call."""
        reply[0].send({"id": reply[1], "ok": result}, fds)

    def refuse(self, reply: Reply, error: Exception) -> None:
        """The error of a call, with the class that the caller will see."""
        kind = type(error).__name__
        if not isinstance(error, errors.SwarmliteError):
            exhausted = isinstance(error, OSError) and error.errno in EXHAUSTED
            kind = "ResourceExhausted" if exhausted else "FailedPrecondition"
        reply[0].send({"id": reply[1], "error": {"kind": kind, "message": str(error)}})

    def get(self, container_id: object) -> Container:
        """A container that exists for clients; raises NotFound."""
        found = self.containers.get(str(container_id))
        if found is None:
            raise errors.NotFound(f"no container {container_id}")
        return found

    # create
    def enqueue(self, container: Container, start: Start) -> None:
        """Start it when its turn comes."""
        self.containers[container.id] = container
        self.starts[container.id] = start
        self.queue.append(container)
        self._launch_next()

    def _launch_next(self) -> None:
        while self.queue and self.in_flight < IN_FLIGHT and not self.shutting_down:
            container = self.queue.popleft()
            start = self.starts[container.id]
            try:
                self._launch(container, start)
            except (OSError, errors.SwarmliteError) as error:
                self._undo(container, error)

    def _launch(self, container: Container, start: Start) -> None:
        plan = start.plan
        container.cgroup_path = plan.cgroup_path
        # Before there is anything to find: who is killed from here on leaves groups, whose names
        # the next supervisor knows from nowhere else.
        container.save(self.state_dir)
        cgroup = self.host.cgroup(plan.cgroup_path, plan.resources)
        cgroup.create(plan.resources)
        container.warnings += [f"linux.resources: {warning}" for warning in cgroup.warnings]
        container.cgroup = cgroup
        launch.launch_container(
            container, plan, cgroup, start.stdio, self.null, start.stdin, self.parking
        )
        self.in_flight += 1
        self.by_pid[container.pid] = container
        if container.joining is not None:
            self.staged.add(container)
        container.start_time_ticks = containers.start_time_ticks(container.pid)
        pid = container.pid
        start.timer = self.loop.later(CREATE_TIMEOUT_S, lambda: self._give_up(container, pid))
        assert container.channel is not None
        self.loop.add(container.channel.fileno(), lambda _events: self.hear(container))
        self.watch_memory(container, plan.resources)

    def watch_memory(self, container: Container, resources: dict[str, object]) -> None:
        """Where there is a limit, kills for memory are told at once; else they are at the end."""
        memory = resources.get("memory")
        limited = isinstance(memory, dict) and memory.get("limit")
        if container.cgroup is None or container.oom_event >= 0 or not limited:
            return
        try:
            container.oom_event = container.cgroup.oom_event()
        except (OSError, KeyError) as error:
            text = f"container {container.id}: kills for memory are not seen at once: {error}"
            logfiles.say(text)
            return
        self.loop.add(container.oom_event, lambda _events: self._memory_ran_out(container))

    def _memory_ran_out(self, container: Container) -> None:
        ooms.empty(container.oom_event)
        self._look_for_kills(container)

    def _look_for_kills(self, container: Container, tries: int = 1) -> None:
        """v1 tells that memory has run out before somebody is chosen, killed and counted."""
        if container.status == containers.STOPPED or self._tell_ooms(container):
            return
        if tries < KILL_TRIES:
            again = tries + 1
            self.loop.later(KILL_RETRY_S, lambda: self._look_for_kills(container, again))

    def _tell_ooms(self, container: Container) -> bool:
        """Whether there was something to tell."""
        assert container.cgroup is not None
        try:
            kills = container.cgroup.oom_kills()
        except OSError:
            return False
        if kills <= container.ooms:
            return False
        container.ooms = kills
        self._tell_all({"event": "oom", "id": container.id})
        return True

    def _tell_all(self, event: dict[str, object]) -> None:
        for client in list(self.clients):
            if client.subscribed:
                client.send(dict(event))

    def _give_up(self, container: Container, pid: int) -> None:
        if container.status == containers.CREATING and container in self.containers.values():
            container.report = {
                "step": "setup",
                "error": f"took more than {CREATE_TIMEOUT_S:.0f} s",
            }
            if self.by_pid.get(pid) is container:
                os.kill(pid, signal.SIGKILL)
            if container in self.staged and container.joining and container.joining.pid:
                os.kill(container.joining.pid, signal.SIGKILL)

    def _undo(self, container: Container, error: Exception) -> None:
        """A create that failed: nothing of it stays. The process, if any, has been reaped."""
        start = self.starts.pop(container.id)
        start.end()
        self._close_output(container)
        if not isinstance(error, errors.SwarmliteError):
            error = errors.FailedPrecondition(f"container {container.id}: {error}")

        def done() -> None:
            self.containers.pop(container.id, None)
            container.forget(self.state_dir)
            self.refuse(start.reply, error)
            for callback in self.on_stop.pop(container.id, []):
                callback()

        self._remove_cgroup(container, done, lambda _error: done())

    def hear(self, container: Container) -> None:
        """What the child says on its channel; the loop calls again when there is more."""
        self._hear_one(container)

    def _hear_one(self, container: Container) -> bool:
        """One thing that the child says on its channel: ready, an error, its end; False: none."""
        if container.channel is None:
            return False
        try:
            data, fds, _, _ = socket.recv_fds(container.channel, 65536, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data, fds = b"", []
        if fds:
            container.console = fds[0]
        if data == b"ready":
            self._ready(container)
        elif data:
            container.report = json.loads(data)
        else:
            self._channel_ended(container)
        return True

    def _ready(self, container: Container) -> None:
        container.status = containers.CREATED
        if container.joining is not None and container.joining.pid:
            container.pid = container.joining.pid
            container.start_time_ticks = containers.start_time_ticks(container.pid)
        container.created_at = time.time()
        self.in_flight -= 1
        start = self.starts.pop(container.id)
        start.end()
        if container.console >= 0:
            os.set_blocking(container.console, False)
            if container.output is not None:
                # a number of its own: the console is still resized after its last user has left
                container.output.follow(duplicate(container.console), "stdout")
        if start.plan.begins:
            self.begin(container, start.reply)  # saved when it runs: its group is known already
        else:
            container.save(self.state_dir)
            self.answer(start.reply, container.wire())
        self._launch_next()

    def begin(self, container: Container, reply: Reply) -> None:
        """It goes on to its exec; answered once that has succeeded."""
        container.status = containers.STARTING
        self.start_replies[container.id] = reply

    def _channel_ended(self, container: Container) -> None:
        assert container.channel is not None
        self.loop.remove(container.channel.fileno())
        container.channel.close()
        container.channel = None
        if container.status == containers.STARTING and container.report is None:
            container.status = containers.RUNNING
            container.started_at = time.time()
            container.save(self.state_dir)
            reply = self.start_replies.pop(container.id, None)
            if reply is not None:
                self.answer(reply, container.wire())

    # ends
    def reap(self) -> None:
        """Every child that has ended: containers, execs, and what nobody asked about."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
            if logfiles.reaped(pid) or (self.parking is not None and self.parking.reaped(pid)):
                continue
            if (container := self._container_that_ended(pid)) is not None:
                self._ended(container, code)
            else:
                self.execs.reaped(pid, code)

    def _container_that_ended(self, pid: int) -> Container | None:
        """Whose first process this child was; not one that has only made it."""
        container = self.by_pid.pop(pid, None)
        if container is not None:
            joining = container.joining
            if joining is not None and joining.pid:
                return None
            self.staged.discard(container)
            return container
        for container in self.staged:
            if container.joining is not None and container.joining.pid == pid:
                self.staged.discard(container)
                return container
        return None

    def _ended(self, container: Container, code: int) -> None:
        while self._hear_one(container):  # its last words, and whether exec had succeeded
            pass
        if container.status == containers.CREATING:
            self.in_flight -= 1
            said = container.report or {"step": "setup", "error": f"ended with {code}"}
            text = f"container {container.id}: {said['step']}: {said['error']}"
            if said.get("whole"):
                text = str(said["error"])
            self._undo(container, errors.FailedPrecondition(text))
            self._launch_next()
            return
        report = container.report
        if report is not None:
            code = int(str(report.get("exit_code", code)))
            whole = report.get("exec") or report.get("whole")
            prefix = "" if whole else f"{report['step']}: "
            container.error = f"{prefix}{report['error']}"
        container.exit_code = code
        container.finished_at = time.time()
        if container.cgroup is not None:
            self._tell_ooms(container)
            container.oom_killed = container.ooms > 0
            if not container.own_pid_namespace:
                container.cgroup.kill(signal.SIGKILL)
        self._close_output(container)
        container.status = containers.STOPPED
        container.save(self.state_dir)
        self._tell(container)

    def _close_output(self, container: Container) -> None:
        if container.output is not None:
            container.output.close()
        if container.console >= 0:
            os.close(container.console)
            container.console = -1
        if container.oom_event >= 0:
            self.loop.remove(container.oom_event)
            os.close(container.oom_event)
            container.oom_event = -1

    def _tell(self, container: Container) -> None:
        reply = self.start_replies.pop(container.id, None)
        if reply is not None:
            self.refuse(
                reply, errors.FailedPrecondition(container.error or "it ended before it started")
            )
        self._tell_all({"event": "exit", "state": container.wire()})
        for callback in self.on_stop.pop(container.id, []):
            callback()

    def when_stopped(self, container: Container, callback: Callable[[], None]) -> None:
        """Once it has stopped: now, if it has; or once its create has failed and it is gone."""
        if container.status == containers.STOPPED:
            callback()
        else:
            self.on_stop.setdefault(container.id, []).append(callback)

    def kill(self, container: Container, number: int, everything: bool) -> None:
        """Signal it; raises NotFound when there is nothing to signal."""
        if container.status == containers.STOPPED or not container.pid:
            raise errors.NotFound(f"container {container.id} is not running")
        if everything and container.cgroup is not None:
            container.cgroup.kill(number)
        else:
            os.kill(container.pid, number)
        if container.paused and number == signal.SIGKILL and container.cgroup is not None:
            container.cgroup.freeze(False)  # a frozen process of v1 does not even die
            container.paused = False

    def remove(
        self, container: Container, done: Callable[[], None], failed: Callable[[Exception], None]
    ) -> None:
        """Delete a stopped container: `done` once its cgroup is gone."""

        def gone() -> None:
            if self.containers.get(container.id) is container:
                del self.containers[container.id]
                container.forget(self.state_dir)
            self.execs.container_gone(container)
            done()

        self._remove_cgroup(container, gone, failed)

    def _remove_cgroup(
        self,
        container: Container,
        done: Callable[[], None],
        failed: Callable[[Exception], None],
        tries: int = 1,
    ) -> None:
        """A function of its own for each try would be a cycle that refers to itself, and stay."""
        try:
            gone = container.cgroup is None or container.cgroup.delete()
        except OSError:
            gone = False
        if gone:
            done()
        elif tries >= REMOVE_TRIES:
            text = f"container {container.id}: its cgroup stays busy"
            failed(errors.FailedPrecondition(text))
        else:
            self.loop.later(
                REMOVE_RETRY_S, lambda: self._remove_cgroup(container, done, failed, tries + 1)
            )

    # beginning and end
    def take_over(self) -> None:
        """What a supervisor that was killed left: its containers lost their output with it.

        They are killed, and reported as stopped with 137 and an error that says why.
        """
        for entry in sorted(os.listdir(self.state_dir)):  # noqa: PTH208
            if not entry.endswith(".json"):
                continue
            with open(f"{self.state_dir}/{entry}", encoding="utf-8") as file:  # noqa: PTH123
                try:
                    container = containers.load(file.read())
                except (ValueError, KeyError):  # torn before its first line was whole
                    os.unlink(f"{self.state_dir}/{entry}")  # noqa: PTH108
                    continue
            with contextlib.suppress(errors.SwarmliteError):
                container.cgroup = self.host.cgroup(container.cgroup_path)
            self.containers[container.id] = container
            if container.status != containers.STOPPED:
                self._bury(container)

    def _bury(self, container: Container) -> None:
        with contextlib.suppress(OSError):
            pid, ticks = container.pid, container.start_time_ticks
            if pid and containers.start_time_ticks(pid) == ticks:  # 0 would be our own group
                os.kill(pid, signal.SIGKILL)
        # Also where the first process is gone: others may be left in its group.
        with contextlib.suppress(OSError, errors.SwarmliteError):
            if container.cgroup is not None:
                container.cgroup.kill(signal.SIGKILL)
                container.cgroup.freeze(False)
        container.status, container.exit_code = containers.STOPPED, LOST_EXIT_CODE
        container.finished_at = time.time()
        container.error = "the supervisor ended, and the container with it"
        container.save(self.state_dir)

    def shut_down(self, done: Callable[[], None]) -> None:
        """Kill and remove every container, then `done` and the end."""
        self.shutting_down = True
        while self.queue:  # their turn will not come
            self._undo(self.queue.popleft(), errors.Unavailable("the supervisor is shutting down"))
        left = set(self.containers.values())

        def finish(container: Container) -> None:
            left.discard(container)
            if not left:
                done()
                self.loop.stopping = True

        def stopped(container: Container) -> None:
            if self.containers.get(container.id) is not container:
                finish(container)  # it was being created: nothing of it is left
            else:
                self.remove(container, lambda: finish(container), lambda _error: finish(container))

        for container in list(left):
            self._end_by_force(container)
            self.when_stopped(container, lambda c=container: stopped(c))  # type: ignore[misc]
        if not self.containers and not left:
            done()
            self.loop.stopping = True

    def _end_by_force(self, container: Container) -> None:
        with contextlib.suppress(errors.NotFound, OSError):
            self.kill(container, signal.SIGKILL, True)
        # Who is being created may not be in its group yet.
        if container.status == containers.CREATING and container.pid in self.by_pid:
            with contextlib.suppress(OSError):
                os.kill(container.pid, signal.SIGKILL)

    def accept(self, listener: socket.socket, handle: Callable[..., None]) -> None:
        """A new client; anyone but root is turned away."""
        with contextlib.suppress(OSError):
            sock, _ = listener.accept()
            sock.setblocking(False)
            if is_root(sock):
                self.clients.add(Client(self.loop, sock, handle, self._client_gone))
            else:
                sock.close()

    def _client_gone(self, client: Client) -> None:
        self.clients.discard(client)
        self.execs.client_gone(client)
