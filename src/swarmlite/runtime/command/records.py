"""What is known of a container: a directory each below `--root`, changed under its lock.

`state.json` is replaced as a whole, so that it can be read without the lock; `config.json` is the
spec as it was at the create; at `start.sock` the container's first process listens until started.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from swarmlite import errors
from swarmlite.kernel import processes
from swarmlite.runtime import lean
from swarmlite.runtime.cgroups.base import Cgroup
from swarmlite.runtime.cgroups.detect import Host
from swarmlite.runtime.supervisor.process_state import start_time_ticks

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"
OCI_VERSION = "1.2.0"
_ID_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class Record:
    """One container's directory and what `state.json` says."""

    def __init__(self, root: str, container_id: str) -> None:
        if not container_id or set(container_id) - _ID_CHARACTERS or container_id in (".", ".."):
            raise errors.InvalidSpec(f"container id {container_id!r}: letters, digits, _ + - .")
        self.id = container_id
        self.directory = os.path.join(os.path.abspath(root), container_id)  # noqa: PTH100, PTH118
        self.data: dict = {}  # type: ignore[type-arg]
        self._lock = -1

    def make(self) -> None:
        """A new directory, locked; raises AlreadyExists."""
        os.makedirs(os.path.dirname(self.directory), 0o700, exist_ok=True)  # noqa: PTH103, PTH120
        try:
            os.mkdir(self.directory, 0o700)  # noqa: PTH102
        except FileExistsError as error:
            raise errors.AlreadyExists(f"container {self.id} exists") from error
        self.lock()

    def lock(self) -> None:
        """Until this process ends, or `remove`; raises NotFound when there is no such container."""
        path = f"{self.directory}/lock"
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise errors.NotFound(f"container {self.id} does not exist") from error
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if os.fstat(self._lock).st_nlink == 0:
            raise errors.NotFound(f"container {self.id} does not exist")

    def unlock(self) -> None:
        """Let others."""
        os.close(self._lock)
        self._lock = -1

    def read(self) -> None:
        """Raises NotFound."""
        try:
            self.data = lean.load(f"{self.directory}/state.json")
        except FileNotFoundError as error:
            raise errors.NotFound(f"container {self.id} does not exist") from error

    def write(self) -> None:
        """Replace the state as a whole; on a tmpfs, as a rule, so nothing is synced."""
        path = f"{self.directory}/state.json"
        with open(f"{path}.new", "wb", buffering=0) as file:  # noqa: PTH123
            file.write(lean.dumps(self.data).encode())
        os.rename(f"{path}.new", path)  # noqa: PTH104

    def remove(self) -> None:
        """Forget it."""
        for name in ("start.sock", "config.json", "state.json.new", "state.json", "lock"):
            with lean.suppress(FileNotFoundError):
                os.unlink(f"{self.directory}/{name}")  # noqa: PTH108
        with lean.suppress(FileNotFoundError):
            os.rmdir(self.directory)  # noqa: PTH106

    def spec(self) -> dict:  # type: ignore[type-arg]
        """The spec as it was when the container was created."""
        data: dict = lean.load(f"{self.directory}/config.json")  # type: ignore[type-arg]
        return data

    @property
    def pid(self) -> int:
        """Of its first process, 0 before it has one."""
        return int(self.data.get("pid") or 0)

    def alive(self) -> bool:
        """Whether the first process is there and not a zombie; a used-again pid is another's."""
        if not self.pid:
            return False
        return start_time_ticks(self.pid, living=True) == self.data.get("start_time_ticks")

    def status(self) -> str:
        """As the specification names them, and `paused`."""
        said = str(self.data.get("status"))
        if said == CREATING and not self.pid:
            return CREATING
        if not self.alive():
            return STOPPED
        if said == RUNNING and self.cgroup().frozen():
            return PAUSED
        return said

    def cgroup(self) -> Cgroup:
        """Its group."""
        return Host().cgroup(self.data["cgroup_path"], self.data.get("resources") or {})

    def describe(self) -> dict[str, object]:
        """The state of the specification, which hooks get as well."""
        status = self.status()
        return {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "status": status,
            "pid": 0 if status == STOPPED else self.pid,
            "bundle": self.data["bundle"],
            "rootfs": self.data.get("rootfs", ""),
            "created": self.data["created"],
            "annotations": self.data.get("annotations") or {},
        }

    def signal(self, number: int) -> None:
        """To its first process, and never to another that has its pid now; raises NotFound."""
        try:
            descriptor = processes.pidfd_open(self.pid)
        except ProcessLookupError as error:
            raise errors.NotFound(f"container {self.id} is not running") from error
        try:
            if not self.alive():
                raise errors.NotFound(f"container {self.id} is not running")
            lean.signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError as error:
            raise errors.NotFound(f"container {self.id} is not running") from error
        finally:
            os.close(descriptor)

    def listen(self) -> lean.Socket:
        """Where the first process waits to be started."""
        listener = lean.unix_socket()
        directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # by descriptor: a socket's address holds 107 bytes, and roots are long
            listener.bind(f"/proc/self/fd/{directory}/start.sock")
        finally:
            os.close(directory)
        listener.listen(4)
        return listener

    def connect(self) -> lean.Socket | None:
        """To the first process, None when it waits no more."""
        sock = lean.unix_socket()
        directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{directory}/start.sock")
        except OSError as error:
            sock.close()
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return None
            raise
        finally:
            os.close(directory)
        return sock


def now() -> str:
    """A time of day as the specification writes it."""
    seconds = time.time()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1e9):09d}Z"


def every(root: str) -> list[Record]:
    """Every container of a root, those that vanish meanwhile left out."""
    try:
        names = sorted(os.listdir(root))  # noqa: PTH208
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        record = Record(root, name)
        try:
            record.read()
        except (errors.NotFound, NotADirectoryError):
            continue
        found.append(record)
    return found
