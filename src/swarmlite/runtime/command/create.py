"""create and run: a container made in this process, which then leaves it to whoever called."""

from __future__ import annotations

import errno
import os
import select

from swarmlite import errors
from swarmlite.runtime import lean
from swarmlite.runtime.cgroups.base import Cgroup
from swarmlite.runtime.cgroups.detect import Host
from swarmlite.runtime.command import hooks, lifecycle, notices, records
from swarmlite.runtime.command.child import HOOKS, CommandChild
from swarmlite.runtime.command.options import Options
from swarmlite.runtime.command.records import Record
from swarmlite.runtime.seccomp.cache import Cache
from swarmlite.runtime.supervisor.child import READY
from swarmlite.runtime.supervisor.clone import clone, open_all
from swarmlite.runtime.supervisor.plan import HostPowers, Plan
from swarmlite.runtime.supervisor.process_state import start_time_ticks

MAX_SPEC_BYTES = 8 << 20


def create(options: Options) -> int:
    """The OCI's create."""
    _, console = make(options)
    if console >= 0:
        os.close(console)
    return 0


def run(options: Options) -> int:
    """create and start; without --detach also wait, delete, and end as the program did."""
    from swarmlite.runtime.command import terminal

    record, console = make(options, foreground=not options.has("detach"))
    try:
        lifecycle.start_record(record)
    except BaseException:
        lifecycle.destroy(record)
        raise
    if options.has("detach"):
        return 0
    record.unlock()  # others may stop it, or look
    try:
        code = terminal.stay_with(record.pid, console)
    finally:
        if not options.has("keep"):
            _forget(record)
    return code


def _forget(record: Record) -> None:
    """After its end, unless somebody else has deleted it meanwhile."""
    try:
        record.lock()
        record.read()
    except errors.NotFound:
        return
    lifecycle.destroy(record)


def bundle_of(options: Options) -> str:
    """The bundle's absolute path."""
    return os.path.realpath(options.get("bundle", "."))


def read_spec(bundle: str) -> tuple[dict, bytes]:  # type: ignore[type-arg]
    """A bundle's config.json, and its text; raises NotFound, InvalidSpec."""
    path = f"{bundle}/config.json"
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read(MAX_SPEC_BYTES + 1)
    except OSError as error:
        raise errors.NotFound(f"{path}: {error.strerror}") from error
    if len(data) > MAX_SPEC_BYTES:
        raise errors.InvalidSpec(f"{path}: above {MAX_SPEC_BYTES >> 20} MiB")
    try:
        spec = lean.loads(data)
    except ValueError as error:
        raise errors.InvalidSpec(f"{path}: not JSON: {error}") from error
    if not isinstance(spec, dict):
        raise errors.InvalidSpec(f"{path}: must be an object")
    return spec, data


def make(options: Options, *, foreground: bool = False) -> tuple[Record, int]:
    """A created container, locked, and the master of its pty that nobody else got, or -1.

    Raises with nothing of it left behind.
    """
    bundle = bundle_of(options)
    spec, text = read_spec(bundle)
    plan = Plan(options.id, bundle, spec, HostPowers(), Cache(on_disk=True))
    has_terminal = plan.process is not None and plan.process.terminal
    if has_terminal != options.has("console-socket") and not (foreground and has_terminal):
        words = "needs --console-socket" if has_terminal else "is false, with a --console-socket"
        raise errors.InvalidSpec(f"process.terminal {words}")
    if plan.process is not None:
        plan.process.preserved = preserved_fds(options)
    for warning in plan.warnings:
        notices.warn(warning)
    record = Record(options.root, options.id)
    record.make()
    try:
        return record, _make(record, plan, spec, text, bundle, options)
    except BaseException:
        lifecycle.destroy(record)
        raise


def preserved_fds(options: Options) -> int:
    """How many descriptors from 3 on go to the program; InvalidSpec for one that is closed."""
    count = options.number("preserve-fds") or 0
    for fd in range(3, 3 + count):
        try:
            os.set_inheritable(fd, True)
        except OSError as error:
            raise errors.InvalidSpec(f"--preserve-fds: descriptor {fd} is not open") from error
    return count


def _make(
    record: Record,
    plan: Plan,
    spec: dict,  # type: ignore[type-arg]
    text: bytes,
    bundle: str,
    options: Options,
) -> int:
    record.data = {
        "status": records.CREATING,
        "pid": 0,
        "bundle": bundle,
        "rootfs": os.fsdecode(plan.root),
        "created": records.now(),
        "annotations": spec.get("annotations") or {},
        "resources": {k: v for k, v in plan.resources.items() if k != "devices"},
        "own_pid_namespace": plan.own_pid_namespace,
        "hooks": {k: v for k, v in plan.hooks.items() if k in ("poststart", "poststop")},
    }
    if not options.has("systemd-cgroup"):  # which says where the group is
        record.data["cgroup_path"] = plan.cgroup_path
    record.write()
    with open(f"{record.directory}/config.json", "wb", buffering=0) as file:  # noqa: PTH123
        file.write(text)
    if options.has("systemd-cgroup"):
        asked = (spec.get("linux") or {}).get("cgroupsPath") or ""
        console = _launch_in_scope(record, plan, asked)
    else:
        console = _launch(record, plan, Host().cgroup(plan.cgroup_path, plan.resources))
    record.data["status"] = records.CREATED
    record.write()
    if options.has("pid-file"):
        write_pid_file(options.get("pid-file"), record.pid)
    if console >= 0 and options.has("console-socket"):
        send_console(options.get("console-socket"), console)
        os.close(console)
        console = -1
    return console


def _launch_in_scope(record: Record, plan: Plan, asked: str) -> int:
    """In a group that systemd makes, where cgroupsPath asks for it."""
    from swarmlite.runtime.systemd import scope

    slice_, unit = scope.place(asked, record.id)
    for name in record.data["annotations"]:
        if name.startswith("org.systemd.property."):
            notices.warn(f"annotations: {name} is not applied")
    host = Host()
    with scope.Manager() as manager, scope.Placeholder() as placeholder:
        path = manager.start(slice_, unit, plan.resources, host.kind, placeholder.pid)
        record.data["scope"], record.data["cgroup_path"] = unit, path
        record.data["join_files"] = [] if host.kind == "v2" else scope.join_files(path)
        record.write()
        return _launch(record, plan, host.cgroup(path, plan.resources), delegated=True)


def _launch(record: Record, plan: Plan, cgroup: Cgroup, *, delegated: bool = False) -> int:
    """Clone into the group, and go along until the child is ready; the master of its pty, or -1."""
    cgroup.create(plan.resources, delegated=delegated)
    for warning in cgroup.warnings:
        notices.warn(f"linux.resources: {warning}")
    ours, theirs = lean.socketpair()
    listener = record.listen()
    opened: list[int] = []
    files = open_all([*cgroup.join_files(), *record.data.get("join_files", [])], opened)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    has_terminal = plan.process is not None and plan.process.terminal
    stdio = [null] * 3 if has_terminal else [0, 1, 2]
    child = CommandChild(plan, theirs, stdio, files, cgroup.binds(), listener)
    maker = clone(child, plan.clone_flags, cgroup.directory())
    theirs.close()
    listener.close()
    for fd in [*opened, null]:
        os.close(fd)
    try:
        return _accompany(record, plan, ours, maker, child)
    except BaseException:
        for pid in {maker, child.sibling} - {0}:
            end(pid)
        raise


def _accompany(
    record: Record, plan: Plan, channel: lean.Socket, maker: int, child: CommandChild
) -> int:
    while True:
        data, fds = lean.recv_fds(channel, 65536, 1)
        record.data["pid"] = child.sibling or maker
        if data == HOOKS:
            state = _state_for_hooks(record)
            # prestart was a part of start once, and its hooks expect the status of then
            hooks.run(plan.hooks, "prestart", {**state, "status": records.CREATED})
            hooks.run(plan.hooks, "createRuntime", state)
            channel.send(lean.dumps(state).encode())
        elif data == READY:
            break
        elif data:
            said = lean.loads(data)
            raise errors.FailedPrecondition(f"{said['step']}: {said['error']}")
        else:
            raise errors.FailedPrecondition("its first process ended before it was ready")
    if child.sibling:
        os.waitpid(maker, 0)
    record.data["start_time_ticks"] = start_time_ticks(record.pid)
    return fds[0] if fds else -1


def _state_for_hooks(record: Record) -> dict[str, object]:
    return {
        "ociVersion": records.OCI_VERSION,
        "id": record.id,
        "status": records.CREATING,
        "pid": record.pid,
        "bundle": record.data["bundle"],
        "annotations": record.data["annotations"],
    }


def end(pid: int) -> None:
    """Kill and reap a child of ours."""
    try:
        os.kill(pid, lean.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def write_pid_file(path: str, pid: int) -> None:
    """As a whole: who waits for the file reads a number."""
    name = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")  # noqa: PTH118, PTH119, PTH120
    with open(name, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(str(pid))
    os.rename(name, path)  # noqa: PTH104


def send_console(path: str, master: int) -> None:
    """Hand the master of a pty to whoever listens there."""
    sock = lean.unix_socket(lean.SOCK_STREAM)
    try:
        sock.connect(path)
        lean.send_fds(sock, b"/dev/ptmx", [master])
    except OSError as error:
        code = error.errno or errno.EIO
        raise OSError(code, f"--console-socket {path}: {error.strerror}") from error
    finally:
        sock.close()


def wait_for(descriptor: int, timeout_ms: int | None = None) -> bool:
    """Until a pidfd's process has ended."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(timeout_ms))
