"""The errors of swarmlite, one class for each thing that a caller does about them.

Each carries one line for the user: what is wrong, where, and what would be right. They are made
from foreign errors (etcd, netlink, system calls, gRPC, HTTP) at the boundaries only, always with
`raise ... from`.
"""

from __future__ import annotations


class SwarmliteError(Exception):
    """Any error that is meant for a user; `str()` of it is one line."""


class InvalidSpec(SwarmliteError):
    """What was asked for is malformed or contradicts itself: change it and ask again."""


class NotFound(SwarmliteError):
    """Nothing has this id or name."""


class AlreadyExists(SwarmliteError):
    """The name, port or address is taken."""


class Conflict(SwarmliteError):
    """The object changed since it was read: read it again."""


class Unavailable(SwarmliteError):
    """Nobody answers, or there is no quorum: try again later or elsewhere."""


class ResourceExhausted(SwarmliteError):
    """A limit was reached: a pool of addresses, the disk, a rate."""


class FailedPrecondition(SwarmliteError):
    """The system is not in the state that this needs; the message says which that is."""


class PermissionDenied(SwarmliteError):
    """The caller may not do this, whatever it changes in its request."""


def reason(error: OSError) -> str:
    """What the kernel refused, in words: the file, where one is named, and why."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
