"""The interface of a container's control group."""

from __future__ import annotations

import errno
import os

from swarmlite import errors
from swarmlite.runtime import lean

PERIOD_US = 100_000
#: How kernels say that they do not do something (any more): no file, or no such setting.
NOT_SUPPORTED = (errno.ENOENT, errno.EOPNOTSUPP, errno.ENOSYS, 524)


class Cgroup:
    """One container's group, in every hierarchy that the host has. Errors are OSError unless said.

    create: make it and set `resources` (OCI `linux.resources`); raises AlreadyExists, InvalidSpec.
    `delegated`: what of it systemd has made already is taken as it is, and its parents are left so.
    update: change the limits that `resources` names.
    join_files: paths of the files into which a process writes `0` to be in it (v1).
    directory: what clone3 can start a process in (v2), or None.
    binds: (name below /sys/fs/cgroup, host directory) to show the container ("" is the whole).
    oom_kills: how many processes the kernel killed for memory. stats: counters, by name.
    kill: signal every process in it. freeze: stop or resume them all.
    delete: True once it is gone, False while processes still leave it (try again soon).
    warnings: what was asked for and this host's kernel lacks, where that may be left out.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def create(self, resources: dict[str, object], *, delegated: bool = False) -> None:
        """Make it and set its limits."""
        raise NotImplementedError

    def update(self, resources: dict[str, object]) -> None:
        """Change the limits that `resources` names."""
        raise NotImplementedError

    def join_files(self) -> list[str]:
        """Where a process writes `0` to be in it."""
        raise NotImplementedError

    def directory(self) -> str | None:
        """What clone3 starts a process in."""
        raise NotImplementedError

    def binds(self) -> list[tuple[str, str]]:
        """What to show the container below /sys/fs/cgroup."""
        raise NotImplementedError

    def oom_kills(self) -> int:
        """How many processes were killed for memory."""
        raise NotImplementedError

    def oom_event(self) -> int:
        """A descriptor that becomes readable when memory runs out in it; see ooms.py."""
        raise NotImplementedError

    def stats(self) -> dict[str, int]:
        """Its counters."""
        raise NotImplementedError

    def pids(self) -> list[int]:
        """The processes in it."""
        raise NotImplementedError

    def freeze(self, frozen: bool) -> None:
        """Stop or resume them all."""
        raise NotImplementedError

    def frozen(self) -> bool:
        """Whether they are stopped."""
        raise NotImplementedError

    def kill(self, signal: int) -> None:
        """Signal every process; those that end meanwhile are no error."""
        for pid in self.pids():
            with lean.suppress(ProcessLookupError):
                os.kill(pid, signal)

    def delete(self) -> bool:
        """True once it is gone."""
        raise NotImplementedError


def check_path(path: str) -> str:
    """`cgroupsPath` without its first slash; raises InvalidSpec for what would leave the root."""
    parts = path.strip("/").split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise errors.InvalidSpec(f"linux.cgroupsPath: {path!r} is not a plain path")
    return "/".join(parts)


def write(path: str, value: object) -> None:
    """Write one value to a control file; raises OSError that names the file and the value."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    except OSError as error:
        raise OSError(error.errno, f"{path} = {value}: {error.strerror}") from error
    finally:
        os.close(fd)


def read(path: str) -> str:
    """A control file's text; empty when it does not exist."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        data = b""
        while chunk := os.read(fd, 65536):
            data += chunk
        return data.decode("ascii")
    finally:
        os.close(fd)


def read_int(path: str) -> int:
    """A control file's number; 0 when absent, -1 for `max`."""
    text = read(path).strip()
    return -1 if text == "max" else int(text or 0)


def read_table(path: str) -> dict[str, int]:
    """A file of lines `key number`."""
    lines = (line.split() for line in read(path).splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}


def read_pids(path: str) -> list[int]:
    """The processes that a cgroup.procs file lists; 0 is one outside of our pid namespace."""
    return [pid for line in read(path).split() if (pid := int(line))]


def remove(directory: str) -> bool:
    """Remove a group and what the container made below it; False while it is busy."""
    try:
        os.rmdir(directory)  # noqa: PTH106
        return True
    except FileNotFoundError:
        return True
    except OSError:
        pass
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            remove(entry.path)
    try:
        os.rmdir(directory)  # noqa: PTH106
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
