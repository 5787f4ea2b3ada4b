"""The options of Docker's local driver (type, o, device) as what mount(2) takes.

Source: mount(2), mount(8) for the names of the flags, nfs(5) for `addr`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from swarmlite.errors import FailedPrecondition, InvalidSpec

KNOWN = frozenset({"type", "o", "device"})
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "glusterfs", "lustre"})
"""File systems whose mount waits for another host, maybe for ever."""
_PAGE_BYTES = 4095
_BIND, _REC, _RDONLY = 4096, 16384, 1
#: name: the flag of linux/mount.h, and whether the name sets it
_FLAGS = {
    "defaults": (0, True), "ro": (_RDONLY, True), "rw": (_RDONLY, False),
    "nosuid": (2, True), "suid": (2, False), "nodev": (4, True), "dev": (4, False),
    "noexec": (8, True), "exec": (8, False), "sync": (16, True), "async": (16, False),
    "mand": (64, True), "nomand": (64, False), "dirsync": (128, True),
    "noatime": (1024, True), "atime": (1024, False),
    "nodiratime": (2048, True), "diratime": (2048, False),
    "bind": (_BIND, True), "rbind": (_BIND | _REC, True),
    "relatime": (1 << 21, True), "norelatime": (1 << 21, False),
    "strictatime": (1 << 24, True), "nostrictatime": (1 << 24, False),
    "lazytime": (1 << 25, True), "nolazytime": (1 << 25, False),
}  # fmt: skip
_PROPAGATION = {
    "unbindable": 1 << 17, "runbindable": 1 << 17 | _REC,
    "private": 1 << 18, "rprivate": 1 << 18 | _REC,
    "slave": 1 << 19, "rslave": 1 << 19 | _REC,
    "shared": 1 << 20, "rshared": 1 << 20 | _REC,
}  # fmt: skip


@dataclass(frozen=True)
class MountCall:
    """The arguments of mount(2), and of the calls after it (0: none of that kind)."""

    source: str
    kind: str
    flags: int = 0
    data: str = ""
    remount: int = 0
    """A bind mount takes its flags by a second call."""
    propagation: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For a process of its own."""
        return asdict(self)


def check(options: Mapping[str, str]) -> None:
    """Raises InvalidSpec for what can never be mounted."""
    if unknown := sorted(set(options) - KNOWN):
        raise InvalidSpec(f"unknown volume option {unknown[0]!r}: expected type, o or device")
    if not any(options.values()):
        return
    for name in ("type", "device"):
        if not options.get(name):
            raise InvalidSpec(f"volume options lack {name!r}: both type and device are needed")
    if any("\0" in value for value in options.values()):
        raise InvalidSpec("a volume option may not hold a NUL")
    call = _call(options, lambda name: name)
    if len(call.data.encode()) > _PAGE_BYTES:
        raise InvalidSpec(f"the volume's mount options are longer than {_PAGE_BYTES} bytes")
    if call.flags & _BIND and not call.source.startswith("/"):
        raise InvalidSpec(f"a bind's device must be an absolute path, not {call.source!r}")


def mount_call(options: Mapping[str, str]) -> MountCall:
    """What to mount, with the names of hosts resolved. Blocks. Raises FailedPrecondition."""
    return _call(options, _resolved)


def _call(options: Mapping[str, str], resolve: Callable[[str], str]) -> MountCall:
    kind, source = options["type"], options["device"]
    flags, propagation = 0, 0
    data: list[str] = []
    for word in options.get("o", "").split(","):
        if word in _FLAGS:
            flag, sets = _FLAGS[word]
            flags = flags | flag if sets else flags & ~flag
        elif word in _PROPAGATION:
            propagation = _PROPAGATION[word]
        elif word:
            data.append(word)
    if kind in NETWORK:
        data = _addressed(source, data, resolve)
    remount = 0
    if flags & _BIND and flags & ~(_BIND | _REC):
        remount = flags & ~_REC
        flags &= _BIND | _REC
    return MountCall(source, kind, flags, ",".join(data), remount, propagation)


def _addressed(source: str, data: list[str], resolve: Callable[[str], str]) -> list[str]:
    """`addr=` as an address: the kernel resolves no names, and mount.nfs is not asked to."""
    found = []
    named = False
    for word in data:
        key, _, value = word.partition("=")
        if key == "addr" and value:
            word, named = f"addr={resolve(value)}", True
        found.append(word)
    if not named and (host := _host(source)):
        found.append(f"addr={resolve(host)}")
    return found


def _host(source: str) -> str:
    """HOST of HOST:/path or [IPv6]:/path, or of //HOST/share."""
    if source.startswith("//"):
        return source[2:].partition("/")[0]
    if source.startswith("["):
        return source[1:].partition("]")[0]
    host, colon, path = source.partition(":")
    return host if colon and path.startswith("/") else ""


def _resolved(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        why = error.strerror or str(error)
        raise FailedPrecondition(f"the host {name!r} cannot be resolved: {why}") from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])
