"""The store's contract.

Shapes: an object is one of the messages of objects.proto, with `id` and `meta`. Its version,
`meta.version.index`, is the revision of its last write; 0 says that it is not stored yet. What
the store hands out is frozen by convention: copy, change, write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.proto.objects_pb2 import (
    Cluster,
    Config,
    Network,
    Node,
    Secret,
    Service,
    Task,
    Volume,
)

from .slices import Slices
from .tables import Tables, name_of

type_of_kind = {
    "cluster": Cluster,
    "node": Node,
    "network": Network,
    "service": Service,
    "task": Task,
    "secret": Secret,
    "config": Config,
    "volume": Volume,
}
kind_of_type = {message: kind for kind, message in type_of_kind.items()}

Object = Cluster | Node | Network | Service | Task | Secret | Config | Volume

MAX_OPERATIONS = 120
"""Changes in one transaction: etcd's limit is 128, and the fence and the compares need room."""


MAX_BACKLOG = 200_000
"""Events that a subscriber may be behind before it has to start over."""


MAX_OBJECT_BYTES = 1_400_000
"""One object, serialized: etcd takes 1.5 MiB, with the keys and what is compared."""


def kind_of(obj: Object) -> str:
    """The kind of an object: "task" for a Task."""
    return kind_of_type[type(obj)]


NAMED_KINDS = frozenset({"service", "network", "secret", "config"})
"""Kinds whose names are unique, without regard to case: DNS does not tell them apart."""


def claimed_name(change: Put | Delete) -> str:
    """The name that a change takes (a new object's) or gives back, as names are compared.

    Empty for an update, which renames nothing, and for kinds whose names may repeat.
    """
    obj = change.obj
    if kind_of(obj) not in NAMED_KINDS or (isinstance(change, Put) and obj.meta.version.index):
        return ""
    return name_of(obj).lower()


def check_size(obj: Object, size: int) -> None:
    """Raise InvalidSpec for an object of more bytes than the store takes."""
    if size > MAX_OBJECT_BYTES:
        raise InvalidSpec(
            f"{kind_of(obj)} {name_of(obj)[:63] or obj.id}: has {size} bytes,"
            f" {MAX_OBJECT_BYTES} at most"
        )


class Missing(NotFound):
    """The view has nothing of this id or name; another manager may have written it just now."""

    def __init__(self, kind: str, ref: str, line: str = "") -> None:
        """`ref`: an id, its beginning, or a name; `line`: what the user is told."""
        super().__init__(line or f"{kind} {ref} not found")
        self.kind, self.ref = kind, ref


class GuardMoved(Exception):
    """Another write under the same guard came first: check again, by the view as it is now."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What holds across objects (no port is published twice) is checked by the view and written
    only if nobody else wrote under the guard's name meanwhile.
    """

    name: str
    version: int
    """`view.guards.get(name, 0)` from before the check."""


class Fenced(Exception):
    """The writer is no longer the leader whose epoch it named: its term is over, it stops."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A leader's epoch: the create revision of the election key. Every write of a loop names it."""

    epoch: int


@dataclass(slots=True)
class Put:
    """Write `obj`, if the stored version still is `obj.meta.version.index` (0: does not exist)."""

    obj: Object


@dataclass(slots=True)
class Delete:
    """Remove `obj`, if the stored version still is `obj.meta.version.index`."""

    obj: Object


Change = Put | Delete


class Action(Enum):
    """What happened to an object."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"


@dataclass(slots=True)
class Event:
    """One object's change. `obj` is the new state (for REMOVE the last), `old` the one before;
    `time_ns` is when this manager heard of it.
    """

    action: Action
    kind: str
    obj: Object
    old: Object | None = None
    time_ns: int = 0


class Resync(Exception):
    """A subscriber fell behind or the mirror was read again: take the view again, all is dirty."""


class Subscription(Protocol):
    """A stream of events in the order of their commits, without gaps."""

    def __aiter__(self) -> AsyncIterator[Sequence[Event]]:
        """Batches of one event or more. Raises Resync when events were lost."""

    def drain(self) -> list[Event]:
        """What has come and was not read yet, without waiting. Raises Resync as above."""


class Store(Protocol):
    """Reads, writes and events of the cluster's objects, on any manager."""

    @property
    def view(self) -> Tables:
        """The mirror as of now. It changes under the reader's feet at every await."""

    @property
    def slices(self) -> Slices:
        """What the manager's own long pieces of work take turns by."""

    @property
    def connected(self) -> bool:
        """Whether the view follows the store now; else, without a quorum say, it may be old."""

    async def commit(
        self, changes: Sequence[Change], fence: Fence | None = None, guard: Guard | None = None
    ) -> int:
        """Write all of `changes` in one transaction, or nothing; answer its revision.

        Returns once this manager's own view has reached the revision. At most MAX_OPERATIONS.
        Raises Conflict (something changed since it was read, or exists already), AlreadyExists
        for a new object whose name another of its kind has (NAMED_KINDS), InvalidSpec for an
        object above MAX_OBJECT_BYTES, GuardMoved, Fenced, Unavailable (no quorum; whether it was
        written is not known). When cancelled, the transaction may have been written or not, never
        in part.
        """

    async def commit_many(
        self, changes: Sequence[Change], fence: Fence | None = None
    ) -> list[Change]:
        """Write `changes` in transactions of MAX_OPERATIONS; answer those that conflicted.

        For loops, whose passes are safe to repeat: what conflicted is decided again. Changes
        of one object keep their order; an object above MAX_OBJECT_BYTES is left out, and said in
        the log: it could never be written, and must not keep the others from it. Returns once the
        own view has reached the last revision, also of what others wrote in between (not of what
        they removed): who decides again sees it. Raises Fenced and Unavailable, when a part may
        have been written.
        """

    async def look_up(self, kind: str, ref: str) -> bool:
        """Whether the store has an object of this id, of an id that begins so, or of this name (of
        NAMED_KINDS), that the view may lack; if so the view has it once this returns, else
        Unavailable is raised. False also where the store does not answer: then the view is all
        that there is, as for lists.
        """

    def subscribe(
        self, *kinds: str, backlog: int = MAX_BACKLOG
    ) -> AbstractAsyncContextManager[Subscription]:
        """Events of these kinds (none: of all) from entering on; the view is not older.

        More than `backlog` that are not read yet are dropped, and Resync is raised.
        """

    def past(self, *kinds: str) -> list[Event]:
        """The last events of each of these kinds, in order; of secrets and configs without data."""
