"""Images between nodes: who has one, who may have it, and who is asked to keep one.

What the nodes of this manager's sessions hold is kept here and nowhere else, for as long as their
sessions last: agents ask every manager. Who has an image besides is known from the tasks.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from swarmlite.errors import InvalidSpec, PermissionDenied, Unavailable
from swarmlite.identity import tickets
from swarmlite.identity.certificates import Certificates
from swarmlite.ids import new_id
from swarmlite.manager.dispatcher.sessions import Sessions
from swarmlite.manager.store.api import Store
from swarmlite.manager.store.tables import Tables
from swarmlite.model import task_states
from swarmlite.model.references import Reference, is_digest
from swarmlite.proto.dispatcher_pb2 import (
    FetchImage,
    FetchReport,
    FindImageResponse,
    HeldImages,
    ImageHolder,
    ManagerMessage,
)
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.types_pb2 import NodeStatus

log = logging.getLogger(__name__)

MAX_HELD = 4000
"""Digests that are remembered of a node."""
MAX_ANSWERED = 8
MAX_QUEUED = 2000


class Order:
    """One node that was asked to keep an image, and what it reports."""

    def __init__(self, node_id: str, digest: str) -> None:
        self.id = new_id()
        self.node_id, self.digest = node_id, digest
        self.reports: asyncio.Queue[FetchReport] = asyncio.Queue(MAX_QUEUED)

    def say(self, report: FetchReport) -> None:
        """Progress may be lost where nobody reads it, the end is not."""
        if self.reports.full():
            if not report.done:
                return
            self.reports.get_nowait()
        self.reports.put_nowait(report)


class Carrying:
    """What this manager knows and says of images on nodes."""

    def __init__(self, store: Store, sessions: Sessions, certificates: Certificates) -> None:
        self._store, self._sessions, self._certificates = store, sessions, certificates
        self._held: dict[str, set[str]] = {}
        self._orders: dict[str, Order] = {}
        sessions.listen(self._session_changed)

    # what agents say
    def held(self, node_id: str, images: HeldImages) -> None:
        """A node's images changed; what is no digest, or too many, is left out."""
        held = self._held.setdefault(node_id, set())
        if images.complete:
            held.clear()
        held.difference_update(images.removed)
        for digest in images.added:
            if len(held) >= MAX_HELD:
                log.warning("a node holds more images than are remembered node=%s", node_id)
                break
            if is_digest(digest):
                held.add(digest)

    def reported(self, node_id: str, report: FetchReport) -> None:
        """A node fetches what it was asked to keep."""
        order = self._orders.get(report.id)
        if order is not None and order.node_id == node_id:
            order.say(report)

    def _session_changed(self, node_id: str, here: bool) -> None:
        if here:
            return
        self._held.pop(node_id, None)
        for order in list(self._orders.values()):
            if order.node_id == node_id:
                gone = "its session ended: it may have come to another manager; try again"
                order.say(FetchReport(id=order.id, done=True, error=gone))

    # finding
    def find(self, node_id: str, digest: str) -> FindImageResponse:
        """See FindImage in dispatcher.proto. Raises PermissionDenied, InvalidSpec."""
        if not is_digest(digest):
            raise InvalidSpec("expected the digest of an image")
        view = self._store.view
        services = {task.service_id for task in _naming(view, node_id, digest)}
        if not services and not self._ordered(node_id, digest):
            raise PermissionDenied(f"no task of node {node_id} names the image {digest[:19]}")
        holders = {one for one, held in self._held.items() if digest in held}
        expecting: list[tuple[int, str, str]] = []
        for service_id in services:
            for task in view.tasks.of_service(service_id).values():
                if not task.node_id or not _names(task, digest):
                    continue
                if task_states.READY <= task.status.state <= task_states.RUNNING:
                    holders.add(task.node_id)
                elif _live(task):
                    expecting.append(_rank(task, digest))
        holders.discard(node_id)
        answer = FindImageResponse(
            ticket=tickets.issue(self._certificates, node_id, digest),
            holders=self._places(view, random.sample(sorted(holders), len(holders))),
        )
        before: dict[str, None] = {}
        for _, _, other in sorted(expecting):
            if other == node_id:
                break
            if other not in holders:
                before[other] = None
        else:
            before.clear()  # an order, which no task of the node is for: holders are all it asks
        answer.expecting.extend(self._places(view, list(before)))
        return answer

    def _places(self, view: Tables, node_ids: Sequence[str]) -> list[ImageHolder]:
        found: list[ImageHolder] = []
        for node_id in node_ids:
            if len(found) == MAX_ANSWERED:
                break
            node = view.nodes.get(node_id)
            if node is not None and (addr := _address(node)):
                hostname = node.description.hostname
                found.append(ImageHolder(node_id=node_id, addr=addr, hostname=hostname))
        return found

    def _ordered(self, node_id: str, digest: str) -> bool:
        orders = self._orders.values()
        return any(order.node_id == node_id and order.digest == digest for order in orders)

    # orders
    def here(self, node_id: str) -> bool:
        """Whether a node has a session with this manager."""
        return self._sessions.get(node_id) is not None

    @asynccontextmanager
    async def order(
        self, node_id: str, ref: str, digest: str, *, tell: bool = False
    ) -> AsyncIterator[Order]:
        """Ask a node of this manager's to keep an image, for as long as the caller waits.

        With `tell` it only says by which digest it has it.
        Raises Unavailable for a node without a session here.
        """
        order = Order(node_id, digest)
        self._orders[order.id] = order
        request = FetchImage(id=order.id, ref=ref, digest=digest, tell=tell)
        try:
            if not self._sessions.send(node_id, ManagerMessage(fetch_image=request)):
                raise Unavailable("it has no session with this manager")
            yield order
        finally:
            del self._orders[order.id]
            cancel = FetchImage(id=order.id, cancel=True)
            self._sessions.send(node_id, ManagerMessage(fetch_image=cancel))


def _naming(view: Tables, node_id: str, digest: str) -> Iterator[Task]:
    """The tasks of a node that have not ended and name an image."""
    for task in view.tasks.of_node(node_id).values():
        if _live(task) and _names(task, digest):
            yield task


def _live(task: Task) -> bool:
    return task.desired_state <= task_states.RUNNING and task.status.state <= task_states.RUNNING


def _names(task: Task, digest: str) -> bool:
    image = task.spec.container.image
    return image.endswith(digest) and Reference.parse(image).digest == digest


def _rank(task: Task, digest: str) -> tuple[int, str, str]:
    """Older tasks first: those of the same moment in an order of the image's own."""
    node_id = task.node_id
    mixed = hashlib.sha256(f"{digest}/{node_id}".encode()).hexdigest()
    return task.meta.created_version.index, mixed, node_id


def _address(node: Node) -> str:
    """Where a node serves images; empty where it does not, or is not there."""
    description = node.description
    host, port = description.data_path_addr, description.image_port
    if node.status.state != NodeStatus.READY or not host or not 0 < port < 65536:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
