"""System calls that Python 3.11 has no function for, through ctypes; each raises OSError.

Everything is looked up when the module is loaded, so that nothing is imported or resolved later, in
a child or inside a container. Sources: the man pages of the calls named, and linux/mount.h,
linux/openat2.h, linux/sched.h, linux/bpf.h for the layouts of their structures.
"""

from __future__ import annotations

import ctypes
import os
import struct

# PyDLL keeps the interpreter's lock over the call: a raw clone must return holding it in the child.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

MACHINE = os.uname().machine
_GENERIC = {  # the same numbers on every architecture
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437,
    "mount_setattr": 442,
}  # fmt: skip
_OWN = {
    "x86_64": {"pivot_root": 155, "capset": 126, "seccomp": 317, "bpf": 321, "setns": 308,
               "unshare": 272, "execveat": 322, "keyctl": 250},
    "aarch64": {"pivot_root": 41, "capset": 91, "seccomp": 277, "bpf": 280, "setns": 268,
                "unshare": 97, "execveat": 281, "keyctl": 219},
}  # fmt: skip
NUMBERS = {**_GENERIC, **_OWN.get(MACHINE, {})}

CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17

MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 14, 1 << 17, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW = -100, 0x1000, 0x8000, 0x100
OPEN_TREE_CLONE = 1
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_NODIRATIME = (
    0x70, 0x10, 0x20, 0x80,
)  # fmt: skip
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 1, 2, 4
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 8, 16
O_PATH = os.O_PATH
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP = 1, 4, 8, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_SET_NAME = 36, 38, 47, 15
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
SECCOMP_SET_MODE_FILTER = 1
BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE = 5, 8, 15, 6
BPF_F_ALLOW_MULTI = 2
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6

_mount = _libc.mount
_mount.argtypes = [*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p]
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_umount2 = _libc.umount2
_umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]


class FilterProgram(ctypes.Structure):
    """struct sock_fprog: the length in instructions and where they lie."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _call(name: str, *arguments: object) -> int:
    return _check(_syscall(NUMBERS[name], *arguments), name)


def clone(flags: int, cgroup_fd: int = -1) -> int:
    """fork with new namespaces, into the v2 cgroup of `cgroup_fd` if given; 0 in the child."""
    if cgroup_fd >= 0:
        flags |= CLONE_INTO_CGROUP
    # struct clone_args: flags, pidfd, two tids, exit_signal, stack (3), tid sets (2), cgroup
    arguments = struct.pack(
        "=11Q", flags, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, cgroup_fd if cgroup_fd >= 0 else 0
    )
    return _call("clone3", arguments, ctypes.c_size_t(len(arguments)))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones."""
    _call("unshare", ctypes.c_ulong(flags))


def setns(fd: int, flags: int) -> None:
    """Join the namespace of `fd`, or those named by `flags` of a pidfd."""
    _call("setns", fd, flags)


def pidfd_open(pid: int) -> int:
    """A descriptor of a process."""
    return _call("pidfd_open", pid, 0)


def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes) -> None:
    """mount(2)."""
    _check(_mount(source, target, kind, flags, data or None), "mount")


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_umount2(target, flags), "umount")


def pivot_root(new: bytes, old: bytes) -> None:
    """pivot_root(2)."""
    _call("pivot_root", new, old)


def openat2(directory: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """open with rules for links on the way; see openat2(2)."""
    how = struct.pack("=3Q", flags | os.O_CLOEXEC, mode, resolve)
    return _call("openat2", directory, path, how, ctypes.c_size_t(24))


def open_tree(directory: int, path: bytes, flags: int) -> int:
    """With OPEN_TREE_CLONE: a detached copy of a mount, to be attached with move_mount."""
    return _call("open_tree", directory, path, ctypes.c_uint(flags | os.O_CLOEXEC))


def move_mount(tree: int, target: int) -> None:
    """Attach a detached mount over what the descriptor `target` names: no path, so no link."""
    _call("move_mount", tree, b"", target, b"", ctypes.c_uint(0x4 | 0x40))  # F_ and T_EMPTY_PATH


def mount_setattr(
    directory: int, path: bytes, flags: int, set_: int, clear: int = 0, propagation: int = 0
) -> None:
    """Change a mount's attributes."""
    attributes = struct.pack("=4Q", set_, clear, propagation, 0)
    _call("mount_setattr", directory, path, ctypes.c_uint(flags), attributes, ctypes.c_size_t(32))


def new_filesystem(kind: bytes, options: list[tuple[bytes, bytes | None]], attributes: int) -> int:
    """A new, detached mount of file system `kind`; an option without a value is a flag."""
    context = _call("fsopen", kind, 1)
    try:
        for key, value in options:
            command = FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING
            _check(
                _syscall(NUMBERS["fsconfig"], context, command, key, value, 0),
                f"{kind.decode()} option {key.decode()}",
            )
        _call("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("fsmount", context, 1, ctypes.c_uint(attributes))
    finally:
        os.close(context)


def close_range(first: int, last: int = 0xFFFFFFFF, *, cloexec: bool = False) -> None:
    """Close, or mark close-on-exec, every descriptor in the range."""
    _call("close_range", ctypes.c_uint(first), ctypes.c_uint(last), 4 if cloexec else 0)


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """prctl(2)."""
    return _check(_prctl(option, a, b, c, d), "prctl")


def drop_bounding(keep: int, last: int) -> None:
    """Drop from the bounding set what is not in the mask `keep`, up to capability `last`."""
    for number in range(last + 1):
        if not keep >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets of this thread."""
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "=6I", effective & low, permitted & low, inheritable & low,
        effective >> high, permitted >> high, inheritable >> high,
    )  # fmt: skip
    _call("capset", header, data)


def load_filter(program: FilterProgram, flags: int) -> None:
    """Install a seccomp filter."""
    _call("seccomp", SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program))


def set_hostname(name: bytes) -> None:
    """sethostname(2)."""
    _check(_libc.sethostname(name, ctypes.c_size_t(len(name))), "sethostname")


def set_domainname(name: bytes) -> None:
    """setdomainname(2)."""
    _check(_libc.setdomainname(name, ctypes.c_size_t(len(name))), "setdomainname")


def execveat(fd: int, arguments: list[bytes], environment: list[bytes]) -> None:
    """Run the program that `fd` is."""
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)
    envp = (ctypes.c_char_p * (len(environment) + 1))(*environment, None)
    _call("execveat", fd, b"", argv, envp, AT_EMPTY_PATH)


def load_device_program(instructions: bytes) -> int:
    """Load an eBPF program of type CGROUP_DEVICE; its descriptor."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQIIQ", BPF_PROG_TYPE_CGROUP_DEVICE, len(instructions) // 8,
        ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0,
    )  # fmt: skip
    return _call("bpf", BPF_PROG_LOAD, attributes, len(attributes))


def attach_device_program(program: int, cgroup: int) -> None:
    """Attach it to a v2 cgroup, beside what its ancestors have."""
    attributes = struct.pack("=4I", cgroup, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)
    _call("bpf", BPF_PROG_ATTACH, attributes, len(attributes))
