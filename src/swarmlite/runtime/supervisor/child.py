"""The child of a start, from clone to exec: one list of steps, each with why it stands there.

Whatever fails is sent to the parent with the step's name, and the child ends. Between clone and
exec the child is not dumpable (inherited from the parent), so nothing in a container can look into
it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

from swarmlite.kernel import namespaces, paths, processes
from swarmlite.runtime import lean
from swarmlite.runtime.lean import signal
from swarmlite.runtime.supervisor import finish, identity
from swarmlite.runtime.supervisor.pages import Pages
from swarmlite.runtime.supervisor.process_plan import ProcessPlan

CHANGED_SIGNALS = (
    lean.SIGCHLD, lean.SIGTERM, lean.SIGINT, lean.SIGHUP, lean.SIGPIPE, lean.SIGXFSZ,
)  # fmt: skip
TIOCSCTTY, TIOCSWINSZ, TIOCGPTPEER, TIOCSPTLCK = 0x540E, 0x5414, 0x5441, 0x40045431
READY, START = b"ready", b"start"


class Child:
    """What the parent hands over: a channel to it, stdio and the cgroup to be in.

    `process` is None for a container that cannot be started. With a `handover` a sibling will go on
    in our place, whose pid the kernel writes there.
    """

    makes_cwd = True
    pages: Pages | None = None
    """Of a child that waited for its job."""

    def __init__(
        self,
        process: ProcessPlan | None,
        channel: lean.Socket,
        stdio: list[int],
        cgroup_files: list[int],
        handover: processes.Handover | None,
    ) -> None:
        self.process = process
        self.channel = channel
        self.stdio = stdio
        self.cgroup_files = cgroup_files
        self._handover = handover
        self.step = ""
        self.who = identity.Identity(0, 0, [], "/")
        self.variables: dict[bytes, bytes] = {}
        self.console = -1

    @property
    def handover(self) -> processes.Handover:
        """Of a child that is to have a sibling."""
        assert self._handover is not None
        return self._handover

    @property
    def sibling(self) -> int:
        """The pid of who goes on in our place; 0 while there is nobody."""
        return 0 if self._handover is None else self._handover.pid

    def run(self) -> None:
        """Every step in order; returns in a process whose work is done."""
        raise NotImplementedError

    def guarded_run(self) -> None:
        """`run`, with every failure sent to the parent; never returns."""
        try:
            self.run()
        except BaseException as error:
            self._report(error)
        finally:
            os._exit(127)

    def _report(self, error: BaseException) -> None:
        report: dict[str, object] = {"step": self.step, "exit_code": 127}
        if isinstance(error, finish.ExecError):
            report |= {"error": str(error), "exit_code": error.exit_code, "exec": True}
        elif isinstance(error, identity.IdentityError):
            report |= {"error": str(error), "exit_code": 126, "whole": True}
        elif isinstance(error, OSError):
            report["error"] = error.strerror or str(error)
            if error.filename is not None:
                report["error"] = f"{error.filename!s}: {report['error']}"
        else:
            report["error"] = f"{type(error).__name__}: {error}"
        # os.write: the narrowest of filters may allow no other way
        os.write(self.channel.fileno(), lean.dumps(report).encode())

    def reset_signals(self) -> None:
        """As a program expects them; the parent blocked them all, so none came in between."""
        signal.set_wakeup_fd(-1)
        for number in CHANGED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def take_descriptors(self, *keep: int) -> None:
        """stdio in its place; everything else that the parent holds is closed."""
        for number, fd in enumerate(self.stdio):
            if fd != number:
                os.dup2(fd, number, inheritable=True)
            else:
                os.set_inheritable(fd, True)
        if self.pages is not None:
            keep = (*keep, *self.pages.descriptors())
        self.close_all_but(self.channel.fileno(), *self.cgroup_files, *keep)

    def close_all_but(self, *keep: int) -> None:
        """Close every descriptor from 3 on, save these and what the caller gives to the program."""
        first = 3 + (self.process.preserved if self.process else 0)
        processes.close_all_but(first, list(keep))

    def set_oom_score(self) -> None:
        """By the host's /proc, which the container's would not be yet."""
        if self.process is None or self.process.oom_score_adj is None:
            return
        score = self.process.oom_score_adj
        try:
            write("/proc/self/oom_score_adj", str(score).encode())
        except PermissionError as error:
            # How low we may go without it the kernel knows, and shows nowhere.
            words = f"{score} needs CAP_SYS_RESOURCE, and root lacks it here"
            raise OSError(errno.EACCES, words) from error

    def join_cgroup(self) -> None:
        """v1: by writing; on v2 clone3 has put us there."""
        for fd in self.cgroup_files:
            os.write(fd, b"0")
            os.close(fd)

    def forget_modules(self) -> None:
        """From here on nothing is loaded: the files that are seen belong to the image."""
        sys.path.clear()
        sys.meta_path.clear()
        sys.path_hooks.clear()

    def open_console(self, ptmx: int, process: ProcessPlan) -> None:
        """A pty of the container's own devpts, by descriptor; its master goes to the parent."""
        fcntl.ioctl(ptmx, TIOCSPTLCK, struct.pack("i", 0))
        size = process.console_size
        fcntl.ioctl(
            ptmx, TIOCSWINSZ,
            struct.pack("4H", int(size.get("height", 0)), int(size.get("width", 0)), 0, 0),
        )  # fmt: skip
        slave = fcntl.ioctl(ptmx, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self.console = ptmx
        for number in range(3):
            os.dup2(slave, number, inheritable=True)
        os.close(slave)

    def set_labels(self, process: ProcessPlan) -> None:
        """AppArmor's and SELinux's, which take effect at exec; by the host's /proc."""
        for name, value in process.security_labels:
            write(f"/proc/thread-self/attr/{name}", value)

    def look_up_user(self, process: ProcessPlan) -> None:
        """In the container's files: after the pivot, and before giving up rights."""
        need_home = not any(entry.startswith(b"HOME=") for entry in process.env)
        self.who = identity.look_up(
            process.username, process.uid, process.gid, process.gids, process.groups, need_home
        )
        self.variables = finish.environment(process, self.who)
        if process.terminal:
            os.fchown(0, self.who.uid, -1)
        elif self.who.uid:
            finish.own_pipes(self.who.uid)

    def become(self, process: ProcessPlan) -> None:
        """Limits, user, working directory, capabilities: all but the filter."""
        self.step = "scheduling"
        finish.set_scheduling(process)
        self.step = "rlimits"
        finish.set_rlimits(process)
        self.step = "user"
        self.look_up_user(process)
        # As root, who may make it and enter it; checked to be inside the root.
        self.step = f"working directory {os.fsdecode(process.cwd)}"
        finish.enter_cwd(process.cwd, self.makes_cwd)
        os.umask(process.umask)
        self.step = "capabilities"
        finish.become(process, self.who)

    def say_pages(self) -> None:
        """For those who come after us: see pages.py. While its descriptors are open."""
        if self.pages is not None:
            self.pages.say()

    def say_ready(self) -> None:
        """All that can fail has not: the container is "created"."""
        if self.console >= 0:
            lean.send_fds(self.channel, READY, [self.console])
            os.close(self.console)
        else:
            os.write(self.channel.fileno(), READY)


class ExecChild(Child):
    """A further process in a running container, made by one that nothing in there can see.

    The first one stays in the parent's pid namespace, gives up what it has of the host, enters
    everything else of the container and becomes who the program runs as. Only then its sibling is
    born into the container's pid namespace, which holds nothing that a process there with
    CAP_SYS_PTRACE could take (CVE-2016-9962).

    With `spawns` that process is our child and has our own memory until its exec, which no process
    there may be able to trace then; once we end it is the supervisor's.
    """

    makes_cwd = False

    def __init__(
        self,
        process: ProcessPlan,
        channel: lean.Socket,
        stdio: list[int],
        cgroup_files: list[int],
        container: int,
        namespace_flags: int,
        filtered: bool,
        handover: processes.Handover | None = None,
        spawns: bool = False,
    ) -> None:
        handover = handover or processes.Handover()
        super().__init__(process, channel, stdio, cgroup_files, handover)
        self.program = process
        self.container = container  # a pidfd of its first process
        self.namespace_flags = namespace_flags
        self.filtered = filtered
        self.spawns = spawns

    def run(self) -> None:
        """As for the first process, but everything is there to be joined."""
        process = self.program
        self.step = "signals"
        self.reset_signals()
        self.step = "descriptors"
        self.take_descriptors(self.container)
        self.step = "oom_score_adj"
        self.set_oom_score()
        self.step = "security label"
        self.set_labels(process)
        # In the cgroup first: what is joined may never see us outside of its limits.
        self.step = "cgroup"
        self.join_cgroup()
        self.forget_modules()
        # The pid namespace among them, which takes our children and not us.
        self.step = "namespaces"
        namespaces.setns(self.container, self.namespace_flags)
        if self.namespace_flags & namespaces.CLONE_NEWUSER:
            become_root_here()
        os.close(self.container)
        self.step = "console"
        if process.terminal:
            self.open_console(_container_ptmx(), process)
        self.become(process)
        if self.console >= 0:
            self.say_ready()
        self.say_pages()
        processes.close_range(3 + process.preserved, cloexec=True)
        programs = finish.candidates(process, self.variables)
        if self.spawns:
            programs = finish.present(programs)
            # Leaving uid 0 may have changed it, by sysctl fs.suid_dumpable.
            processes.prctl(processes.PR_SET_DUMPABLE, 0)
        if self.filtered:
            self.step = "seccomp"
            finish.load_filter(process)
        if self.spawns:
            self.step = "exec"
            self.handover.pid = finish.spawn(process, self.variables, programs)
            self.channel.close()  # the parent need not wait until our memory is gone
            return
        self.step = "clone"
        if self.handover.clone_sibling() == 0:
            self._run_inside(process)

    def _run_inside(self, process: ProcessPlan) -> None:
        """What the program's own process has to do itself, and a filter may look at."""
        self.step = "session"
        new_session(process.terminal)
        self.step = "exec"
        finish.execute(process, self.variables, filtered=self.filtered)


def new_session(terminal: bool) -> None:
    """Lead one, and have standard input as its terminal; a filter may refuse what is not needed."""
    try:
        os.setsid()
        if terminal:
            fcntl.ioctl(0, TIOCSCTTY, 0)
    except PermissionError:
        if terminal:
            raise


def become_root_here() -> None:
    """Of a user namespace that was entered: the host's ids mean nothing there."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _container_ptmx() -> int:
    """/dev/pts/ptmx of a running container, who may have put anything there: checked."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    resolve = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_SYMLINKS
    place = paths.openat2(root, b"dev/pts/ptmx", os.O_PATH, resolve)
    if os.fstat(place).st_rdev != os.makedev(5, 2):
        raise OSError(errno.ENXIO, "/dev/pts/ptmx in the container is not a pty multiplexer")
    fd = paths.openat2(root, b"dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, resolve)
    if os.fstat(fd).st_rdev != os.makedev(5, 2):
        raise OSError(errno.ENXIO, "/dev/pts/ptmx in the container is not a pty multiplexer")
    os.close(place)
    os.close(root)
    return fd


def write(path: str, value: bytes) -> None:
    """One value into a file of the kernel; raises OSError that names both."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value)
    except OSError as error:
        words = f"{path} = {value.decode().strip()}: {error.strerror}"
        raise OSError(error.errno, words) from error
    finally:
        os.close(fd)
