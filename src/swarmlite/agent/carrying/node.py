"""Everything of a node's that has to do with other nodes' images, as one object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from swarmlite import rpc
from swarmlite.agent.carrying import serving
from swarmlite.agent.carrying.finding import Finder
from swarmlite.agent.carrying.holding import Holding
from swarmlite.agent.carrying.keeping import Keeping
from swarmlite.agent.carrying.peers import Carrying, Channels, channel_to
from swarmlite.identity.certificates import Certificates
from swarmlite.proto.dispatcher_pb2 import AgentMessage, FetchImage, SessionInfo
from swarmlite.storage.images.peers import Peers
from swarmlite.storage.images.store import ImageStore

Stream = Callable[[], AsyncIterator[AgentMessage]]


class NodeImages:
    """For as long as the agent is in its swarm; one event loop's."""

    def __init__(
        self,
        store: ImageStore,
        certificates: Certificates,
        managers: Callable[[], Iterable[str]],
    ) -> None:
        """`managers` are their addresses. Nothing is asked or served yet."""
        folder = certificates.folder
        self._store, self._certificates = store, certificates
        self._managers: frozenset[str] = frozenset()
        finder = Finder(managers, lambda address: rpc.secure_channel([address], folder))
        channels = Channels(lambda address, node: channel_to(address, node, folder))
        self._carrying = Carrying(finder, channels)
        self._keeping = Keeping(store, self._carrying)
        self.outgoing: tuple[Stream, ...] = (Holding(store).messages, self._keeping.messages)
        """Of each session."""

    def peers(self, digest: str) -> Peers:
        """The nodes that may have the image with this index or manifest."""
        return self._carrying.peers(digest)

    def fetch(self, order: FetchImage) -> None:
        """A manager wants an image here, or no longer."""
        self._keeping.ordered(order)

    def heard(self, info: SessionInfo) -> None:
        """Only these managers' tickets hold."""
        self._managers = frozenset(peer.node_id for peer in info.managers)

    def lost(self) -> None:
        """The session ended."""
        self._keeping.lost()

    @asynccontextmanager
    async def serving(self, address: str) -> AsyncIterator[int]:
        """Give images to other nodes until leaving; yields the port."""
        service = serving.BlobsService(
            self._store.giving,
            self._certificates,
            lambda: self._managers,
            lambda digest: self._carrying.coming.get(digest, ""),
        )
        try:
            async with serving.serving(service, self._certificates, address) as port:
                self._carrying.port = port
                yield port
        finally:
            self._keeping.lost()
            await self._carrying.close()
