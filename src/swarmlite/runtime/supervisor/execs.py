"""Further processes in running containers, each until somebody has asked for its exit code.

An exec belongs to the client that asked for it: when that is gone, nobody will ask, and it is
forgotten at its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket

from swarmlite import errors
from swarmlite.runtime.supervisor import launch
from swarmlite.runtime.supervisor.container import Container
from swarmlite.runtime.supervisor.joining import Joining
from swarmlite.runtime.supervisor.loop import Client, Loop, Timer
from swarmlite.runtime.supervisor.parking import Parking
from swarmlite.runtime.supervisor.plan import ProcessPlan
from swarmlite.runtime.supervisor.process_plan import CAP_SYS_PTRACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Reply = tuple[Client, object]

LOST_EXIT_CODE = 137
CHILDREN = "/proc/thread-self/children"


class ExecProcess:
    """One of them; see Execs."""

    def __init__(self, exec_id: str, container: Container, joining: Joining, reply: Reply) -> None:
        self.id, self.container, self.joining = exec_id, container, joining
        self.reply: Reply | None = reply
        self.client = reply[0]
        self.channel: socket.socket | None = None
        self.console = -1
        self.report: dict[str, object] | None = None
        self.exit_code: int | None = None
        self.waiters: list[Reply] = []
        self.unwatched = False
        self.timers: list[Timer] = []

    @property
    def pid(self) -> int:
        """Its pid; 0 before it is born into the container."""
        return self.joining.pid


class Execs:
    """All of them, by id; `answer` and `refuse` reply to clients."""

    def __init__(
        self,
        loop: Loop,
        null: int,
        answer: Callable[..., None],
        refuse: Callable[[Reply, Exception], None],
        parking: Parking | None,
        containers: dict[str, Container],
    ) -> None:
        self._parking, self._containers = parking, containers
        self._sees_children = os.path.exists(CHILDREN)  # noqa: PTH110
        self._loop, self._null, self._answer, self._refuse = loop, null, answer, refuse
        self._execs: dict[str, ExecProcess] = {}
        self._by_maker: dict[int, ExecProcess] = {}

    def get(self, exec_id: object) -> ExecProcess:
        """Raises NotFound."""
        found = self._execs.get(str(exec_id))
        if found is None:
            raise errors.NotFound(f"no exec {exec_id}")
        return found

    def start(
        self,
        container: Container,
        plan: ProcessPlan,
        stdio: list[int],
        reply: Reply,
        start_timeout_s: float,
        timeout_s: float,
        end: Reply | None = None,
    ) -> None:
        """A further process; answered when its exec has succeeded, or is too late.

        With `timeout_s` it is killed after that time, whoever still waits for it. `end` is answered
        as `wait` does.
        """
        if plan.terminal:
            stdio = stdio and [self._null] * 3
        container.had_tracer = container.had_tracer or bool(plan.bounding & CAP_SYS_PTRACE)
        traceable = not self._sees_children or any(
            other.may_trace()
            for other in self._containers.values()
            if other is container or not other.own_pid_namespace  # it may be in that one's
        )
        joining, channel = launch.launch_exec(
            container, plan, stdio, self._parking, traceable=traceable
        )
        process = ExecProcess(os.urandom(8).hex(), container, joining, reply)
        process.channel = channel
        process.waiters += [end] if end is not None else []
        self._execs[process.id] = process
        self._by_maker[joining.maker] = process
        self._loop.add(channel.fileno(), lambda _events: self._hear(process))
        late = self._loop.later(start_timeout_s, lambda: self._give_up(process, start_timeout_s))
        process.timers.append(late)
        if timeout_s:
            process.timers.append(self._loop.later(timeout_s, lambda: self._kill(process)))

    def kill(self, process: ExecProcess, number: int) -> None:
        """Signal it; raises NotFound when it has ended."""
        if process.exit_code is not None:
            raise errors.NotFound(f"exec {process.id} is not running")
        os.kill(process.pid or process.joining.maker, number)

    def wait(self, process: ExecProcess, reply: Reply) -> None:
        """Answer with its exit code, and forget it, when it has ended."""
        process.waiters.append(reply)
        self._settle(process)

    # what happens
    def reaped(self, pid: int, code: int) -> None:
        """A child has ended that was no container's first process."""
        process = self._by_maker.pop(pid, None)
        if process is None:  # the maker is often reaped after what it made
            waiting = (p for p in self._execs.values() if p.pid == pid and p.exit_code is None)
            process = next(waiting, None)
        elif process.pid:
            return
        elif process.joining.adopted:
            self._end_strays(process.container)
        if process is not None:
            self._ended(process, code)

    def _end_strays(self, container: Container) -> None:
        """Who made an exec was killed and has not said whom: that one is ours, and unknown."""
        known = {container.pid, *self._by_maker, *(p.pid for p in self._execs.values())}
        with contextlib.suppress(OSError):
            inside = os.stat(f"/proc/{container.pid}/ns/pid").st_ino  # noqa: PTH116
            with open(CHILDREN, "rb") as file:  # noqa: PTH123
                strays = {int(word) for word in file.read().split()} - known
            for pid in strays:
                with contextlib.suppress(OSError):
                    if os.stat(f"/proc/{pid}/ns/pid").st_ino == inside:  # noqa: PTH116
                        os.kill(pid, signal.SIGKILL)

    def container_gone(self, container: Container) -> None:
        """It was deleted."""
        for process in [p for p in self._execs.values() if p.container is container]:
            self._forget(process)

    def client_gone(self, client: Client) -> None:
        """What it started goes on, and is forgotten at its end."""
        for process in [p for p in self._execs.values() if p.client is client]:
            process.unwatched = True
            self._settle(process)

    def _give_up(self, process: ExecProcess, after_s: float) -> None:
        """Something in the container may stop it before its exec: it must not be waited for."""
        if process.channel is None or process.reply is None:
            return
        self._kill(process)
        text = f"exec: it did not start within {after_s:g} s"
        self._refuse(process.reply, errors.FailedPrecondition(text))
        process.reply = None
        process.waiters, process.unwatched = [], True

    def _kill(self, process: ExecProcess) -> None:
        """Both whom it is and who makes it, of those that have not been reaped."""
        if process.joining.maker in self._by_maker:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.joining.maker, signal.SIGKILL)
        if process.pid and process.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def _hear(self, process: ExecProcess) -> None:
        while process.channel is not None:
            try:
                data, fds, _, _ = socket.recv_fds(
                    process.channel, 65536, 1, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except ConnectionResetError:
                data, fds = b"", []
            if fds:
                process.console = fds[0]
            if data and data != b"ready":
                process.report = json.loads(data)
            if data:
                continue
            self._loop.remove(process.channel.fileno())
            process.channel.close()
            process.channel = None
            if process.report is None and process.reply is not None:
                fds = [process.console] if process.console >= 0 else []
                process.console = -1
                waits = bool(process.waiters)
                result: dict[str, object] = {"exec_id": process.id, "pid": process.pid}
                self._answer(process.reply, {**result, "waits": waits}, fds)
                process.reply = None
                self._settle(process)

    def _ended(self, process: ExecProcess, code: int) -> None:
        self._hear(process)
        process.exit_code = code
        for timer in process.timers:
            timer.cancel()
        if process.report is not None and process.reply is not None:
            report = process.report
            whole = report.get("exec") or report.get("whole")
            prefix = "" if whole else f"{report['step']}: "
            self._refuse(process.reply, errors.FailedPrecondition(f"{prefix}{report['error']}"))
            process.reply = None
            process.waiters, process.unwatched = [], True
        self._settle(process)

    def _settle(self, process: ExecProcess) -> None:
        """Forget it, once it has ended, its caller was answered and somebody has heard of it."""
        heard = process.waiters or process.unwatched
        if heard and process.exit_code is not None and process.reply is None:
            self._forget(process)

    def _forget(self, process: ExecProcess) -> None:
        self._execs.pop(process.id, None)
        if process.console >= 0:
            os.close(process.console)
            process.console = -1
        for reply in process.waiters:
            code = process.exit_code if process.exit_code is not None else LOST_EXIT_CODE
            self._answer(reply, {"exit_code": code})
        process.waiters = []
