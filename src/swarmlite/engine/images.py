"""Images for tasks: one pull however many tasks wait for it, and a local one when a pull fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from swarmlite.errors import NotFound, SwarmliteError
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.peers import Peers
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Image

log = logging.getLogger(__name__)

LOCAL_PULL_TIMEOUT_S = 5.0
"""How long a registry is waited for when the image is there already."""
FRESH_S = 60.0
"""How long a tag that was pulled (or could not be) is taken as it is here."""


class TaskImages:
    """Finds or pulls the image of a task."""

    def __init__(self, store: ImageStore) -> None:
        """`store` shares pulls of the same reference itself."""
        self._store = store
        self.peers: Callable[[str], Peers] | None = None
        """Other hosts that may have the image with a digest; in a swarm only."""
        self._checked: dict[str, float] = {}
        self._checking: dict[str, asyncio.Lock] = {}

    def here(self, ref: str) -> Image | None:
        """The image, where no registry has to be asked for it. It is not held for anybody."""
        if "@" in ref or self._is_fresh(ref):
            return self._local(ref, "")
        return None

    async def ensure(
        self, ref: str, registry_auth: str, owner: str = "", sources: Sequence[str] = ()
    ) -> Image:
        """The image, held for `owner` where one is named: nobody can remove it in between.

        `sources` says who is asked for it: see storage.images.peers.

        Raises SwarmliteError with one line when it is neither here nor to be had.
        """
        local = self._local(ref, owner)
        if local is not None and ("@" in ref or self._is_fresh(ref)):
            return local
        async with self._checking.setdefault(ref, asyncio.Lock()):
            local = self._local(ref, owner)
            if local is not None and ("@" in ref or self._is_fresh(ref)):
                return local
            try:
                return await self._pull(ref, registry_auth, local, owner, sources)
            finally:
                self._checked[ref] = time.monotonic()

    async def _pull(
        self,
        ref: str,
        registry_auth: str,
        local: Image | None,
        owner: str,
        sources: Sequence[str],
    ) -> Image:
        auth = RegistryAuth.from_base64(registry_auth)
        if local is None:
            digest = ref.partition("@")[2]
            peers = self.peers(digest) if self.peers is not None and digest else None
            try:
                return await self._store.pull(
                    ref, auth=auth, owner=owner, peers=peers, sources=sources
                )
            except NotFound as error:
                raise NotFound(f"No such image: {ref}: {error}") from error
            except SwarmliteError as error:
                raise type(error)(f"cannot pull {ref}: {error}") from error
        try:
            async with asyncio.timeout(LOCAL_PULL_TIMEOUT_S):
                return await self._store.pull(ref, auth=auth, owner=owner)
        except (SwarmliteError, TimeoutError) as error:
            log.info("the local image serves ref=%s error=%s", ref, error or "timeout")
            return local

    def _local(self, ref: str, owner: str) -> Image | None:
        try:
            return self._store.use(ref, owner) if owner else self._store.get(ref)
        except NotFound:
            return None

    def _is_fresh(self, ref: str) -> bool:
        checked = self._checked.get(ref)
        return checked is not None and time.monotonic() - checked < FRESH_S
