"""The sessions that this manager holds: what is on its way to each agent, and why one ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.ids import new_id
from swarmlite.proto.dispatcher_pb2 import (
    AssignmentChange,
    Assignments,
    ManagerMessage,
    SessionInfo,
)

MAX_CHANGES = 2000
MAX_CHANGES_BYTES = 4 * 1024 * 1024
"""Of one message: agents receive up to 64 MiB, and a big one delays heartbeats' answers."""

FEW_CHANGES = 4
"""That need not be measured: no item is larger than what the store takes, which is 1 MiB and some.
"""

MAX_OUTBOX = 1000
"""Messages that an agent may be behind before its session is ended; it gets a COMPLETE set."""


class Session:
    """One agent's stream, seen from the manager's side."""

    def __init__(self, node_id: str, instance: str) -> None:
        self.node_id = node_id
        self.instance = instance
        self.id = new_id()
        self.info: SessionInfo | None = None
        self.ended: asyncio.Future[SwarmliteError] = asyncio.get_running_loop().create_future()
        self._sequence = 0
        self._outbox: list[ManagerMessage] = []
        self._ready = asyncio.Event()

    def send(self, message: ManagerMessage) -> None:
        """Queue a message. An agent that does not read for long is let go."""
        if self.ended.done():
            return
        self._outbox.append(message)
        self._ready.set()
        if len(self._outbox) > MAX_OUTBOX:
            self.end(Unavailable("the agent does not read its assignments"))

    @property
    def waiting(self) -> int:
        """Messages that were not written yet."""
        return len(self._outbox)

    def introduce(self, info: SessionInfo) -> None:
        """Send what the agent should know of the cluster, unless it does already."""
        info.session_id = self.id
        if info != self.info:
            self.info = info
            self.send(ManagerMessage(session=info))

    def assign(
        self,
        changes: Sequence[AssignmentChange],
        *,
        complete: bool = False,
        keep_unknown: bool = False,
    ) -> None:
        """Queue assignments, in as many messages as it takes."""
        parts = list(_parts(changes)) or [[]]
        for number, part in enumerate(parts):
            # Filled in place: each assignment of a message copies it.
            message = ManagerMessage()
            assignments = message.assignments
            assignments.type = Assignments.COMPLETE if complete else Assignments.INCREMENTAL
            assignments.applies_to = "" if complete else str(self._sequence)
            self._sequence += 1
            assignments.results_in = str(self._sequence)
            assignments.changes.extend(part)
            assignments.keep_unknown = keep_unknown
            assignments.more = complete and number < len(parts) - 1
            self.send(message)

    def end(self, error: SwarmliteError) -> None:
        """The stream ends with this error."""
        if not self.ended.done():
            self.ended.set_result(error)

    async def write_to(self, write: Callable[[ManagerMessage], object]) -> None:
        """Write what is queued, in order, until cancelled."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            outbox, self._outbox = self._outbox, []
            for message in outbox:
                await write(message)  # type: ignore[misc]  # grpc's write has no type


def _parts(changes: Sequence[AssignmentChange]) -> Iterator[list[AssignmentChange]]:
    if len(changes) <= FEW_CHANGES:
        yield list(changes)
        return
    part: list[AssignmentChange] = []
    size = 0
    for change in changes:
        length = change.ByteSize()
        if part and (len(part) >= MAX_CHANGES or size + length > MAX_CHANGES_BYTES):
            yield part
            part, size = [], 0
        part.append(change)
        size += length
    if part:
        yield part


class Sessions:
    """The sessions of this manager, by node; who is interested hears of their begin and end."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._listeners: list[Callable[[str, bool], None]] = []

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def node_ids(self) -> list[str]:
        """The nodes that have a session here."""
        return list(self._sessions)

    def get(self, node_id: str) -> Session | None:
        """The node's session here, if it has one."""
        return self._sessions.get(node_id)

    def add(self, session: Session) -> Session | None:
        """Keep a session; answer the one that it replaces."""
        old = self._sessions.get(session.node_id)
        self._sessions[session.node_id] = session
        return old

    def opened(self, session: Session) -> None:
        """Tell the listeners, once the agent has its assignments on the way."""
        for listener in self._listeners:
            listener(session.node_id, True)

    def remove(self, session: Session) -> bool:
        """Forget a session; False when another one of its node has taken its place."""
        if self._sessions.get(session.node_id) is not session:
            return False
        del self._sessions[session.node_id]
        for listener in self._listeners:
            listener(session.node_id, False)
        return True

    def send(self, node_id: str, message: ManagerMessage) -> bool:
        """Queue a message to a node; False when it has no session here."""
        session = self._sessions.get(node_id)
        if session is None:
            return False
        session.send(message)
        return True

    def listen(self, listener: Callable[[str, bool], None]) -> None:
        """Call `listener(node_id, here)` when a session began (True) or ended (False)."""
        self._listeners.append(listener)
