"""Bringing an image's layers here: fetched and unpacked side by side, committed in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.storage.images.catalog import Catalog
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.layers import Layer, Scratch
from swarmlite.storage.images.manifest import chain_ids
from swarmlite.storage.images.sources import Source
from swarmlite.storage.trees import discard

_DOWNLOADS = 3  # layers of one image at a time, as Docker
_Tasks = list[asyncio.Task[Layer]]


def check_layers(catalog: Catalog, diff_ids: int, layers: int) -> None:
    """Raises InvalidSpec for an image whose parts do not fit, or that has too many."""
    if diff_ids != layers:
        raise InvalidSpec(f"its config names {diff_ids} layers, its manifest {layers}")
    if layers > catalog.limits.layers:
        raise InvalidSpec(f"it has {layers} layers, more than {catalog.limits.layers}")


class Bringing:
    """The layers of one image on their way."""

    def __init__(
        self,
        catalog: Catalog,
        hold: Callable[[str], None] = lambda _: None,
        *,
        sync: bool = True,
    ) -> None:
        """`hold` is told of each blob before it is one of those kept.

        Without `sync` the caller has told the layers' `unsynced` of everything.
        """
        self._catalog, self._sync = catalog, sync
        self._hold = hold
        self._limit = asyncio.Semaphore(_DOWNLOADS)
        self._unpacked_bytes = 0

    async def bring(self, sources: Sequence[Source], diff_ids: Sequence[str]) -> list[Layer]:
        """All layers, unpacked; their blobs are kept. Cancelled or failed: whole ones stay.

        Raises InvalidSpec, ResourceExhausted, OSError, and what a source raises.
        """
        chain = chain_ids(diff_ids)
        with self._catalog.holding(chain):
            async with self._catalog.layers.unpackers.busy():
                return await self._bring(sources, diff_ids, chain)

    async def _bring(
        self, sources: Sequence[Source], diff_ids: Sequence[str], chain: Sequence[str]
    ) -> list[Layer]:
        tasks: _Tasks = []
        try:
            for index, source in enumerate(sources):
                below = tasks[-1] if tasks else None
                work = self._layer(source, diff_ids[index], chain[: index + 1], below)
                tasks.append(asyncio.create_task(work))
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            return _results(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _layer(
        self,
        source: Source,
        diff_id: str,
        chain: Sequence[str],
        below: asyncio.Task[Layer] | None,
    ) -> Layer:
        """One layer; a pull that wants the same waits, and goes on itself where this one fails."""
        locks, layers = self._catalog.locks, self._catalog.layers
        # two kinds of key: an uncompressed base layer's digest is its chain id too
        async with locks.hold(("layer", chain[-1])):
            if layer := layers.get(chain[-1]):
                await self._only_blob(source)
                return layer
            # a disk that is slow to take one layer does not keep the next from coming
            async with locks.hold(("source", source.key)):
                scratch = await self._unpack(source, diff_id, base=below is None)
                try:
                    self._check_size(scratch)
                    await in_thread(source.stage)
                    self._hold(source.digest)
                    await layers.settle(scratch, chain[-1], sync=self._sync)
                    await in_thread(source.keep)
                except BaseException as error:
                    layers.drop(scratch)
                    if isinstance(error, (ResourceExhausted, InvalidSpec, OSError)):
                        source.abandon()
                    raise
            try:
                if below is not None:
                    await below
                return await layers.commit(scratch, chain[:-1], sync=self._sync)
            except BaseException:
                layers.drop(scratch)
                raise

    async def _only_blob(self, source: Source) -> None:
        """It is unpacked already, maybe from another blob: this one is kept to be given on."""
        if source.is_kept():
            source.say("Already exists")
            return
        async with self._catalog.locks.hold(("source", source.key)):
            try:
                async with self._limit:
                    await source.fetch()
                await in_thread(source.stage)
                self._hold(source.digest)
                await in_thread(lambda: source.keep(synced=not self._sync))
            except (ResourceExhausted, InvalidSpec, OSError):
                source.abandon()
                raise

    async def _unpack(self, source: Source, diff_id: str, *, base: bool) -> Scratch:
        try:
            async with self._limit:
                part = await source.fetch()
            source.say("Extracting")
            scratch = await self._catalog.layers.unpack(part, base=base, name=source.name)
        except (ResourceExhausted, InvalidSpec, OSError):
            source.abandon()
            raise
        if scratch.unpacked.diff_id != diff_id:
            discard(scratch.path)
            source.abandon()
            raise InvalidSpec(
                f"layer {source.name} unpacks to {scratch.unpacked.diff_id}, "
                f"but the config names {diff_id}"
            )
        return scratch

    def _check_size(self, scratch: Scratch) -> None:
        self._unpacked_bytes += scratch.unpacked.size_bytes
        limit = self._catalog.limits.image_bytes
        if self._unpacked_bytes > limit:
            raise ResourceExhausted(f"the image unpacks to more than {limit >> 20} MiB")


def _results(tasks: _Tasks) -> list[Layer]:
    """The layers; raises the first real failure, not the cancellations that follow it."""
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise error
    return [task.result() for task in tasks]
