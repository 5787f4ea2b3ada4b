"""Nodes that have a store and a Blobs service each, in one process: real TLS, real files."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from scripted_manager import certify

from swarmlite.agent.carrying import serving
from swarmlite.agent.carrying.finding import Candidate, Finder, Found
from swarmlite.agent.carrying.peers import Carrying, Channels, channel_to
from swarmlite.agent.carrying.serving import BlobsService
from swarmlite.identity import tickets
from swarmlite.identity.certificates import Certificates
from swarmlite.manager.ca.root import MANAGER, WORKER, RootCA
from swarmlite.proto.blobs_pb2 import BlobPart, FetchBlobRequest
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.store import ImageStore
from swarmlite.testing.oci import BuiltImage, TarWriter, docker_archive, layer

HERE = "127.0.0.1"
FAST = RegistrySettings(backoff_s=0.01, max_backoff_s=0.05, retries=0)


def made(name: str, *, layers: int = 1, layer_bytes: int = 300_000) -> BuiltImage:
    """Layers of noise, which nothing can be squeezed out of."""
    image = BuiltImage(name, ())
    for number in range(layers):
        tar = TarWriter()
        tar.file(f"noise/{number}", os.urandom(layer_bytes))
        image = image.with_layer(layer(tar.tar(), "none"))
    return image


class World:
    """A cluster's CA, its one manager's certificates, and its nodes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ca = RootCA.create()
        self.manager = Certificates(certify(self.ca, root / "manager", "manager-1", MANAGER))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> World:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def node(self, name: str, service: type[BlobsService] = BlobsService) -> ImageNode:
        """A node that serves, in whatever way `service` does."""
        node = ImageNode(self, name, service)
        await self._stack.enter_async_context(node.serving())
        return node


class ImageNode(Finder):
    """One node; the managers' answer is what a test said last."""

    def __init__(self, world: World, name: str, service: type[BlobsService]) -> None:
        self.name, self._world = name, world
        self.folder = certify(world.ca, world.root / name, name, WORKER)
        self.certificates = Certificates(self.folder)
        self.store = ImageStore(world.root / f"{name}-images", settings=FAST)
        self.managers = {"manager-1"}
        self.candidates: list[Candidate] = []
        channels = Channels(lambda addr, node: channel_to(addr, node, self.folder))
        self.carrying = Carrying(self, channels)
        self.service = service(
            self.store.giving,
            self.certificates,
            lambda: self.managers,
            lambda digest: self.carrying.coming.get(digest, ""),
        )
        self.stopping = asyncio.Event()

    async def find(self, digest: str) -> Found:
        """See Finder."""
        ticket = tickets.issue(self._world.manager, self.name, digest)
        return Found(ticket, tuple(self.candidates), time.monotonic())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with serving.serving(self.service, self.certificates, HERE, 0) as port:
            self.carrying.port = port
            yield
        await self.carrying.close()

    def candidate(self, *, wait: bool = False) -> Candidate:
        return Candidate(self.name, f"{HERE}:{self.carrying.port}", self.name, wait)

    async def load(self, image: BuiltImage) -> str:
        """The digest that others know it by."""

        async def chunks() -> AsyncIterator[bytes]:
            yield docker_archive([image])

        await self.store.load(chunks())
        return self.store.get(image.name).manifest

    async def pull(self, ref: str, candidates: Iterable[Candidate], *sources: str) -> None:
        self.candidates = list(candidates)
        peers = self.carrying.peers(ref.partition("@")[2])
        await self.store.pull(ref, peers=peers, sources=sources or ("peer",))

    def has(self, image: BuiltImage) -> bool:
        return all(self.store.content.has(one.digest) for one in image.layers)


class Liar(BlobsService):
    """Gives what nobody asked for."""

    async def Fetch(self, request: FetchBlobRequest, context: Any) -> AsyncIterator[BlobPart]:
        async for part in super().Fetch(request, context):
            yield BlobPart(size_bytes=part.size_bytes, data=bytes(len(part.data)))


class Cutter(BlobsService):
    """Ends each blob after its first half."""

    async def Fetch(self, request: FetchBlobRequest, context: Any) -> AsyncIterator[BlobPart]:
        size = 0
        async for part in super().Fetch(request, context):
            size = part.size_bytes or size
            yield BlobPart(size_bytes=part.size_bytes, data=part.data[: size // 2])


class HalfLiar(BlobsService):
    """Gives a wrong first half, and ends there."""

    async def Fetch(self, request: FetchBlobRequest, context: Any) -> AsyncIterator[BlobPart]:
        size = 0
        async for part in super().Fetch(request, context):
            size = part.size_bytes or size
            yield BlobPart(size_bytes=part.size_bytes, data=bytes(len(part.data[: size // 2])))


class Endless(BlobsService):
    """Gives more than there is."""

    async def Fetch(self, request: FetchBlobRequest, context: Any) -> AsyncIterator[BlobPart]:
        async for part in super().Fetch(request, context):
            yield part
        for _ in range(64):
            yield BlobPart(data=bytes(1 << 20))


class Holding(BlobsService):
    """Holds back what it gives until `go`; `asked` counts the requests of each node."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.go = asyncio.Event()
        self.asked: Counter[str] = Counter()
        self.news = asyncio.Condition()

    async def Fetch(self, request: FetchBlobRequest, context: Any) -> AsyncIterator[BlobPart]:
        async with self.news:
            self.asked[self._caller(context)] += 1
            self.news.notify_all()
        async for part in super().Fetch(request, context):
            if part.data:
                await self.go.wait()
            yield part


class Silent(BlobsService):
    """Takes questions, and never answers one."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked = 0

    async def Fetch(self, request: FetchBlobRequest, context: Any) -> AsyncIterator[BlobPart]:
        self.asked += 1
        await asyncio.Event().wait()
        yield BlobPart()
