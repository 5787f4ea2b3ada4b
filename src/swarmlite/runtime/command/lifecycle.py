"""What is done to a container that is there: start, kill, delete, pause, update, show."""

from __future__ import annotations

import os
import select
import sys
import time

from swarmlite import errors
from swarmlite.kernel import processes
from swarmlite.runtime import lean
from swarmlite.runtime.cgroups.detect import Host
from swarmlite.runtime.command import hooks, notices, records
from swarmlite.runtime.command.options import Options
from swarmlite.runtime.command.records import Record
from swarmlite.runtime.lean import signal
from swarmlite.runtime.supervisor.child import START

GONE_TIMEOUT_S, GONE_STEP_S = 10.0, 0.002


def found(options: Options, *, locked: bool = True) -> Record:
    """The container that was named; raises NotFound."""
    record = Record(options.root, options.id)
    if locked:
        record.lock()
    record.read()
    return record


def start(options: Options) -> int:
    """Run the program of a created container."""
    start_record(found(options))
    return 0


def start_record(record: Record) -> None:
    """Raises FailedPrecondition with why the program did not begin."""
    status = record.status()
    connection = record.connect() if status == records.CREATED else None
    if connection is None:
        status = records.RUNNING if status == records.CREATED else status
        raise errors.FailedPrecondition(f"container {record.id} is {status}, not created")
    connection.send(START)
    try:
        said = connection.recv(65536)
    except ConnectionResetError:
        said = b""
    connection.close()
    if said:
        report = lean.loads(said)
        prefix = "" if report.get("exec") else f"{report['step']}: "
        _until_dead(record)
        raise errors.FailedPrecondition(f"{prefix}{report['error']}")
    record.data["status"] = records.RUNNING
    record.write()
    if record.data["hooks"].get("poststart"):
        try:
            # of when it was started, however soon it ends
            state = {**record.describe(), "status": records.RUNNING, "pid": record.pid}
            hooks.run(record.data["hooks"], "poststart", state)
        except errors.FailedPrecondition:
            destroy(record)
            raise


def _until_dead(record: Record) -> None:
    """Killed, and waited for."""
    try:
        descriptor = processes.pidfd_open(record.pid)
    except (ProcessLookupError, OSError):
        return
    try:
        if record.alive():
            signal.pidfd_send_signal(descriptor, lean.SIGKILL)
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        waiting.poll(GONE_TIMEOUT_S * 1000)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def kill(options: Options) -> int:
    """Send a signal to the first process, or with --all to every one."""
    record = found(options)
    words = options.arguments or [options.get("signal", "TERM")]
    if len(words) > 1:
        raise errors.InvalidSpec(f"kill: unexpected argument {words[1]!r}")
    number = signal_number(words[0])
    status = record.status()
    if options.has("all") and status == records.STOPPED:
        record.cgroup().kill(number)
        return 0
    if status not in (records.CREATED, records.RUNNING, records.PAUSED):
        raise errors.FailedPrecondition(f"container {record.id} is {status}, not running")
    if options.has("all"):
        record.cgroup().kill(number)
    else:
        record.signal(number)
    if status == records.PAUSED and number == lean.SIGKILL:
        _thaw(record)
    return 0


def _thaw(record: Record) -> None:
    """After a kill: a frozen process of v1 does not even die.

    One of v2 does, and then systemd may have removed the group already.
    """
    with lean.suppress(OSError, errors.FailedPrecondition):
        record.cgroup().freeze(False)


def signal_number(text: str) -> int:
    """From `9`, `KILL`, `SIGKILL`, `RTMIN+3`; raises InvalidSpec."""
    name = text.upper().removeprefix("SIG")
    for base, first in (("RTMIN", signal.SIGRTMIN), ("RTMAX", signal.SIGRTMAX)):
        rest = name.removeprefix(base)
        if name.startswith(base) and rest.lstrip("+-").isdigit():
            name = str(first + int(rest))
        elif name == base:
            name = str(int(first))
    number = int(name) if name.isdigit() else getattr(signal, f"SIG{name}", 0)
    if not isinstance(number, int) or not 0 < number <= signal.SIGRTMAX:
        raise errors.InvalidSpec(f"there is no signal {text!r}")
    return int(number)


def delete(options: Options) -> int:
    """Undo the create; with --force whatever state it is in."""
    force = options.has("force")
    try:
        record = found(options)
    except errors.NotFound:
        if force:
            return 0
        raise
    status = record.status()
    if status != records.STOPPED and not force:
        raise errors.FailedPrecondition(f"container {record.id} is {status}, not stopped")
    if status == records.PAUSED:
        with lean.suppress(errors.NotFound):  # it ends by itself
            record.signal(lean.SIGKILL)
        _thaw(record)
    destroy(record)
    return 0


def destroy(record: Record) -> None:
    """Whatever there is of it goes; then its poststop hooks."""
    if record.pid:
        _until_dead(record)
    if "scope" in record.data:
        from swarmlite.runtime.systemd import scope

        with scope.Manager() as manager:
            manager.stop(record.data["scope"])
    if "cgroup_path" in record.data:
        _remove_cgroup(record)
    state = {**record.describe(), "status": records.STOPPED} if "created" in record.data else {}
    record.remove()
    for failure in hooks.run_all(record.data.get("hooks") or {}, "poststop", state):
        notices.warn(failure)


def _remove_cgroup(record: Record) -> None:
    cgroup = record.cgroup()
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while True:
        try:
            if cgroup.delete():
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise errors.FailedPrecondition(f"its cgroup cannot be removed: {error}") from error
        try:
            cgroup.freeze(False)
            cgroup.kill(lean.SIGKILL)  # what a shared pid namespace has let live
        except (OSError, errors.SwarmliteError):
            pass
        if time.monotonic() > deadline:
            raise errors.FailedPrecondition(f"container {record.id}: its cgroup is still in use")
        time.sleep(GONE_STEP_S)


def pause(options: Options) -> int:
    """Freeze every process."""
    record = found(options)
    if record.status() not in (records.RUNNING, records.CREATED):
        raise errors.FailedPrecondition(f"container {record.id} is {record.status()}, not running")
    record.cgroup().freeze(True)
    return 0


def resume(options: Options) -> int:
    """Thaw them."""
    record = found(options)
    if record.status() != records.PAUSED:
        raise errors.FailedPrecondition(f"container {record.id} is {record.status()}, not paused")
    record.cgroup().freeze(False)
    return 0


def update(options: Options) -> int:
    """Change limits, by flags or by a JSON of OCI resources (`-` for standard input)."""
    record = found(options)
    if record.status() == records.STOPPED:
        raise errors.FailedPrecondition(f"container {record.id} is stopped")
    resources = _resources(options)
    merged = dict(record.data.get("resources") or {})
    for kind, values in resources.items():
        whole = not isinstance(values, dict)
        merged[kind] = values if whole else {**(merged.get(kind) or {}), **values}
    record.data["resources"] = {k: v for k, v in merged.items() if k != "devices"}
    if "scope" in record.data:
        from swarmlite.runtime.systemd import scope

        with scope.Manager() as manager:
            manager.change(
                record.data["scope"], {kind: merged[kind] for kind in resources}, Host().kind
            )
    cgroup = record.cgroup()
    cgroup.update(resources)
    for warning in cgroup.warnings:
        notices.warn(f"resources: {warning}")
    record.write()
    return 0


_FLAGS = (
    ("memory", "memory", "limit"), ("memory-swap", "memory", "swap"),
    ("memory-reservation", "memory", "reservation"), ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"), ("cpu-share", "cpu", "shares"), ("pids-limit", "pids", "limit"),
    ("blkio-weight", "blockIO", "weight"),
)  # fmt: skip


def _resources(options: Options) -> dict:  # type: ignore[type-arg]
    if options.has("resources"):
        name = options.get("resources")
        try:
            data = lean.loads(sys.stdin.read()) if name == "-" else lean.load(name)
        except ValueError as error:
            raise errors.InvalidSpec(f"--resources {name}: not JSON: {error}") from error
        if not isinstance(data, dict):
            raise errors.InvalidSpec(f"--resources {name}: must be an object")
        return {kind: values for kind, values in data.items() if values and kind != "devices"}
    resources: dict = {}  # type: ignore[type-arg]
    for flag, kind, key in _FLAGS:
        if options.has(flag):
            resources.setdefault(kind, {})[key] = options.number(flag)
    for key in ("cpus", "mems"):
        if options.has(f"cpuset-{key}"):
            resources.setdefault("cpu", {})[key] = options.get(f"cpuset-{key}")
    return resources


def state(options: Options) -> int:
    """Print its state."""
    print(lean.dumps(found(options, locked=False).describe()))
    return 0


def list_(options: Options) -> int:
    """Print every container of the root."""
    chosen = options.get("format", "table")
    if chosen not in ("table", "json"):
        raise errors.InvalidSpec(f"list --format: {chosen!r} is not table or json")
    every = records.every(options.root)
    if options.has("quiet"):
        print("".join(f"{record.id}\n" for record in every), end="")
    elif chosen == "json":
        print(lean.dumps([{**record.describe(), "owner": "root"} for record in every]))
    else:
        row = "{:<36} {:<8} {:<9} {:<28} {}"
        print(row.format("ID", "PID", "STATUS", "CREATED", "BUNDLE"))
        for record in every:
            said = record.describe()
            values = (said[key] for key in ("id", "pid", "status", "created", "bundle"))
            print(row.format(*(str(value) for value in values)))
    return 0


def ps(options: Options) -> int:
    """Print its processes: pids as JSON, or the lines of ps(1)."""
    record = found(options, locked=False)
    pids = record.cgroup().pids()
    chosen = options.get("format", "table")
    if chosen == "json":
        print(lean.dumps(pids))
        return 0
    if chosen != "table":
        raise errors.InvalidSpec(f"ps --format: {chosen!r} is not table or json")
    import subprocess

    words = [word for word in options.arguments if word != "--"] or ["-ef"]
    done = subprocess.run(["ps", *words], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if done.returncode or not lines or "PID" not in lines[0].split():
        raise errors.FailedPrecondition(f"ps {' '.join(words)}: {done.stderr.strip() or 'no PID'}")
    column = lines[0].split().index("PID")
    print(lines[0])
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            print(line)
    return 0


COMMANDS = {
    "start": start,
    "kill": kill,
    "delete": delete,
    "pause": pause,
    "resume": resume,
    "update": update,
    "state": state,
    "list": list_,
    "ps": ps,
}
