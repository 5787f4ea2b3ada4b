"""What is wrong with a spec, before anything is made: one line that says where and what.

What depends on the container's own files (users, programs) or on the host (rlimits) shows later.
Only shapes are checked here; names of mounts, devices and seccomp are where they are understood.
"""

from __future__ import annotations

from swarmlite import errors

NAMESPACES = {"mount", "network", "uts", "pid", "ipc", "cgroup", "user", "time"}
PROPAGATION = {None, "", "private", "slave", "shared", "unbindable"}
HOOKS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
#: Files of /proc that may be mounted over (a host's numbers, made smaller); nothing else below it.
PROC_FILES = {
    f"/proc/{name}"
    for name in ("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "net/dev")
}
MAX_ID = 2**31 - 1
#: What other runtimes honour and this one does not: an error, never silence.
UNSUPPORTED = {
    "config.json": ("solaris", "windows", "vm", "zos"),
    "process": ("commandLine", "execCPUAffinity"),
    "linux": ("intelRdt", "memoryPolicy", "netDevices"),
}


def _refuse_unsupported(holder: dict, where: str) -> None:  # type: ignore[type-arg]
    for key in UNSUPPORTED[where]:
        if holder.get(key):
            raise errors.InvalidSpec(f"{where}: {key} is not supported")


IPC_SYSCTLS = {
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni")
} | {"kernel.shm_rmid_forced"}


def _is(value: object, kind: type, where: str) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {dict: "an object", list: "a list", str: "a string", int: "a number"}
        raise errors.InvalidSpec(f"{where}: must be {words[kind]}")


def _strings(value: object, where: str) -> None:
    _is(value, list, where)
    assert isinstance(value, list)
    for index, item in enumerate(value):
        if not isinstance(item, str) or "\0" in item:
            raise errors.InvalidSpec(f"{where}[{index}]: must be a string without NUL")


def validate_spec(spec: object) -> None:
    """A whole config.json; raises InvalidSpec."""
    _is(spec, dict, "config.json")
    assert isinstance(spec, dict)
    if not str(spec.get("ociVersion", "")).startswith("1."):
        raise errors.InvalidSpec("ociVersion: must be 1.x")
    for key in ("root", "linux"):
        _is(spec.get(key), dict, key)
    if not spec["root"].get("path") or not isinstance(spec["root"]["path"], str):
        raise errors.InvalidSpec("root.path: is missing")
    for key in ("hostname", "domainname"):
        if len(str(spec.get(key) or "")) > 64:
            raise errors.InvalidSpec(f"{key}: at most 64 characters")
    _refuse_unsupported(spec, "config.json")
    if spec.get("process") is not None:
        validate_process(spec["process"])
    _hooks(spec.get("hooks") or {})
    _is(spec.get("mounts", []), list, "mounts")
    for index, mount in enumerate(spec.get("mounts", [])):
        _is(mount, dict, f"mounts[{index}]")
        _strings(mount.get("options") or [], f"mounts[{index}].options")
        place = str(mount.get("destination", ""))
        if place.startswith("/proc/") and place not in PROC_FILES:
            raise errors.InvalidSpec(f"mounts[{index}]: {place} lies inside /proc")
    _linux(spec["linux"])


def _hooks(hooks: object) -> None:
    _is(hooks, dict, "hooks")
    assert isinstance(hooks, dict)
    for kind in HOOKS:
        _is(hooks.get(kind) or [], list, f"hooks.{kind}")
        for index, hook in enumerate(hooks.get(kind) or []):
            where = f"hooks.{kind}[{index}]"
            _is(hook, dict, where)
            if not str(hook.get("path") or "").startswith("/"):
                raise errors.InvalidSpec(f"{where}.path: {hook.get('path')!r} is not absolute")
            _strings(hook.get("args") or [], f"{where}.args")
            _strings(hook.get("env") or [], f"{where}.env")
            timeout = hook.get("timeout")
            if timeout is not None and (not isinstance(timeout, int) or timeout <= 0):
                raise errors.InvalidSpec(f"{where}.timeout: must be a number of seconds above 0")


def _linux(linux: dict) -> None:  # type: ignore[type-arg]
    _refuse_unsupported(linux, "linux")
    propagation = linux.get("rootfsPropagation")
    if propagation not in PROPAGATION and str(propagation).removeprefix("r") not in PROPAGATION:
        raise errors.InvalidSpec(f"linux.rootfsPropagation: {propagation!r} is not a propagation")
    kinds = [namespace.get("type") for namespace in linux.get("namespaces") or []]
    for kind in kinds:
        if kind not in NAMESPACES:
            raise errors.InvalidSpec(f"linux.namespaces: unknown kind {kind!r}")
        if kinds.count(kind) > 1:
            raise errors.InvalidSpec(f"linux.namespaces: {kind!r} is specified twice")
    for key in ("maskedPaths", "readonlyPaths"):
        _strings(linux.get(key) or [], f"linux.{key}")
    _is(linux.get("resources") or {}, dict, "linux.resources")
    for name in linux.get("sysctl") or {}:
        _sysctl(name, kinds)


def _sysctl(name: str, namespaces: list[str]) -> None:
    """Only what belongs to a namespace of the container's own may be set."""
    if not name or "/" in name or ".." in name or "\0" in name:
        raise errors.InvalidSpec(f"linux.sysctl: {name!r} is not a name")
    if name.startswith("net."):
        needed = "network"
    elif name in IPC_SYSCTLS or name.startswith("fs.mqueue."):
        needed = "ipc"
    elif name in ("kernel.hostname", "kernel.domainname"):
        needed = "uts"
    else:
        raise errors.InvalidSpec(f"linux.sysctl: {name} would change the host")
    if needed not in namespaces:
        raise errors.InvalidSpec(f"linux.sysctl: {name} needs a {needed} namespace of its own")


def validate_process(process: object) -> None:
    """A `process`, of a container or of an exec; raises InvalidSpec."""
    _is(process, dict, "process")
    assert isinstance(process, dict)
    _refuse_unsupported(process, "process")
    _strings(process.get("args"), "process.args")
    if not process["args"] or not process["args"][0]:
        raise errors.InvalidSpec("process.args: no command was given")
    _strings(process.get("env") or [], "process.env")
    for entry in process.get("env") or []:
        if "=" not in entry[1:]:
            raise errors.InvalidSpec(f"process.env: {entry!r} is not NAME=VALUE")
    if not str(process.get("cwd") or "/").startswith("/"):
        raise errors.InvalidSpec(f"process.cwd: {process['cwd']!r} is not an absolute path")
    user = process.get("user") or {}
    _is(user, dict, "process.user")
    ids = [user.get("uid", 0), user.get("gid", 0), *(user.get("additionalGids") or [])]
    for number in ids:
        if not isinstance(number, int) or not 0 <= number <= MAX_ID:
            raise errors.InvalidSpec(f"process.user: {number!r} is not between 0 and {MAX_ID}")
    for kind, names in (process.get("capabilities") or {}).items():
        _strings(names or [], f"process.capabilities.{kind}")
    for limit in process.get("rlimits") or []:
        if limit.get("soft", 0) > limit.get("hard", 0) >= 0:
            raise errors.InvalidSpec(f"process.rlimits: {limit.get('type')}: soft is above hard")
    score = process.get("oomScoreAdj")
    if score is not None and (not isinstance(score, int) or not -1000 <= score <= 1000):
        raise errors.InvalidSpec("process.oomScoreAdj: must be between -1000 and 1000")
