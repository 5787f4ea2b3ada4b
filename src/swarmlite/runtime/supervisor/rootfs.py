"""The container's file system, made by the child in its own mount namespace.

No path of the image is ever used twice: a place is opened once, with openat2 inside the root
(RESOLVE_IN_ROOT), checked, and mounts are attached to that descriptor. So a link in the image, or
one that another container swaps in a shared volume meanwhile, leads nowhere but inside the root,
and /proc, /sys and /dev may hold none at all. What a mount reaches is judged, not what it is
called: a link cannot put a volume over /proc, nor over the root itself.
"""

from __future__ import annotations

import errno
import os
import stat

from swarmlite.kernel import mounting, paths
from swarmlite.kernel.mounting import AT_EMPTY_PATH, OPEN_TREE_CLONE
from swarmlite.runtime.oci.mounts import Mount
from swarmlite.runtime.supervisor import devices, layers
from swarmlite.runtime.supervisor.kits import KINDS, SHOWN, Key, Kit
from swarmlite.runtime.supervisor.plan import Plan

IN_ROOT = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS
STRICT = IN_ROOT | paths.RESOLVE_NO_SYMLINKS
SYSTEM = (b"proc", b"sys", b"dev")
SHM = "/dev/shm"
#: What a container has there anyway: place -> kinds
OWN_PLACES = {
    "/proc": {"proc"},
    "/sys": {"sysfs"},
    "/dev": {"tmpfs"},
    "/dev/pts": {"devpts"},
    "/dev/mqueue": {"mqueue"},
    SHM: {"tmpfs"},
    "/sys/fs/cgroup": {"cgroup", "cgroup2"},
}
MAX_LINKS = 40
#: What hides a directory: kind, options, attributes.
MASK: tuple[str, layers.Data, int] = (
    "tmpfs",
    [(b"size", b"0"), (b"nr_inodes", b"2"), (b"source", b"tmpfs")],
    mounting.MOUNT_ATTR_RDONLY,
)


def filesystem_of(mount: Mount) -> tuple[str, layers.Data, int]:
    """What a mount that is no bind makes: kind, options, attributes."""
    attributes = mount.attributes | mount.deep
    if mount.kind == "cgroup":
        # made read-only at the end, once the hierarchies hang in it
        options: layers.Data = [(b"source", mount.source), (b"mode", b"755")]
        return "tmpfs", options, attributes & ~mounting.MOUNT_ATTR_RDONLY
    return mount.kind, [(b"source", mount.source), *mount.data], attributes


def is_own_dev(mount: Mount) -> bool:
    """Whether it is a new /dev, which gets the nodes of every container."""
    return mount.destination == "/dev" and mount.kind == "tmpfs"


def kit_of(plan: Plan) -> list[Key]:
    """What can be made ahead for a plan like this one."""
    keys: list[Key] = []
    for mount in plan.mounts:
        kind, options, attributes = filesystem_of(mount)
        own_dev = is_own_dev(mount)
        if kind in (*KINDS, *SHOWN) and not (own_dev and plan.devices):
            keys.append((own_dev, kind, tuple(options), attributes))
    if plan.masked:
        keys.append((False, MASK[0], tuple(MASK[1]), MASK[2]))
    return keys


class Rootfs:
    """Descriptors of the root being made: the root itself, and of its devpts if it has one.

    `prepare` runs with the host's powers, the rest may run in a user namespace without them.
    """

    def __init__(self, plan: Plan, kit: Kit | None = None) -> None:
        self.plan = plan
        self._kit = kit
        self.root = -1
        self.devpts = -1
        self._root_path = ""  # as this mount namespace shows it
        self.proc_pid_namespace = -1  # whose processes a new /proc shows; the maker's own if none
        self._masks = -1
        self._dev = -1
        self._devices_left = list(plan.devices)
        self._made: dict[int, tuple[int, bool]] = {}
        self._cgroups: list[tuple[str, int]] = []
        self._shared: set[int] = set()
        self._taken: set[str] = set()

    def prepare(self, cgroup_binds: list[tuple[str, str]], user_namespace: int) -> None:
        """What takes the host's own powers: the layers, sources of binds, ids shown otherwise."""
        plan = self.plan
        for number, mount in enumerate(plan.mounts):
            # Before everything becomes a slave: what is mounted there later is to go both ways.
            shared = mount.propagation == mounting.MS_SHARED
            if mount.kind == "bind" and (shared or mount.idmap or plan.namespaces.own("user")):
                tree = layers.bind_tree(mount, user_namespace)
                self._made[number] = tree, stat.S_ISDIR(os.fstat(tree).st_mode)
        # Nothing that follows may show on the host.
        mounting.mount(None, b"/", None, mounting.MS_REC | mounting.MS_SLAVE, b"")
        self._keep_shared()
        if plan.namespaces.own("user"):
            self._make_what_hosts_own()
        if any(mount.kind == "cgroup" for mount in plan.mounts):
            self._cgroups = [(name, layers.clone(path.encode())) for name, path in cgroup_binds]
        if plan.overlay:
            options = plan.overlay
            if plan.overlay_idmap:
                options = layers.idmapped(options, plan.root, user_namespace)
                if plan.namespaces.root_ids is not None:
                    layers.give_upper(options, *plan.namespaces.root_ids)
            layers.mount_overlay(options, plan.root)
        elif self.root >= 0:
            place = os.open(plan.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            mounting.move_mount(self.root, place)
            os.close(place)
        else:
            mounting.mount(plan.root, plan.root, None, mounting.MS_BIND | mounting.MS_REC, b"")
        # By this working directory a child in another mount namespace finds its copy of it.
        os.chdir(plan.root)

    def _keep_shared(self) -> None:
        """Attach binds that stay shared where nobody sees them: what is mounted later is a copy.

        The mounts of a container are listed in the order in which they were made, and that is to
        be the spec's.
        """
        shared = [n for n in self._made if self.plan.mounts[n].propagation == mounting.MS_SHARED]
        if not shared or self.plan.namespaces.own("user"):
            return
        if not self.plan.overlay:  # what the holder is about to cover
            flags = OPEN_TREE_CLONE | mounting.AT_RECURSIVE
            self.root = mounting.open_tree(mounting.AT_FDCWD, self.plan.root, flags)
        data: layers.Data = [(b"mode", b"700"), (b"source", b"tmpfs")]
        holder = mounting.new_filesystem(b"tmpfs", data, 0)
        below = os.open(self.plan.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mounting.move_mount(holder, below)
        for number in shared:
            tree, is_directory = self._made[number]
            _make_entry(holder, str(number).encode(), is_directory)
            place = paths.openat2(holder, str(number).encode(), os.O_PATH, STRICT)
            mounting.move_mount(tree, place)
            os.close(place)
            self._shared.add(number)
        os.close(holder)
        os.close(below)

    def _make_what_hosts_own(self) -> None:
        """Views of namespaces that are not of the container's user namespace: root there cannot."""
        spaces = self.plan.namespaces
        needs = {"sysfs": "network", "mqueue": "ipc", "proc": "pid"}
        for number, mount in enumerate(self.plan.mounts):
            kind = needs.get(mount.kind)
            if kind is not None and kind not in spaces.new:
                self._made[number] = self._filesystem(mount), True

    def open(self) -> None:
        """The root that `prepare` has made, as a mount of this mount namespace's own."""
        if not self.plan.namespaces.own("user"):
            self.root = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            return
        # What was inherited from a stronger namespace is locked: pivot_root wants one that is not.
        below = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = OPEN_TREE_CLONE | mounting.AT_RECURSIVE | AT_EMPTY_PATH
        self.root = mounting.open_tree(below, b"", flags)
        mounting.move_mount(self.root, below)
        os.close(below)

    def mount(self, number: int) -> None:
        """One mount of the spec."""
        mount = self.plan.mounts[number]
        tree, is_directory = self._made.pop(number, (-1, True))
        if number in self._shared:
            kept, recursive = tree, mounting.AT_RECURSIVE if mount.recursive else 0
            tree = mounting.open_tree(kept, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH | recursive)
            os.close(kept)
        elif tree < 0:
            tree, is_directory = self._tree(mount)
        try:
            target = self.place(os.fsencode(mount.destination), is_directory)
            try:
                self._judge(mount, tree, target)
                mounting.move_mount(tree, target)
            finally:
                os.close(target)
            if mount.kind == "cgroup":
                self._fill_cgroup(tree, mount)
            if mount.kind == "devpts":
                self.devpts = os.dup(tree)
            if mount.destination == "/dev":
                self._dev = os.dup(tree)
        finally:
            os.close(tree)

    def _judge(self, mount: Mount, tree: int, target: int) -> None:
        """By the place that was reached: links of the image may have led there."""
        reached = os.readlink(f"/proc/self/fd/{target}")  # noqa: PTH115
        if not self._root_path or not reached.startswith(self._root_path):
            self._root_path = os.readlink(f"/proc/self/fd/{self.root}")  # noqa: PTH115
        place = reached.removeprefix(self._root_path)
        if not place:
            raise OSError(errno.EPERM, f"{mount.destination} leads to the root itself")
        if os.fsencode(place.split("/")[1]) not in SYSTEM:
            return
        if place != mount.destination:
            raise OSError(errno.EPERM, f"{mount.destination} leads to {place} of the container")
        if place == "/proc" and mount.kind != "proc" and not _is_proc(tree):
            # An image's VOLUME can ask for that: no masks or labels would hold (CVE-2019-16884)
            raise OSError(errno.EPERM, "/proc of a container must be a proc file system")
        allowed = self.plan.allowed_system_mounts
        own = mount.kind in OWN_PLACES.get(place, ()) and place not in self._taken
        self._taken.add(place)
        if allowed is not None and not own and place not in allowed:
            raise OSError(errno.EPERM, f"{place} is the container's own: nothing may cover it")

    def _tree(self, mount: Mount) -> tuple[int, bool]:
        """The mount, made but not attached, and whether it is a directory."""
        if mount.kind == "bind":
            tree = layers.bind_tree(mount, -1)
            return tree, stat.S_ISDIR(os.fstat(tree).st_mode)
        if is_own_dev(mount):
            tree = -1 if self.plan.devices else self._filesystem(mount, ready_dev=True)
            if tree < 0:
                tree = self._filesystem(mount)
                self._devices_left = devices.populate(tree, self.plan.devices)
            if all(other.destination != SHM for other in self.plan.mounts):
                os.rmdir("shm", dir_fd=tree)  # --ipc none: who looks for one is to find none
        else:
            tree = self._filesystem(mount)
        return tree, not mount.subdir or stat.S_ISDIR(os.fstat(tree).st_mode)

    def _filesystem(self, mount: Mount, *, ready_dev: bool = False) -> int:
        """`ready_dev`: one with its nodes, or -1."""
        kind, data, attributes = filesystem_of(mount)
        if kind == "proc" and self.proc_pid_namespace >= 0:
            return layers.proc_of(self.proc_pid_namespace, data, attributes)
        if kind == "overlay":
            tree = layers.overlay(data, attributes, self.plan.root)
        else:
            tree = self._new(kind, data, attributes, ready_dev)
        if mount.subdir and tree >= 0:
            tree = layers.part_of(tree, mount.subdir, self.plan.root)
        if mount.propagation and tree >= 0:
            mounting.mount_setattr(tree, b"", AT_EMPTY_PATH, 0, 0, mount.propagation)
        return tree

    def _new(self, kind: str, data: layers.Data, attributes: int, ready_dev: bool = False) -> int:
        ready = -1
        if self._kit is not None:
            ready = self._kit.take(ready_dev, kind, data, attributes)
        if ready >= 0 or ready_dev:
            return ready
        return mounting.new_filesystem(kind.encode(), data, attributes)

    def _fill_cgroup(self, tree: int, mount: Mount) -> None:
        """Show the container only its own groups: with its cgroup namespace they are the roots."""
        for name, bind in self._cgroups:
            mounting.mount_setattr(bind, b"", AT_EMPTY_PATH, mount.attributes)
            if name:
                os.mkdir(name, 0o755, dir_fd=tree)
                target = paths.openat2(tree, name.encode(), os.O_PATH, STRICT)
            else:
                target = os.dup(tree)
            mounting.move_mount(bind, target)
            os.close(target)
            os.close(bind)
        self._cgroups = []
        mounting.mount_setattr(tree, b"", AT_EMPTY_PATH, mount.attributes)

    def make_devices(self) -> None:
        """Those that a new /dev could not take with it; all where the spec mounts none."""
        dev_kinds = [m.kind for m in self.plan.mounts if m.destination == "/dev"]
        if not dev_kinds and self._existing(b"/dev") >= 0:
            dev = self.place(b"/dev", True)
            try:
                devices.complete(dev)
            finally:
                os.close(dev)
        if "bind" in dev_kinds:
            return  # the host's own, in which nothing is made
        for device in self._devices_left:
            devices.make_at(device, self.place)

    def place(self, path: bytes, directory: bool) -> int:
        """Open a mount's place in the root (O_PATH), making what is missing.

        Raises OSError: ELOOP for a link in /proc, /sys or /dev, ENOTDIR or EISDIR when what is
        there is not what the mount is.
        """
        resolve = STRICT if path.split(b"/", 2)[1] in SYSTEM else IN_ROOT
        try:
            fd = paths.openat2(self.root, path, os.O_PATH, resolve)
        except FileNotFoundError:
            fd = self._make(path, directory, resolve)
        except OSError as error:
            if resolve == STRICT and error.errno == errno.ELOOP:
                raise OSError(
                    errno.ELOOP, f"{os.fsdecode(path)} in the image leads through a symbolic link"
                ) from error
            raise
        if stat.S_ISDIR(os.fstat(fd).st_mode) != directory:
            os.close(fd)
            what = "a directory on a file" if directory else "a file on a directory"
            code = errno.ENOTDIR if directory else errno.EISDIR
            raise OSError(code, f"{os.fsdecode(path)}: cannot mount {what}")
        return fd

    def _make(self, path: bytes, directory: bool, resolve: int) -> int:
        """Walk to `path`, one name at a time, making each that is missing.

        Every directory on the way stays open, so that `..` in a link is the one we came through,
        and the root's own parent is the root.
        """
        todo = [part for part in path.split(b"/") if part]
        way, links = [os.dup(self.root)], 0
        try:
            while todo:
                name = todo.pop(0)
                if name == b"..":
                    if len(way) > 1:
                        os.close(way.pop())
                    continue
                if not _exists(way[-1], name):
                    _make_entry(way[-1], name, bool(todo) or directory)
                flags = os.O_PATH | os.O_NOFOLLOW
                below = paths.openat2(way[-1], name, flags, paths.RESOLVE_BENEATH)
                if not stat.S_ISLNK(os.fstat(below).st_mode):
                    way.append(below)
                    continue
                target = os.readlink(b"", dir_fd=below)
                os.close(below)
                links += 1
                if links > MAX_LINKS or resolve == STRICT:
                    raise OSError(errno.ELOOP, f"{os.fsdecode(path)}: a symbolic link in the way")
                todo[:0] = [part for part in target.split(b"/") if part not in (b"", b".")]
                while target.startswith(b"/") and len(way) > 1:
                    os.close(way.pop())
            return way.pop()
        finally:
            for fd in way:
                os.close(fd)

    def mask(self, path: bytes, null: int) -> None:
        """Hide a path: a file behind /dev/null, a directory behind an empty, read-only one."""
        target = self._existing(path)
        if target < 0:
            return
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            tree = mounting.open_tree(null, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH)
        elif self._masks < 0:
            tree = self._new(*MASK)
            self._masks = os.dup(tree)
        else:
            tree = mounting.open_tree(self._masks, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH)
        mounting.move_mount(tree, target)
        os.close(tree)
        os.close(target)

    def make_readonly(self, path: bytes) -> None:
        """Put a read-only copy of a path over it."""
        target = self._existing(path)
        if target < 0:
            return
        flags = AT_EMPTY_PATH | mounting.AT_RECURSIVE
        tree = mounting.open_tree(target, b"", OPEN_TREE_CLONE | flags)
        mounting.mount_setattr(tree, b"", flags, mounting.MOUNT_ATTR_RDONLY)
        mounting.move_mount(tree, target)
        os.close(tree)
        os.close(target)

    def _existing(self, path: bytes) -> int:
        try:
            return paths.openat2(self.root, path, os.O_PATH, STRICT)
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def pivot(self) -> None:
        """Make it the root, and let the host's go."""
        if self.plan.readonly:
            mounting.mount_setattr(self.root, b"", AT_EMPTY_PATH, mounting.MOUNT_ATTR_RDONLY)
        os.fchdir(self.root)
        # The old root lands over the new one, and "." names it: no directory for it is needed.
        mounting.pivot_root(b".", b".")
        # Our own slave, which must not tell the host of its end.
        mounting.umount(b".", mounting.MNT_DETACH)
        os.chdir(b"/")
        if self.plan.root_propagation:
            mounting.mount(None, b"/", None, self.plan.root_propagation, b"")


def _is_proc(tree: int) -> bool:
    """Whether a mount is the host's own /proc."""
    return os.fstat(tree).st_dev == os.stat("/proc").st_dev  # noqa: PTH116


def open_null() -> int:
    """The host's own /dev/null, checked to be that."""
    fd = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.fstat(fd).st_rdev != os.makedev(1, 3):
        raise OSError(errno.EINVAL, "the host's /dev/null is not the null device")
    return fd


def _exists(directory: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_entry(directory: int, name: bytes, is_directory: bool) -> None:
    """A directory, or an empty file to mount on."""
    if is_directory:
        os.mkdir(name, 0o755, dir_fd=directory)
        return
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    os.close(os.open(name, flags, 0o644, dir_fd=directory))
