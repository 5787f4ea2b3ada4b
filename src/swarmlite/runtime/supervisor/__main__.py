"""Starts the supervisor: `python -I -S .../supervisor/__main__.py --socket S --state-dir D`.

With -I -S nothing of the environment or of site-packages is loaded, so the package's own parent
folder is put on the path by hand. Then the interpreter is run once more from a read-only mount of
itself: /proc/PID/exe, which a container might come to see, can then not be opened for writing
(CVE-2019-5736).
"""

from __future__ import annotations

import sys

HERE = __file__.rsplit("/", 4)[0]  # .../src
if not __package__:
    sys.path[:] = [p for p in sys.path if p != __file__.rsplit("/", 1)[0]]
    sys.path.insert(0, HERE)

import gc  # noqa: E402
import os  # noqa: E402

from swarmlite.kernel import processes  # noqa: E402
from swarmlite.runtime import lean, sealing  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

USAGE = "usage: swarmlite-supervisor --socket PATH --state-dir DIR"
OPTIONS = ("--socket", "--state-dir")


def parse(arguments: list[str]) -> dict[str, str]:
    """The options; ends the process with a line when they are wrong."""
    options: dict[str, str] = {}
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == sealing.SEALED:
            options[word] = ""
        elif word in OPTIONS and left:
            options[word] = left.pop(0)
        else:
            sys.exit(f"swarmlite-supervisor: what is {word!r}?\n{USAGE}")
    if "--socket" not in options or "--state-dir" not in options:
        sys.exit(USAGE)
    return options


def seal(arguments: list[str]) -> None:
    """Run again from a read-only mount of the interpreter; returns when it cannot."""
    environment = [b"PATH=/usr/sbin:/usr/bin:/sbin:/bin", b"LC_ALL=C.UTF-8"]
    try:
        sealing.seal(__file__, arguments, environment)
    except OSError as error:
        print(f"swarmlite-supervisor: the interpreter is not sealed: {error}", file=sys.stderr)


def listen(path: str) -> socket.socket:
    """The socket, 0600; only one supervisor holds it. A stale one is removed."""
    import errno
    import fcntl
    import socket

    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        sys.exit(f"swarmlite-supervisor: another one serves {path}")
    with lean.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    listener.bind(path)
    os.umask(before)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def main() -> None:
    """Serve until asked to shut down."""
    arguments = sys.argv[1:]
    options = parse(arguments)
    if os.geteuid() != 0:
        sys.exit("swarmlite-supervisor: must be run as root")
    if sealing.SEALED not in options:
        seal(arguments)
    while (fd := os.open("/dev/null", os.O_RDWR)) < 3:
        os.set_inheritable(fd, True)  # a pipe must never become somebody's stdout
    os.close(fd)
    # Nothing that joins a container may be looked into, or traced, from there.
    processes.prctl(processes.PR_SET_DUMPABLE, 0)
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    processes.set_name(b"swarmlite-sup")
    from swarmlite.runtime.supervisor import forker

    # Now: what is loaded from here on is nothing that it needs, nor is what will be open.
    forking = forker.begin()
    serve(options, forking)


def serve(options: dict[str, str], forking: tuple[int, lean.Socket]) -> None:
    """The supervisor itself, beside the process that forks for it."""
    import signal

    from swarmlite.runtime.supervisor.operations import Operations
    from swarmlite.runtime.supervisor.server import Server

    state_dir = os.path.abspath(options["--state-dir"])  # noqa: PTH100
    os.makedirs(state_dir, 0o700, exist_ok=True)  # noqa: PTH103
    socket_dir = os.path.dirname(os.path.abspath(options["--socket"]))  # noqa: PTH100, PTH120
    os.makedirs(socket_dir, exist_ok=True)  # noqa: PTH103
    try:
        listener = listen(options["--socket"])
        server = Server(state_dir, forking)
    except Exception as error:
        sys.exit(f"swarmlite-supervisor: {error}")
    server.take_over()
    operations = Operations(server)
    server.loop.add(listener.fileno(), lambda _events: server.accept(listener, operations.handle))
    # The daemon's terminal and its stop are not ours: only a shutdown by socket ends containers.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.loop.handle_signal(signal.SIGTERM, lambda: server.shut_down(lambda: None))
    # What lives now lives on: children then share these pages instead of copying them.
    gc.collect()
    gc.freeze()
    gc.disable()
    server.loop.run()
    os.unlink(options["--socket"])  # noqa: PTH108


if __name__ == "__main__":
    main()
