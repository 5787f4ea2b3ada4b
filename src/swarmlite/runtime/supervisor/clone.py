"""The parent's side of a clone: the cgroup's files, the namespaces to join."""

from __future__ import annotations

import os

from swarmlite.kernel import namespaces, processes
from swarmlite.runtime.lean import signal
from swarmlite.runtime.supervisor.child import Child

EVERY_SIGNAL = signal.valid_signals()
NAMESPACES = {
    "user": namespaces.CLONE_NEWUSER,
    "mnt": namespaces.CLONE_NEWNS,
    "uts": namespaces.CLONE_NEWUTS,
    "ipc": namespaces.CLONE_NEWIPC,
    "net": namespaces.CLONE_NEWNET,
    "cgroup": namespaces.CLONE_NEWCGROUP,
    "pid": namespaces.CLONE_NEWPID,
    "time": namespaces.CLONE_NEWTIME,
}
_OWN: dict[str, str] = {}


def namespaces_of(pid: int) -> int:
    """The flags of those namespaces of a process that are not ours: joining our own is refused."""
    flags = 0
    for kind, flag in NAMESPACES.items():
        try:
            theirs = os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115
        except FileNotFoundError:
            continue  # a kernel without this kind
        if theirs != _ours(kind):
            flags |= flag
    return flags


def _ours(kind: str) -> str:
    """Looked up once: this process never leaves them."""
    if kind not in _OWN:
        _OWN[kind] = os.readlink(f"/proc/self/ns/{kind}")  # noqa: PTH115
    return _OWN[kind]


def open_all(paths: list[str], opened: list[int]) -> list[int]:
    """Each for writing; they are added to `opened` as well."""
    files = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in paths]
    opened += files
    return files


def clone(child: Child, flags: int, cgroup_directory: str | None) -> int:
    """With every signal blocked, so that none runs the parent's handlers in the child."""
    directory = -1
    if cgroup_directory is not None:
        directory = os.open(cgroup_directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)
    try:
        pid = processes.clone(flags, directory)
        if pid == 0:
            child.guarded_run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if directory >= 0:
            os.close(directory)
    return pid
