"""What is at a path of a container, as the header X-Docker-Container-Path-Stat says it."""

from __future__ import annotations

import base64
import json
import stat

from swarmlite.docker.values import time
from swarmlite.proto.containers_pb2 import PathStat

_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: (1 << 26) | (1 << 21),
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def header(value: PathStat) -> str:
    """Base64 of JSON; the mode is Go's, not stat(2)'s."""
    about = {
        "name": value.name,
        "size": value.size_bytes,
        "mode": go_mode(value.mode),
        "mtime": time(value.mtime),
        "linkTarget": value.link_target,
    }
    return base64.b64encode(json.dumps(about).encode()).decode()


def go_mode(mode: int) -> int:
    """The bits of Go's os.FileMode for those of st_mode."""
    found = mode & 0o777
    found |= _KINDS.get(stat.S_IFMT(mode), 0)
    for bit, theirs in _BITS.items():
        if mode & bit:
            found |= theirs
    return found
