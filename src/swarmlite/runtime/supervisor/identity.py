"""Who a process is: names looked up in the container's own files, as Docker's engine does.

The files belong to the image, so they are read with bounds and without following anything out of
the root: a FIFO, a device or a gigabyte in the place of /etc/passwd is an error, not a hang.
"""

from __future__ import annotations

import os
import stat

from swarmlite.kernel import paths
from swarmlite.runtime.oci.validate import MAX_ID

MAX_BYTES = 8 << 20


class IdentityError(Exception):
    """No such user or group; the text is for the user."""


def _lines(path: bytes) -> list[list[str]]:
    """The file's lines, split at colons; none if it is missing."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        resolve = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS
        fd = paths.openat2(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve)
    except FileNotFoundError:
        return []
    finally:
        os.close(root)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise IdentityError(f"{os.fsdecode(path)} in the image is not a file")
        data = b""
        while len(data) <= MAX_BYTES and (block := os.read(fd, 1 << 18)):
            data += block
    finally:
        os.close(fd)
    if len(data) > MAX_BYTES:
        raise IdentityError(f"{os.fsdecode(path)} in the image is above {MAX_BYTES >> 20} MiB")
    return [line.split(":") for line in data.decode("utf-8", "replace").splitlines()]


def _number(text: str) -> int | None:
    """An id of digits only; raises IdentityError when it is out of range."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > MAX_ID:
        raise IdentityError(f"ids must be between 0 and {MAX_ID}, and {text[:40]} is not")
    return int(text)


def _id(text: str) -> int | None:
    try:
        return _number(text)
    except IdentityError:
        return None


class Identity:
    """uid, gid, additional groups, and the home directory for HOME."""

    def __init__(self, uid: int, gid: int, gids: list[int], home: str) -> None:
        self.uid, self.gid, self.gids, self.home = uid, gid, gids, home


def look_up(
    username: str | None, uid: int, gid: int, gids: list[int], groups: list[str], need_home: bool
) -> Identity:
    """From a USER ("", "name", "uid", "name:group", "uid:gid"), or from the numbers as they are."""
    home = "/"
    gids = list(gids)
    if username:
        user, _, group = username.partition(":")
        uid, gid, home, name = _user(user or "0")
        if group:
            gid = _group(group)
        elif name:
            gids += [
                number
                for line in _lines(b"/etc/group")
                if len(line) >= 4
                and name in line[3].split(",")
                and (number := _id(line[2])) is not None
            ]
    elif need_home:
        for line in _lines(b"/etc/passwd"):
            if len(line) >= 6 and _id(line[2]) == uid:
                home = line[5] or "/"
                break
    if username:
        # The kernel asks a file's group first: who is in it by no more than the name of its user
        # must not escape what it is denied (CVE-2022-36109).
        gids.insert(0, gid)
    gids += [_group(group) for group in groups]
    return Identity(uid, gid, list(dict.fromkeys(gids)), home)


def _user(user: str) -> tuple[int, int, str, str | None]:
    """uid, gid, home and name of the first line with this name or number."""
    number = None
    if user.isdigit():
        number = _number(user)
    for line in _lines(b"/etc/passwd"):
        if len(line) >= 6 and (line[0] == user or (number is not None and _id(line[2]) == number)):
            uid, gid = _id(line[2]), _id(line[3])
            if uid is not None and gid is not None:
                return uid, gid, line[5] or "/", line[0]
    if number is not None:
        return number, 0, "/", None
    raise IdentityError(f"unable to find user {user}: no matching entries in passwd file")


def _group(group: str) -> int:
    for line in _lines(b"/etc/group"):
        if len(line) >= 3 and (line[0] == group or line[2] == group):
            number = _id(line[2])
            if number is not None:
                return number
    number = _number(group)
    if number is None:
        raise IdentityError(f"unable to find group {group}: no matching entries in group file")
    return number
