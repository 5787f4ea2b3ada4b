"""The first process of a test host: prepares its mounts, then reaps orphans until it is killed.

Run as `python -I -S host_init.py HOSTNAME` under unshare(1) with new mount, pid, uts, ipc and
network namespaces. It prints its pid as the machine sees it, in one line, once the host is ready.
Standard library only, and no import of the package: every host keeps one of these in memory.
"""

import ctypes
import os
import signal
import socket
import sys

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_MOVE, MS_BIND, MS_REC, MS_PRIVATE = (
    2,
    4,
    8,
    8192,
    4096,
    16384,
    1 << 18,
)
libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """mount(2); raises OSError."""
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), target)


def main() -> None:
    """Prepare the host, say so, and reap."""
    # /proc still is the machine's here: the link holds the pid that others can find us by.
    outer_pid = os.readlink("/proc/self")  # noqa: PTH115 - no pathlib in this process
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    # A sysfs of this network namespace, with the machine's cgroups kept below it.
    keep = "/mnt"
    mount("/sys/fs/cgroup", keep, "", MS_BIND | MS_REC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount(keep, "/sys/fs/cgroup", "", MS_MOVE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    socket.sethostname(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(outer_pid, flush=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    main()
