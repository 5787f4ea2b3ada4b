"""The first process of a container: namespaces, root, and everything before its program."""

from __future__ import annotations

import errno
import fcntl
import os

from swarmlite.kernel import mounting, namespaces, processes
from swarmlite.runtime import lean
from swarmlite.runtime.oci.namespaces import FLAGS
from swarmlite.runtime.supervisor import finish, init
from swarmlite.runtime.supervisor.child import (
    START,
    TIOCSCTTY,
    Child,
    become_root_here,
    new_session,
    write,
)
from swarmlite.runtime.supervisor.kits import Kit
from swarmlite.runtime.supervisor.plan import Plan, ProcessPlan
from swarmlite.runtime.supervisor.rootfs import Rootfs, open_null

NO_PROCESS = "config.json has no process to start"


class ContainerChild(Child):
    """From clone to exec.

    Where a user or time namespace is new, or a pid namespace is joined, this process only prepares
    (`plan.staged`): its sibling is the container's. In a pid namespace with others in it that
    sibling is born last, as in ExecChild.
    """

    def __init__(
        self,
        plan: Plan,
        channel: lean.Socket,
        stdio: list[int],
        cgroup_files: list[int],
        cgroup_binds: list[tuple[str, str]],
        kit: Kit | None = None,
    ) -> None:
        handover = processes.Handover() if plan.staged else None
        super().__init__(plan.process, channel, stdio, cgroup_files, handover)
        self.plan = plan
        self.spaces = plan.namespaces
        self.cgroup_binds = cgroup_binds
        self.kit = kit
        self.rootfs = Rootfs(plan, kit)
        self.user_namespace = self.mount_namespace = -1

    def run(self) -> None:
        """See the module `child`: the order is the point."""
        self.step = "signals"
        self.reset_signals()
        # Before anything of the image is looked at: nothing of the parent's is open then.
        self.step = "descriptors"
        self.take_descriptors(*self.kept())
        os.umask(0)
        self.step = "oom_score_adj"
        self.set_oom_score()
        self.step = "security label"
        if self.process is not None:
            self.set_labels(self.process)
        # Before the cgroup namespace, whose root is where we then are.
        self.step = "cgroup"
        self.join_cgroup()
        # Paths of the host: while the host's root is still ours.
        self.step = "namespaces"
        joined = self.open_joined()
        self.make_user_namespace(joined)
        if self.plan.staged and "mount" in self.spaces.new:
            namespaces.unshare(namespaces.CLONE_NEWNS)
        self.join(joined)
        self.set_clocks()
        # By the host's /proc/sys, which shows this process's own namespaces: not the image's files,
        # and before the container's copy is read-only.
        self.step = "sysctl"
        self.set_sysctls(self.spaces.joined)
        self.step = "root"
        if "mount" in self.spaces.new:
            self.rootfs.prepare(self.cgroup_binds, self.user_namespace)
        self.step = "namespaces"
        if not self.plan.staged or not self.leave_the_host(joined):
            self.set_up()

    def kept(self) -> list[int]:
        """Descriptors that are needed beside the channel."""
        return [] if self.kit is None else self.kit.descriptors()

    def open_joined(self) -> dict[str, int]:
        """Those that the spec names by a path, such as the sandbox's network."""
        return {
            kind: os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            for kind, path in self.spaces.paths.items()
        }

    def make_user_namespace(self, joined: dict[str, int]) -> None:
        """A descriptor of the container's, new or joined; entered later."""
        if "user" in self.spaces.new:
            self.user_namespace = namespaces.make_user_namespace(
                self.spaces.uid_map, self.spaces.gid_map
            )
        elif "user" in joined:
            self.user_namespace = joined.pop("user")

    def join(self, joined: dict[str, int]) -> None:
        """All but the mount namespace, from which the rest would not be seen, and the user's."""
        for kind, fd in joined.items():
            if kind == "mount":
                self.mount_namespace = fd
                continue
            namespaces.setns(fd, FLAGS[kind])
            if kind == "pid":
                self.rootfs.proc_pid_namespace = fd
            else:
                os.close(fd)

    def set_clocks(self) -> None:
        """Offsets of a new time namespace, which our children are born into."""
        if "time" in self.spaces.new:
            namespaces.unshare(namespaces.CLONE_NEWTIME)
            if self.spaces.clocks:
                write("/proc/self/timens_offsets", self.spaces.clocks)

    def leave_the_host(self, joined: dict[str, int]) -> bool:
        """Into the user namespace and the new ones; True in the process whose work is then done."""
        if self.user_namespace >= 0:
            namespaces.setns(self.user_namespace, namespaces.CLONE_NEWUSER)
            become_root_here()
        if "pid" in joined:
            # The sibling comes last: here everything is prepared unseen.
            flags = self.spaces.flags("user", "time", "cgroup", "pid")
            if self.user_namespace < 0:
                flags &= ~namespaces.CLONE_NEWNS  # it is our own already
            namespaces.unshare(flags)
            return False
        flags = self.spaces.flags("user", "time", "cgroup")
        if self.user_namespace < 0:
            flags &= ~namespaces.CLONE_NEWNS
        return self.handover.clone_sibling(flags) != 0

    def set_up(self) -> None:
        """The rest, in the namespaces of the container."""
        late = "pid" in self.spaces.joined
        if not late:
            os.setsid()
        self.step = "namespaces"
        if "cgroup" in self.spaces.new:
            namespaces.unshare(namespaces.CLONE_NEWCGROUP)
        self.step = "sysctl"
        self.set_sysctls(self.spaces.new)
        self.step = "hostname"
        self.set_names()
        if "mount" in self.spaces.new:
            self.set_up_root()
        elif self.mount_namespace >= 0:
            # one that others have made: its root is ours then
            self.step = "namespaces"
            namespaces.setns(self.mount_namespace, namespaces.CLONE_NEWNS)
        else:
            self.step = "root"
            os.chroot(self.plan.root)
            os.chdir("/")
        self.kit = None
        self.say_pages()
        self.close_all_but(self.channel.fileno(), self.console, *self.kept())
        self.forget_modules()
        if self.process is not None:
            self.become(self.process)
        if late and self.be_born_late():
            return
        self.say_ready()
        if not self.plan.begins:
            self.wait_for_start()
        self.step = "exec"
        self.execute(self.process, late)

    def set_up_root(self) -> None:
        """Mounts, devices and masks, and the pivot into it."""
        self.step = "root"
        self.rootfs.open()
        null = open_null()
        for number, mount in enumerate(self.plan.mounts):
            self.step = f"mount {mount.destination}"
            self.rootfs.mount(number)
        self.step = "devices"
        self.rootfs.make_devices()
        # After every mount, so that none hides them again.
        self.step = "masked paths"
        for path in self.plan.masked:
            self.rootfs.mask(path, null)
        for path in self.plan.readonly_paths:
            self.rootfs.make_readonly(path)
        # /dev/console is a mount, so before the pivot; the pty is of the devpts just mounted.
        self.step = "console"
        if self.process is not None and self.process.terminal:
            self.make_console(self.process)
        self.before_pivot()
        self.step = "pivot_root"
        self.rootfs.pivot()

    def before_pivot(self) -> None:
        """Where hooks run that see both the container's namespaces and the host's files."""

    def be_born_late(self) -> bool:
        """Into the joined pid namespace, holding nothing more; True in who made it."""
        assert self.process is not None
        processes.close_range(3 + self.process.preserved, cloexec=True)
        if self.plan.filtered_late_birth:
            self.step = "seccomp"
            finish.load_filter(self.process)
        self.step = "clone"
        if self.handover.clone_sibling() != 0:
            return True
        self.step = "session"
        new_session(self.process.terminal)
        return False

    def wait_for_start(self) -> None:
        """Until the parent says so; an end of file is the parent's death, or a delete."""
        if os.read(self.channel.fileno(), 64) != START:
            os._exit(127)

    def execute(self, process: ProcessPlan | None, late: bool) -> None:
        """Become the program."""
        if process is None:
            raise OSError(errno.EINVAL, NO_PROCESS)
        filtered = self.plan.filtered_late_birth if late else self.plan.filtered_init
        if self.plan.init:
            # What stays at pid 1 is beside the program, which might trace it: it holds no more.
            processes.close_range(3 + process.preserved, cloexec=True)
            if filtered and not late:
                finish.load_filter(process)
            init.split(self.channel, lambda: finish.keep_no_more(process))
        finish.execute(process, self.variables, filtered=filtered)

    def set_sysctls(self, kinds: set[str]) -> None:
        """Those of namespaces of these kinds; validate.py lets no others in."""
        for name, value in self.plan.sysctl:
            if sysctl_kind(name) not in kinds:
                continue
            try:
                write(f"/proc/sys/{name}", value)
            except FileNotFoundError:
                if not name.startswith("net/"):  # a kernel built without that protocol
                    raise

    def set_names(self) -> None:
        """Of the container's own UTS namespace."""
        if self.plan.hostname:
            namespaces.set_hostname(self.plan.hostname)
        if self.plan.domainname:
            namespaces.set_domainname(self.plan.domainname)

    def make_console(self, process: ProcessPlan) -> None:
        """The pty, bound to /dev/console only by descriptors."""
        if self.rootfs.devpts < 0:
            raise OSError(errno.ENOENT, "process.terminal: the spec mounts no devpts")
        ptmx = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self.rootfs.devpts)
        self.open_console(ptmx, process)
        if "pid" not in self.spaces.joined:
            fcntl.ioctl(0, TIOCSCTTY, 0)
        tree = mounting.open_tree(0, b"", mounting.OPEN_TREE_CLONE | mounting.AT_EMPTY_PATH)
        place = self.rootfs.place(b"/dev/console", False)
        mounting.move_mount(tree, place)
        os.close(place)
        os.close(tree)


def sysctl_kind(name: str) -> str:
    """The kind of namespace that a sysctl, with slashes, belongs to."""
    if name.startswith("net/"):
        return "network"
    return "uts" if name in ("kernel/hostname", "kernel/domainname") else "ipc"
