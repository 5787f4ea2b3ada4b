"""Who a container's process is: "user[:group]" looked up in the image's own passwd and group files.

The files are an image's, so hostile: read through descriptors that cannot leave the layer, to a
limit, and parsed leniently, a bad line being no line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from swarmlite.errors import InvalidSpec

MAX_ID = 2**31 - 1
MAX_FILE_BYTES = 4 << 20
MAX_GROUPS = 1024

ReadFile = Callable[[str], bytes]  # a path in the image, b"" when it is not there


@dataclass(frozen=True)
class User:
    """What the OCI spec says of a process's user, and the home that goes into HOME."""

    uid: int
    gid: int
    additional_gids: list[int] = field(default_factory=list)
    home: str = "/"


def resolve(wanted: str, extra_groups: Sequence[str], read: ReadFile) -> User:
    """The ids behind `wanted` ("", "1000", "app", "app:staff", "1000:1000").

    Raises InvalidSpec when a name is in neither file or an id is out of range.
    """
    user_part, _, group_part = wanted.partition(":")
    passwd = _fields(read("etc/passwd"), 6)
    groups = _fields(read("etc/group"), 3)
    entry = _find(passwd, user_part or "0")
    uid = _id(entry[2]) if entry else _number(user_part or "0", "user")
    gid = _id(entry[3]) if entry else 0
    member_of: list[int] = []
    if group_part:
        gid = _group(groups, group_part)
    elif entry:
        member_of = _memberships(groups, entry[0])
    asked = [_group(groups, name) for name in extra_groups]
    additional = list(dict.fromkeys(g for g in [*member_of, *asked] if g != gid))[:MAX_GROUPS]
    return User(uid, gid, additional, (entry[5] if entry else "") or "/")


def _fields(content: bytes, least: int) -> list[list[str]]:
    if len(content) > MAX_FILE_BYTES:
        raise InvalidSpec(f"the image's passwd or group file is above {MAX_FILE_BYTES >> 20} MiB")
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    rows = [line.split(":") for line in lines if not line.startswith("#")]
    return [row for row in rows if len(row) >= least and _is_id(row[2])]


def _find(rows: Iterable[list[str]], wanted: str) -> list[str] | None:
    for row in rows:
        if row[0] == wanted or (_is_id(wanted) and int(row[2]) == int(wanted)):
            if not (len(row) > 3 and _is_id(row[3])):
                continue
            return row
    return None


def _group(rows: Iterable[list[str]], wanted: str) -> int:
    for row in rows:
        if row[0] == wanted:
            return _id(row[2])
    return _number(wanted, "group")


def _memberships(rows: Iterable[list[str]], name: str) -> list[int]:
    return [_id(row[2]) for row in rows if len(row) > 3 and name in row[3].split(",")]


def _number(text: str, kind: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InvalidSpec(f"unable to find {kind} {text}: no matching entries in {kind} file")
    return _id(text)


def _id(text: str) -> int:
    if not _is_id(text) or int(text) > MAX_ID:
        raise InvalidSpec(f"uids and gids must be in range 0-{MAX_ID}")
    return int(text)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10
