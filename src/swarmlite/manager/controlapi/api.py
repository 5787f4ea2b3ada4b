"""What the parts of the API share: the store, who this manager is, and how references resolve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from swarmlite.errors import AlreadyExists, Conflict, InvalidSpec, Unavailable
from swarmlite.manager.store.api import Delete, Guard, GuardMoved, Missing, Put, Store, kind_of
from swarmlite.manager.store.tables import T, Table, Tables, name_of
from swarmlite.model import names, task_states
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.types_pb2 import Version

GUARD_ATTEMPTS = 20
WRITES, AGAIN_S = 20, 0.05
"""How often a write is tried that a loop of ours was quicker than, and how long after."""


def utc_now() -> datetime:
    """The time, for what the API stamps."""
    return datetime.now(UTC)


@dataclass
class Api:
    """What each object's calls need. `naming` is held from a check of names or ports to its write.

    It guards against this manager's own other calls, with a line that says what is the matter.
    Against other managers' the store guards names, and `put_guarded` what is checked by the view.
    """

    store: Store
    node_id: str
    now: Callable[[], datetime] = utc_now
    naming: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def view(self) -> Tables:
        """The store's view."""
        return self.store.view

    async def put(self, obj: T) -> T:
        """Write `obj` and answer it as stored."""
        await self.store.commit([Put(obj)])
        return self.stored(obj)

    async def put_guarded(self, obj: T, name: str, check: Callable[[], None]) -> T:
        """`put` after `check`, by a view that nobody changed under the guard `name` meanwhile.

        Raises what `check` raises; Unavailable when others write all the time.
        """
        for _ in range(GUARD_ATTEMPTS):
            guard = Guard(name, self.view.guards.get(name, 0))
            check()
            try:
                await self.store.commit([Put(obj)], guard=guard)
                return self.stored(obj)
            except GuardMoved:
                continue
        raise Unavailable(f"{name} are changed by others all the time; try again")

    async def remove(self, obj: T, check: Callable[[T], None] = lambda _: None) -> None:
        """Remove `obj`, as `check` allows for what is stored of it, whatever loops write meanwhile.

        Raises what `check` raises; NotFound when somebody else removed it; Conflict.
        """
        kind = kind_of(obj)
        table: Table[T] = self.view.table(kind)
        for left in reversed(range(WRITES)):
            # By its id: a name could be another one's by the next look.
            found = resolve(kind, table, obj.id)
            check(found)
            try:
                await self.store.commit([Delete(found)])
                return
            except Conflict:  # a loop wrote it in this moment, which is no reason to keep it
                if not left:
                    raise
                await asyncio.sleep(AGAIN_S)

    def stored(self, obj: T) -> T:
        """The stored form of an object just written; itself, when it is gone already."""
        table: Table[T] = self.view.table(kind_of(obj))
        return table.get(obj.id) or obj


def resolve(kind: str, table: Table[T], ref: str) -> T:
    """The object of an id, a name, or an id's unique prefix, in this order.

    Raises Missing, InvalidSpec.
    """
    if not ref:
        raise InvalidSpec(f"{kind}: an id or a name must be provided")
    exact = table.get(ref)
    if exact is not None:
        return exact
    for found in (table.named(ref), table.with_prefix(ref)):
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidSpec(f"{kind} {ref} is ambiguous ({len(found)} matches found)")
    raise Missing(kind, ref)


def resolve_node(api: Api, ref: str) -> Node:
    """As resolve; "self" is the node of the manager that answers."""
    return resolve("node", api.view.nodes, api.node_id if ref == "self" else ref)


def resolve_task(table: Table[Task], ref: str) -> Task:
    """As resolve; of several tasks with the short name "web.1", the one that is to run."""
    if ref and table.get(ref) is None:
        live = [task for task in table if task_states.is_live(task)]
        alike = [task for task in live if ref == names.short_task_name(task)]
        if len(alike) > 1:  # an update or a drain: one is on its way
            alike = [task for task in alike if task.status.state == task_states.RUNNING]
        if len(alike) == 1:
            return alike[0]
    return resolve("task", table, ref)


def copy_of(obj: T) -> T:
    """A copy to change and write."""
    copy = type(obj)()
    copy.CopyFrom(obj)
    return copy


def check_version(kind: str, obj: T, version: Version) -> None:
    """Raise Conflict unless the caller's version is the one that is stored."""
    if version.index != obj.meta.version.index:
        raise Conflict(f"{kind} {obj.id}: update out of sequence")


def check_free(kind: str, table: Table[T], name: str) -> None:
    """Raise AlreadyExists when an object has this name, or one that differs by case only.

    DNS does not tell them apart, so that one would take the other's name from it.
    """
    for other in table.named_alike(name):
        if name_of(other) == name:
            raise AlreadyExists(f"{kind} {name} already exists")
        raise AlreadyExists(
            f"{kind} {name}: there is a {kind} {name_of(other)}; names that differ by case only"
            " are refused"
        )
