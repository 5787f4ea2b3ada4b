"""The child of a start, from clone to exec: one list of steps, each with why it stands there.

Whatever fails is sent to the parent with the step's name, and the child ends. Between clone and
exec the child is not dumpable (inherited from the supervisor), so nothing in a container can look
into it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import termios

from swarmlite.kernel import mounting, namespaces, paths, processes
from swarmlite.runtime.supervisor import finish, identity, init
from swarmlite.runtime.supervisor.plan import Plan, ProcessPlan
from swarmlite.runtime.supervisor.rootfs import Rootfs, open_null

CHANGED_SIGNALS = (
    signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ,
)  # fmt: skip
TIOCGPTPEER = 0x5441
TIOCSPTLCK = 0x40045431
READY, START = b"ready", b"start"


class Child:
    """What the parent hands over: the plan, a channel to it, stdio and the cgroup to be in."""

    def __init__(
        self,
        process: ProcessPlan,
        channel: socket.socket,
        stdio: list[int],
        cgroup_files: list[int],
    ) -> None:
        self.process = process
        self.channel = channel
        self.stdio = stdio
        self.cgroup_files = cgroup_files
        self.step = ""
        self.who = identity.Identity(0, 0, [], "/")
        self.variables: dict[bytes, bytes] = {}
        self.console = -1

    def run(self) -> None:
        """Every step in order; never returns."""
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
            report["error"] = str(error)
        elif isinstance(error, OSError):
            report["error"] = error.strerror or str(error)
            if error.filename is not None:
                report["error"] = f"{error.filename!s}: {report['error']}"
        else:
            report["error"] = f"{type(error).__name__}: {error}"
        # os.write: the narrowest of filters may allow no other way
        os.write(self.channel.fileno(), json.dumps(report).encode())

    def reset_signals(self) -> None:
        """As a program expects them; the parent blocked them all, so none came in between."""
        signal.set_wakeup_fd(-1)
        for number in CHANGED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def take_descriptors(self) -> None:
        """stdio in its place; everything else that the supervisor holds is closed."""
        for number, fd in enumerate(self.stdio):
            os.dup2(fd, number, inheritable=True)
        self.close_all_but(self.channel.fileno(), *self.cgroup_files)

    def close_all_but(self, *keep: int) -> None:
        """Close every descriptor from 3 on, save these."""
        first = 3
        for fd in sorted(set(keep)):
            if fd > first:
                processes.close_range(first, fd - 1)
            first = max(first, fd + 1)
        processes.close_range(first)

    def set_oom_score(self) -> None:
        """By the host's /proc, which the container's would not be yet."""
        if self.process.oom_score_adj is not None:
            _write("/proc/self/oom_score_adj", str(self.process.oom_score_adj).encode())

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

    def open_console(self, ptmx: int) -> None:
        """A pty of the container's own devpts, by descriptor; its master goes to the parent."""
        fcntl.ioctl(ptmx, TIOCSPTLCK, struct.pack("i", 0))
        size = self.process.console_size
        fcntl.ioctl(
            ptmx, termios.TIOCSWINSZ,
            struct.pack("4H", int(size.get("height", 0)), int(size.get("width", 0)), 0, 0),
        )  # fmt: skip
        slave = fcntl.ioctl(ptmx, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self.console = ptmx
        for number in range(3):
            os.dup2(slave, number, inheritable=True)
        os.close(slave)

    def look_up_user(self) -> None:
        """In the container's files: after the pivot, and before giving up rights."""
        process = self.process
        need_home = not any(entry.startswith(b"HOME=") for entry in process.env)
        self.who = identity.look_up(
            process.username, process.uid, process.gid, process.gids, process.groups, need_home
        )
        self.variables = finish.environment(process, self.who)
        if process.terminal:
            os.fchown(0, self.who.uid, -1)
        elif self.who.uid:
            finish.own_pipes(self.who.uid)

    def say_ready(self) -> None:
        """All that can fail has not: the container is "created"."""
        if self.console >= 0:
            socket.send_fds(self.channel, [READY], [self.console])
            os.close(self.console)
        else:
            os.write(self.channel.fileno(), READY)

    def wait_for_start(self) -> None:
        """Until the supervisor says so; an end of file is the supervisor's death, or a delete."""
        if os.read(self.channel.fileno(), 64) != START:
            os._exit(127)


class ContainerChild(Child):
    """The first process of a container."""

    def __init__(
        self,
        plan: Plan,
        channel: socket.socket,
        stdio: list[int],
        cgroup_files: list[int],
        cgroup_binds: list[tuple[str, str]],
    ) -> None:
        super().__init__(plan.process, channel, stdio, cgroup_files)
        self.plan = plan
        self.cgroup_binds = cgroup_binds
        self.rootfs = Rootfs(plan)

    def run(self) -> None:
        """See the module: the order is the point."""
        self.step = "signals"
        self.reset_signals()
        # Before anything of the image is looked at: nothing of the supervisor's is open then.
        self.step = "descriptors"
        self.take_descriptors()
        os.setsid()
        os.umask(0)
        self.step = "oom_score_adj"
        self.set_oom_score()
        # Before the cgroup namespace, whose root is where we then are.
        self.step = "cgroup"
        self.join_cgroup()
        if self.plan.own_cgroup_namespace:
            namespaces.unshare(namespaces.CLONE_NEWCGROUP)
        # Paths of the host: while the host's root is still ours.
        self.step = "namespaces"
        self.join_namespaces()
        # By the host's /proc/sys, which shows this process's own namespaces: not the image's files,
        # and before the container's copy is read-only.
        self.step = "sysctl"
        self.set_sysctls()
        self.step = "hostname"
        self.set_names()
        self.step = "root"
        self.rootfs.open()
        null = open_null()
        for mount in self.plan.mounts:
            self.step = f"mount {mount.destination}"
            self.rootfs.mount(mount, self.cgroup_binds)
        # After every mount, so that none hides them again.
        self.step = "masked paths"
        for path in self.plan.masked:
            self.rootfs.mask(path, null)
        for path in self.plan.readonly_paths:
            self.rootfs.make_readonly(path)
        # /dev/console is a mount, so before the pivot; the pty is of the devpts just mounted.
        self.step = "console"
        if self.process.terminal:
            self.make_console()
        self.step = "pivot_root"
        self.rootfs.pivot()
        self.close_all_but(self.channel.fileno(), self.console)
        self.forget_modules()
        self.step = "rlimits"
        finish.set_rlimits(self.process)
        self.step = "user"
        self.look_up_user()
        # As root, who may make it and enter it; checked to be inside the root.
        self.step = f"working directory {os.fsdecode(self.process.cwd)}"
        finish.enter_cwd(self.process.cwd)
        os.umask(self.process.umask)
        self.step = "capabilities"
        finish.become(self.process, self.who)
        self.say_ready()
        self.wait_for_start()
        self.step = "exec"
        if self.plan.init:
            # What stays at pid 1 is beside the program, which might trace it: it holds no more.
            processes.close_range(3, cloexec=True)
            if self.plan.filtered_init:
                finish.load_filter(self.process)
            init.split(self.channel, lambda: finish.keep_no_more(self.process))
        finish.execute(self.process, self.variables, filtered=self.plan.filtered_init)

    def join_namespaces(self) -> None:
        """Those that the spec names by a path, such as the sandbox's network."""
        for path, flag in self.plan.joins:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            namespaces.setns(fd, flag)
            os.close(fd)

    def set_sysctls(self) -> None:
        """Only such as belong to our namespaces: validate.py has seen to it."""
        for name, value in self.plan.sysctl:
            try:
                _write(f"/proc/sys/{name}", value)
            except FileNotFoundError:
                if not name.startswith("net/"):  # a kernel built without that protocol
                    raise

    def set_names(self) -> None:
        """Of the container's own UTS namespace."""
        own = self.plan.clone_flags & namespaces.CLONE_NEWUTS or any(
            flag == namespaces.CLONE_NEWUTS for _, flag in self.plan.joins
        )
        if own and self.plan.hostname:
            namespaces.set_hostname(self.plan.hostname)
        if own and self.plan.domainname:
            namespaces.set_domainname(self.plan.domainname)

    def make_console(self) -> None:
        """The pty, bound to /dev/console by descriptors only."""
        if self.rootfs.devpts < 0:
            raise OSError(errno.ENOENT, "process.terminal: the spec mounts no devpts")
        self.open_console(
            os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self.rootfs.devpts)
        )
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        tree = mounting.open_tree(0, b"", mounting.OPEN_TREE_CLONE | mounting.AT_EMPTY_PATH)
        place = self.rootfs.place(b"/dev/console", False)
        mounting.move_mount(tree, place)
        os.close(place)
        os.close(tree)


class ExecChild(Child):
    """A further process in a running container, made by one that nothing in there can see.

    The first one stays in the supervisor's pid namespace, gives up what it has of the host, enters
    everything else of the container and becomes who the program runs as. Only then its sibling is
    born into the container's pid namespace, which holds nothing that a process there with
    CAP_SYS_PTRACE could take (CVE-2016-9962). The kernel writes its pid into `handover`.
    """

    def __init__(
        self,
        process: ProcessPlan,
        channel: socket.socket,
        stdio: list[int],
        cgroup_files: list[int],
        container: int,
        namespace_flags: int,
        filtered: bool,
    ) -> None:
        super().__init__(process, channel, stdio, cgroup_files)
        self.container = container  # a pidfd of its first process
        self.namespace_flags = namespace_flags
        self.filtered = filtered
        self.handover = processes.Handover()

    def run(self) -> None:
        """As for the first process, but everything is there to be joined."""
        self.step = "signals"
        self.reset_signals()
        self.step = "descriptors"
        self.take_descriptors()
        self.step = "oom_score_adj"
        self.set_oom_score()
        # In the cgroup first: what is joined may never see us outside of its limits.
        self.step = "cgroup"
        self.join_cgroup()
        self.forget_modules()
        # The pid namespace among them, which takes our children and not us.
        self.step = "namespaces"
        namespaces.setns(self.container, self.namespace_flags)
        os.close(self.container)
        self.step = "console"
        if self.process.terminal:
            self.open_console(_container_ptmx())
        self.step = "rlimits"
        finish.set_rlimits(self.process)
        self.step = "user"
        self.look_up_user()
        self.step = f"working directory {os.fsdecode(self.process.cwd)}"
        finish.enter_cwd(self.process.cwd)
        os.umask(self.process.umask)
        self.step = "capabilities"
        finish.become(self.process, self.who)
        if self.console >= 0:
            self.say_ready()
        processes.close_range(3, cloexec=True)
        if self.filtered:
            self.step = "seccomp"
            finish.load_filter(self.process)
        self.step = "clone"
        if self.handover.clone_sibling() == 0:
            self._run_inside()

    def _run_inside(self) -> None:
        """What the program's own process has to do itself, and a filter may look at."""
        self.step = "session"
        try:
            os.setsid()
            if self.process.terminal:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        except PermissionError:
            if self.process.terminal:
                raise
        self.step = "exec"
        finish.execute(self.process, self.variables, filtered=self.filtered)

    def take_descriptors(self) -> None:
        """The container's pidfd is needed a moment longer."""
        self.cgroup_files.append(self.container)
        super().take_descriptors()
        self.cgroup_files.pop()


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


def _write(path: str, value: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value)
    except OSError as error:
        raise OSError(error.errno, f"{path} = {value.decode()}: {error.strerror}") from error
    finally:
        os.close(fd)
