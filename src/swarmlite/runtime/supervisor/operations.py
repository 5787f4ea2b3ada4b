"""What clients can ask: one method an operation, which answers now or later.

A method returns the answer, or None when it will come later through the server. What it raises is
the answer instead: a SwarmliteError as it is, an OSError as FailedPrecondition.
"""

from __future__ import annotations

import os
import re
import signal
import struct
import time
from fcntl import ioctl
from json import loads

from swarmlite import __version__, errors
from swarmlite.runtime.oci import capabilities
from swarmlite.runtime.supervisor import container as containers
from swarmlite.runtime.supervisor.child import START
from swarmlite.runtime.supervisor.container import Container
from swarmlite.runtime.supervisor.logdrivers import open_log
from swarmlite.runtime.supervisor.loop import Client
from swarmlite.runtime.supervisor.output import Output, duplicate
from swarmlite.runtime.supervisor.plan import Plan, ProcessPlan
from swarmlite.runtime.supervisor.server import Reply, Server, Start

ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
MAX_SPEC_BYTES = 8 << 20
START_TIMEOUT_S = 30.0
TIOCSWINSZ = 0x5414
Message = dict  # of JSON values, checked where they are used
Answer = dict  # likewise


class Operations:
    """The clients' side of a server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def handle(self, client: Client, message: Message, fds: list[int]) -> None:  # type: ignore[type-arg]
        """One request; closes what it did not take of `fds`."""
        reply: Reply = (client, message.get("id"))
        method = getattr(self, f"op_{message.get('op')}", None)
        try:
            if method is None:
                raise errors.InvalidSpec(f"the supervisor knows no {message.get('op')!r}")
            if self.server.shutting_down:
                raise errors.Unavailable("the supervisor is shutting down")
            if len(fds) != message.get("fds", 0):
                raise errors.ResourceExhausted("the supervisor has no descriptors left")
            result = method(reply, message, fds)
        except (errors.SwarmliteError, OSError) as error:
            self.server.refuse(reply, error)
        except (KeyError, TypeError, ValueError) as error:
            text = f"{message.get('op')}: malformed request: {type(error).__name__} {error}"
            self.server.refuse(reply, errors.InvalidSpec(text))
        else:
            if result is not None:
                self.server.answer(reply, result)
        finally:
            for fd in fds:
                os.close(fd)

    def op_create(self, reply: Reply, message: Message, fds: list[int]) -> None:  # type: ignore[type-arg]
        """Read the bundle, plan, and queue."""
        container_id, bundle = str(message["container"]), str(message["bundle"])
        if not ID.fullmatch(container_id):
            raise errors.InvalidSpec(f"container id {container_id!r}: letters, digits, _ . -")
        if container_id in self.server.containers:
            raise errors.AlreadyExists(f"a container {container_id} exists")
        if len(fds) not in (0, 3):
            raise errors.InvalidSpec("stdio: three descriptors or none")
        spec = _read_spec(bundle)
        plan = Plan(container_id, bundle, spec, self.server.powers, self.server.filters)
        if plan.hooks or plan.process is None or not plan.namespaces.own("mount"):
            raise errors.InvalidSpec(
                "hooks, no process or no mount namespace: only swarmlite-runtime takes that"
            )
        container = Container(container_id, bundle)
        container.warnings = plan.warnings
        container.own_pid_namespace = plan.own_pid_namespace
        linux = spec["linux"]
        container.linux = {"seccomp": linux["seccomp"]} if linux.get("seccomp") else {}
        container.annotations = spec.get("annotations") or {}
        container.capabilities = spec["process"].get("capabilities") or {}
        stdio = list(fds)
        if not stdio and "log" in message:
            container.output = Output(self.server.loop, open_log(self.server.loop, message["log"]))
            container.output.stdin_once = bool(message.get("stdin_once"))
            container.output.takes_input = bool(message.get("stdin"))
        fds.clear()
        plan.begins = bool(message.get("start"))
        start = Start(plan, stdio, reply, bool(message.get("stdin")))
        self.server.enqueue(container, start)

    def op_start(self, reply: Reply, message: Message, _fds: list[int]) -> None:  # type: ignore[type-arg]
        """Let the child exec."""
        container = self.server.get(message["container"])
        if container.status != containers.CREATED or container.channel is None:
            status = container.wire()["status"]
            raise errors.FailedPrecondition(f"container {container.id} is {status}, not created")
        self.server.begin(container, reply)
        container.channel.send(START)

    def op_kill(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Signal it."""
        number = int(message["signal"])
        if not 0 < number <= 64:
            raise errors.InvalidSpec(f"signal {number}: must be between 1 and 64")
        container = self.server.get(message["container"])
        self.server.kill(container, number, bool(message.get("everything")))
        return {}

    def _freeze(self, message: Message, frozen: bool) -> Answer:  # type: ignore[type-arg]
        container = self.server.get(message["container"])
        if container.status != containers.RUNNING or container.cgroup is None:
            raise errors.FailedPrecondition(f"container {container.id} is not running")
        container.cgroup.freeze(frozen)
        container.paused = frozen
        return {}

    def op_pause(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Freeze its processes."""
        return self._freeze(message, True)

    def op_resume(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Thaw them."""
        return self._freeze(message, False)

    def op_delete(self, reply: Reply, message: Message, _fds: list[int]) -> None:  # type: ignore[type-arg]
        """Forget it, killing it first when forced."""
        server = self.server
        container = server.get(message["container"])
        if container.status != containers.STOPPED:
            if not message.get("force"):
                status = container.wire()["status"]
                raise errors.FailedPrecondition(f"container {container.id} is {status}")
            if container.status == containers.CREATING:
                raise errors.FailedPrecondition(f"container {container.id} is being created")
            server.kill(container, signal.SIGKILL, True)
        server.when_stopped(
            container,
            lambda: server.remove(
                container,
                lambda: server.answer(reply, {}),
                lambda error: server.refuse(reply, error),
            ),
        )

    def op_state(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Its state."""
        return self.server.get(message["container"]).wire()

    def op_list(self, _reply: Reply, _message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Every state."""
        return {
            "containers": [
                c.wire() for c in self.server.containers.values() if c.status != containers.CREATING
            ]
        }

    def op_wait(self, reply: Reply, message: Message, _fds: list[int]) -> None:  # type: ignore[type-arg]
        """Its state once it has stopped; `created_at` says which of those with its id."""
        container = self.server.get(message["container"])
        if message.get("created_at") not in (None, container.created_at):
            raise errors.NotFound(f"container {container.id} has ended, and was made again")

        def stopped() -> None:
            if container.status == containers.STOPPED:
                self.server.answer(reply, container.wire())
            else:
                gone = f"container {container.id} could not be created"
                self.server.refuse(reply, errors.NotFound(gone))

        self.server.when_stopped(container, stopped)

    def op_stats(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Its cgroup's counters."""
        container = self.server.get(message["container"])
        if container.cgroup is None or container.status == containers.STOPPED:
            raise errors.FailedPrecondition(f"container {container.id} is not running")
        return {**container.cgroup.stats()}

    def op_pids(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Its processes."""
        container = self.server.get(message["container"])
        if container.cgroup is None or container.status == containers.STOPPED:
            raise errors.FailedPrecondition(f"container {container.id} is not running")
        return {"pids": container.cgroup.pids()}

    def op_update(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Its limits."""
        container = self.server.get(message["container"])
        if container.cgroup is None or container.status == containers.STOPPED:
            raise errors.FailedPrecondition(f"container {container.id} is not running")
        container.cgroup.update(message["resources"])
        self.server.watch_memory(container, message["resources"])
        return {}

    def op_subscribe(self, reply: Reply, _message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Events from now on; what has stopped before, at once."""
        reply[0].subscribed = True
        stopped = containers.STOPPED
        return {
            "containers": [c.wire() for c in self.server.containers.values() if c.status == stopped]
        }

    def op_exec(self, reply: Reply, message: Message, fds: list[int]) -> None:  # type: ignore[type-arg]
        """A process more."""
        container = self.server.get(message["container"])
        if container.status != containers.RUNNING or container.paused:
            raise errors.FailedPrecondition(
                f"container {container.id} is {'paused' if container.paused else 'not running'}"
            )
        if len(fds) != 3:
            raise errors.InvalidSpec("exec: needs stdin, stdout and stderr")
        process = dict(message["process"])
        process.setdefault("capabilities", container.capabilities)
        linux, annotations = container.linux, container.annotations
        if message.get("privileged"):
            everything = [n for n in capabilities.NAMES if self.server.powers.has(n)]
            kinds = ("bounding", "effective", "permitted")
            process["capabilities"] = dict.fromkeys(kinds, everything)
            linux, annotations = {}, {}
        plan = ProcessPlan(process, self.server.powers, self.server.filters, linux, annotations)
        timeout_s = float(message.get("start_timeout_s", START_TIMEOUT_S))
        end = (reply[0], message["end"]) if "end" in message else None
        self.server.execs.start(
            container, plan, list(fds), reply, timeout_s, float(message.get("timeout_s") or 0), end
        )

    def op_exec_wait(self, reply: Reply, message: Message, _fds: list[int]) -> None:  # type: ignore[type-arg]
        """Its exit code, once."""
        execs = self.server.execs
        execs.wait(execs.get(message["exec_id"]), reply)

    def op_exec_kill(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Signal it."""
        execs = self.server.execs
        execs.kill(execs.get(message["exec_id"]), int(message["signal"]))
        return {}

    def op_console(self, reply: Reply, message: Message, _fds: list[int]) -> None:  # type: ignore[type-arg]
        """The master of its pty."""
        container = self.server.get(message["container"])
        if container.console < 0:
            raise errors.FailedPrecondition(f"container {container.id} has no terminal")
        if "width" in message:
            size = struct.pack("4H", int(message["height"]), int(message["width"]), 0, 0)
            ioctl(container.console, TIOCSWINSZ, size)
        self.server.answer(reply, {}, [os.dup(container.console)])

    def op_attach_running(self, reply: Reply, message: Message, fds: list[int]) -> None:  # type: ignore[type-arg]
        """As `attach`, for who knows the container by its id only."""
        container = self.server.get(message["container"])
        if container.status != containers.RUNNING or container.paused:
            raise errors.FailedPrecondition(f"container {container.id} is not running")
        takes_input = container.output is not None and container.output.takes_input
        message["stdin"] = message.get("stdin") and takes_input
        self.op_attach(reply, message, fds)

    def op_attach(self, reply: Reply, message: Message, fds: list[int]) -> None:  # type: ignore[type-arg]
        """Write its output to the descriptors, one a stream, too; give one for its input."""
        container = self.server.get(message["container"])
        output = container.output
        if container.status in (containers.CREATING, containers.STOPPED):
            status = container.wire()["status"]
            raise errors.FailedPrecondition(f"container {container.id} is {status}")
        if output is None:
            raise errors.FailedPrecondition(f"container {container.id}: its streams are not ours")
        names = [str(name) for name in message["streams"]]
        if len(names) != len(fds):
            raise errors.InvalidSpec("attach: one descriptor a stream")
        for name in names:
            output.attach(name, fds.pop(0))
        stdin = -1
        if message.get("stdin"):
            console = container.console
            stdin = output.give_stdin() if console < 0 else duplicate(console)
        answer = {"time_ns": time.time_ns(), "tty": container.console >= 0}
        which = {"created_at": container.created_at}
        self.server.answer(reply, {**answer, **which}, [stdin] if stdin >= 0 else [])

    def op_keep_fds(self, _reply: Reply, message: Message, fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Hold descriptors."""
        name = str(message["name"])
        for fd in self.server.kept.pop(name, []):
            os.close(fd)
        self.server.kept[name] = list(fds)
        fds.clear()
        return {}

    def op_kept_fds(self, reply: Reply, message: Message, _fds: list[int]) -> None:  # type: ignore[type-arg]
        """Give duplicates of them."""
        kept = self.server.kept.get(str(message["name"]))
        if kept is None:
            raise errors.NotFound(f"no descriptors are kept as {message['name']}")
        self.server.answer(reply, {}, [os.dup(fd) for fd in kept])

    def op_drop_fds(self, _reply: Reply, message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """Close them."""
        for fd in self.server.kept.pop(str(message["name"]), []):
            os.close(fd)
        return {}

    def op_info(self, _reply: Reply, _message: Message, _fds: list[int]) -> Answer:  # type: ignore[type-arg]
        """About the supervisor and what its host cannot do."""
        server = self.server
        return {
            "pid": os.getpid(),
            "version": __version__,
            "cgroup": server.host.kind,
            "containers": len(server.containers),
            "kept": sorted(server.kept),
            "can_raise_limits": server.powers.has("CAP_SYS_RESOURCE"),
        }

    def op_shutdown(self, reply: Reply, _message: Message, _fds: list[int]) -> None:  # type: ignore[type-arg]
        """Kill all, clean up, end."""
        self.server.shut_down(lambda: self.server.answer(reply, {}))


def _read_spec(bundle: str) -> dict:  # type: ignore[type-arg]
    if not bundle.startswith("/"):
        raise errors.InvalidSpec(f"bundle {bundle!r}: not an absolute path")
    path = f"{bundle}/config.json"
    try:
        # without a buffer, and as much as there is: room for the most would be mapped each time
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            size = min(os.fstat(file.fileno()).st_size, MAX_SPEC_BYTES)
            data = file.read(size + 1)
    except OSError as error:
        raise errors.NotFound(f"{path}: {error.strerror}") from error
    if len(data) > MAX_SPEC_BYTES:
        raise errors.InvalidSpec(f"{path}: above {MAX_SPEC_BYTES >> 20} MiB")
    try:
        spec = loads(data)
    except ValueError as error:
        raise errors.InvalidSpec(f"{path}: not JSON: {error}") from error
    if not isinstance(spec, dict):
        raise errors.InvalidSpec(f"{path}: must be an object")
    return spec
