"""exec: a further process in a running container."""

from __future__ import annotations

import os

from swarmlite import errors
from swarmlite.kernel import processes
from swarmlite.runtime import lean
from swarmlite.runtime.command import create, lifecycle, notices, records
from swarmlite.runtime.command.options import Options
from swarmlite.runtime.command.records import Record
from swarmlite.runtime.oci import capabilities
from swarmlite.runtime.seccomp.cache import Cache
from swarmlite.runtime.supervisor.child import READY, ExecChild
from swarmlite.runtime.supervisor.clone import clone, namespaces_of, open_all
from swarmlite.runtime.supervisor.process_plan import HostPowers, ProcessPlan

SETS = ("bounding", "effective", "permitted")


def execute(options: Options) -> int:
    """Run it; without --detach end as it does."""
    record = lifecycle.found(options, locked=False)
    status = record.status()
    if status != records.RUNNING and not (options.has("ignore-paused") and status == "paused"):
        raise errors.FailedPrecondition(f"container {record.id} is {status}, not running")
    spec = record.spec()
    process = process_of(options, spec)
    own_users = any(n["type"] == "user" for n in spec["linux"].get("namespaces") or [])
    plan = ProcessPlan(
        process,
        HostPowers(),
        Cache(on_disk=True),
        spec["linux"],
        spec.get("annotations") or {},
        own_users,
    )
    plan.preserved = create.preserved_fds(options)
    for warning in plan.warnings:
        notices.warn(warning)
    if plan.terminal and options.has("detach") and not options.has("console-socket"):
        raise errors.InvalidSpec("exec --detach: a terminal needs --console-socket")
    pid, console = _launch(record, plan, spec)
    if options.has("pid-file"):
        create.write_pid_file(options.get("pid-file"), pid)
    if console >= 0 and options.has("console-socket"):
        create.send_console(options.get("console-socket"), console)
        console = -1
    if options.has("detach"):
        return 0
    from swarmlite.runtime.command import terminal

    return terminal.stay_with(pid, console)


def process_of(options: Options, spec: dict) -> dict:  # type: ignore[type-arg]
    """An OCI process: from --process, or the container's own with what the flags say."""
    if options.has("process"):
        name = options.get("process")
        try:
            process = lean.load(name)
        except ValueError as error:
            raise errors.InvalidSpec(f"--process {name}: not JSON: {error}") from error
        if not isinstance(process, dict):
            raise errors.InvalidSpec(f"--process {name}: must be an object")
    else:
        if not options.arguments:
            raise errors.InvalidSpec("exec: no command was given")
        process = dict(spec.get("process") or {})
        process["args"] = options.arguments
        process["terminal"] = False
        process.pop("consoleSize", None)
    _apply_flags(options, process)
    return process


def _apply_flags(options: Options, process: dict) -> None:  # type: ignore[type-arg]
    if options.has("tty"):
        process["terminal"] = True
    if options.has("cwd"):
        process["cwd"] = options.get("cwd")
    process["env"] = [*(process.get("env") or []), *options.lists.get("env", [])]
    if options.has("user"):
        uid, _, gid = options.get("user").partition(":")
        if uid.isdigit() and (not gid or gid.isdigit()):
            process["user"] = {"uid": int(uid), "gid": int(gid or 0)}
        else:
            process["user"] = {"username": options.get("user")}
    groups = options.lists.get("additional-gids", [])
    if groups:
        user = process.setdefault("user", {})
        user["additionalGids"] = [*user.get("additionalGids", []), *(int(g) for g in groups)]
    for name in options.lists.get("cap", []):
        caps = process.setdefault("capabilities", {})
        for kind in SETS:
            caps[kind] = [*(caps.get(kind) or []), name]
    if options.has("no-new-privs"):
        process["noNewPrivileges"] = True
    for flag, key in (("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        if options.has(flag):
            process[key] = options.get(flag)


def _launch(record: Record, plan: ProcessPlan, spec: dict) -> tuple[int, int]:  # type: ignore[type-arg]
    """Its pid once its program has begun, and the master of its pty or -1."""
    bounding = ((spec.get("process") or {}).get("capabilities") or {}).get("bounding") or []
    filtered = plan.filtered_at_birth(capabilities.split(bounding)[0] | plan.bounding)
    ours, theirs = lean.socketpair()
    opened: list[int] = []
    target = processes.pidfd_open(record.pid)
    flags = namespaces_of(record.pid)
    if not record.alive():
        raise errors.FailedPrecondition(f"container {record.id} is not running")
    cgroup = record.cgroup()
    files = open_all([*cgroup.join_files(), *record.data.get("join_files", [])], opened)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    stdio = [null] * 3 if plan.terminal else [0, 1, 2]
    child = ExecChild(plan, theirs, stdio, files, target, flags, filtered)
    maker = clone(child, 0, cgroup.directory())
    theirs.close()
    for fd in [*opened, null, target]:
        os.close(fd)
    console = -1
    while True:
        data, fds = lean.recv_fds(ours, 65536, 1)
        console = fds[0] if fds else console
        if data and data != READY:
            for pid in {maker, child.sibling} - {0}:
                create.end(pid)
            said = lean.loads(data)
            prefix = "" if said.get("exec") else f"{said['step']}: "
            raise errors.FailedPrecondition(f"exec failed: {prefix}{said['error']}")
        if not data:
            break
    os.waitpid(maker, 0)
    if not child.sibling:
        raise errors.FailedPrecondition("exec failed: it ended before its program began")
    return child.sibling, console
