"""--chown and --chmod: names looked up in the files of the image, symbolic modes."""

from __future__ import annotations

import os
import re

from swarmlite.build.copying import Mode
from swarmlite.build.dockerfile import literals
from swarmlite.errors import FailedPrecondition
from swarmlite.kernel.paths import open_in_root

_MAX_BYTES = 4 << 20
_MAX_ID = (1 << 31) - 1
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])")
_SHIFTS = {"u": 6, "g": 3, "o": 0}


def owner_of(root: int, text: str) -> tuple[int, int]:
    """USER[:GROUP], names or numbers; a user's group is its own number where none is named.

    Raises FailedPrecondition for a name that the image does not have.
    """
    user, colon, group = text.partition(":")
    uid = _number(user)
    gid = uid
    if uid is None:
        line = _entry(root, "etc/passwd", user, 4)
        if line is None:
            raise FailedPrecondition(
                f"unable to find user {user}: no matching entries in passwd file"
            )
        uid, gid = int(line[2]), int(line[3])
    if colon and group:
        gid = _number(group)
        if gid is None:
            line = _entry(root, "etc/group", group, 3)
            if line is None:
                raise FailedPrecondition(
                    f"unable to find group {group}: no matching entries in group file"
                )
            gid = int(line[2])
    assert gid is not None
    return uid, gid


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    if int(text) > _MAX_ID:
        raise FailedPrecondition(f"{text[:20]} is not an id from 0 to {_MAX_ID}")
    return int(text)


def _entry(root: int, path: str, name: str, numbers: int) -> list[str] | None:
    try:
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        data = file.read(_MAX_BYTES)
    for line in data.decode(errors="replace").splitlines():
        fields = line.split(":")
        known = all(field.isdecimal() and int(field) <= _MAX_ID for field in fields[2:numbers])
        if fields[0] == name and len(fields) >= numbers and known:
            return fields
    return None


def mode_of(text: str) -> Mode:
    """Octal digits, or symbolic as chmod(1) takes it. Raises Wrong."""
    number = literals.mode(text)
    if number is not None:
        return lambda _mode, _is_directory: number
    clauses = text.split(",")
    return lambda mode, is_directory: _symbolic(clauses, mode, is_directory=is_directory)


def _symbolic(clauses: list[str], mode: int, *, is_directory: bool) -> int:
    for clause in clauses:
        match = literals.CLAUSE.fullmatch(clause)
        assert match is not None
        who = match.group(1) or "a"
        for operator, permissions in _ACTION.findall(match.group(2)):
            mode = _applied(mode, who, operator, permissions, is_directory=is_directory)
    return mode


def _applied(mode: int, who: str, operator: str, permissions: str, *, is_directory: bool) -> int:
    before = mode
    for letter in "ugo" if "a" in who else who:
        shift = _SHIFTS[letter]
        if permissions and permissions in "ugo":
            bits = (before >> _SHIFTS[permissions]) & 7
        else:
            bits = sum(bit for char, bit in (("r", 4), ("w", 2), ("x", 1)) if char in permissions)
            if "X" in permissions and (is_directory or before & 0o111):
                bits |= 1
        special = 0
        if "s" in permissions:
            special |= {"u": 0o4000, "g": 0o2000, "o": 0}[letter]
        if "t" in permissions:
            special |= 0o1000
        value = bits << shift | special
        if operator == "=":
            mode = mode & ~(7 << shift) | value
        else:
            mode = mode | value if operator == "+" else mode & ~value
    return mode
