"""Images that managers ask this node to bring here and to keep, under their names."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from swarmlite.agent.carrying.peers import Carrying
from swarmlite.agent.orders import Orders
from swarmlite.errors import InvalidSpec, NotFound, SwarmliteError
from swarmlite.ids import new_id
from swarmlite.model.image_sources import PEER
from swarmlite.model.references import Reference, is_digest
from swarmlite.proto.dispatcher_pb2 import AgentMessage, FetchImage, FetchReport
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Progress
from swarmlite.storage.leases import PULLS

log = logging.getLogger(__name__)

MAX_ORDERS = 64
MAX_REPORTS = 1000
REPORT_EVERY_S = 0.2


class Keeping:
    """Carries out FetchImage; one event loop's."""

    def __init__(self, store: ImageStore, carrying: Carrying) -> None:
        self._store, self._carrying = store, carrying
        self._orders = Orders(MAX_ORDERS)
        self._reports: asyncio.Queue[FetchReport] = asyncio.Queue(MAX_REPORTS)

    def ordered(self, order: FetchImage) -> None:
        """Begin, or give up what nobody waits for."""
        if order.cancel:
            self._orders.cancel(order.id)
        elif not self._orders.begin(order.id, lambda: self._fetch(order)):
            self._say(FetchReport(id=order.id, error="the node has too many images to fetch"))

    def lost(self) -> None:
        """The session ended, and nobody waits any more."""
        self._orders.cancel_all()
        while not self._reports.empty():
            self._reports.get_nowait()

    async def messages(self) -> AsyncIterator[AgentMessage]:
        """Reports, as they come."""
        while True:
            yield AgentMessage(fetch=await self._reports.get())

    async def _fetch(self, order: FetchImage) -> None:
        digest = ""
        try:
            if order.tell:
                digest = await self._told(order.ref)
            else:
                await self._bring(order)
        except SwarmliteError as error:
            self._say(FetchReport(id=order.id, done=True, error=str(error)))
        except Exception as error:
            log.exception("an image could not be fetched ref=%s", order.ref)
            self._say(FetchReport(id=order.id, done=True, error=f"internal error: {error}"))
        else:
            self._say(FetchReport(id=order.id, status="Complete", done=True, digest=digest))

    async def _told(self, ref: str) -> str:
        """By which digest other nodes can have an image of this one."""
        found = await asyncio.to_thread(self._store.resolve_here, ref)
        if found is None:
            raise NotFound(f"no such image: {ref}")
        return found.digest

    async def _bring(self, order: FetchImage) -> None:
        reference = Reference.parse(order.ref)
        if not is_digest(order.digest) or reference.digest or not reference.tag:
            raise InvalidSpec(f"cannot keep {order.ref!r}: expected NAME:TAG and a digest")
        shown: dict[str, tuple[str, float]] = {}

        def progress(step: Progress) -> None:
            status, at = shown.get(step.layer, ("", 0.0))
            now = time.monotonic()
            if step.status == status and now - at < REPORT_EVERY_S:
                return
            shown[step.layer] = step.status, now
            self._say(
                FetchReport(
                    id=order.id,
                    layer=step.layer,
                    status=step.status,
                    current_bytes=step.current_bytes,
                    total_bytes=step.total_bytes,
                )
            )

        owner = f"{PULLS}{new_id()}"
        pinned = str(reference.with_digest(order.digest))
        try:
            await self._store.pull(
                pinned,
                progress=progress,
                owner=owner,
                peers=self._carrying.peers(order.digest),
                sources=(PEER,),
            )
            await self._store.tag(pinned, reference.tagged)
        finally:
            self._store.leases.release(owner)

    def _say(self, report: FetchReport) -> None:
        """Progress may be lost where managers do not take it, ends are not."""
        if self._reports.full():
            if not report.done and not report.error:
                return
            self._reports.get_nowait()
        self._reports.put_nowait(report)
