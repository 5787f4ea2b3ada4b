"""A manager's store keys: its file, what it learns from other managers, and the leader's duty.

The keys never lie in etcd: a manager that joins is given them over mTLS, one that lacks a key asks
the others, and a new key is on every manager's disk before the leader seals with it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from swarmlite import rpc
from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError
from swarmlite.kernel import durable
from swarmlite.proto import ca_pb2 as pb
from swarmlite.proto.ca_pb2_grpc import CAStub
from swarmlite.proto.types_pb2 import NodeRole

from .store.api import Fence, Fenced, Put, Store, type_of_kind
from .store.etcd_client import Compacted, EtcdClient
from .store.etcd_mirror import key_of
from .store.sealing import SEALED_KINDS, StoreKey, StoreKeys, is_sealed

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 3.0
RETRY_S = 5.0
MAX_KEYS = 100
"""That one manager takes of another."""


# The file
def load(path: Path) -> StoreKeys:
    """What the file holds; no keys where there is none. Raises FailedPrecondition if it is broken:
    nothing in the store can be read without it.
    """
    try:
        content = json.loads(path.read_bytes())
        return StoreKeys(
            StoreKey(bytes.fromhex(key["id"]), base64.b64decode(key["secret"]))
            for key in content["keys"]
        )
    except FileNotFoundError:
        return StoreKeys()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FailedPrecondition(
            f"cannot read the store's keys in {path}: {error!r}; they are the same on every manager"
        ) from error


def encoded(keys: StoreKeys) -> bytes:
    """The file's content."""
    listed = [{"id": key.id.hex(), "secret": base64.b64encode(key.secret).decode()} for key in keys]
    return json.dumps({"keys": listed}, indent=1).encode() + b"\n"


def save(path: Path, keys: StoreKeys) -> None:
    """Bring the keys to the disk, 0600."""
    write_private(path, encoded(keys))


def write_private(path: Path, content: bytes) -> None:
    """Bring a secret file to the disk, 0600, with its folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.write(path, content)


class KeptKeys:
    """The keys of this manager, and their file: what is added is on the disk first."""

    def __init__(self, path: Path, write: Callable[[bytes], None] | None = None) -> None:
        """`write` puts a new content in the file's place; absent, it is written as it is."""
        self._path = path
        self._write = write or partial(write_private, path)
        self.keys = load(path)
        self.changed = asyncio.Event()
        """Set when there is a new key; whoever waits for the next one clears it."""

    def add(self, new: Iterable[StoreKey]) -> None:
        """Raises OSError with nothing changed when it cannot be written."""
        both = StoreKeys([*self.keys, *new])
        if len(list(both)) > len(list(self.keys)):
            self._write(encoded(both))
            self.keys.add(both)
            self.changed.set()
            log.info("store keys: %s", ", ".join(key.id.hex() for key in both))


# Messages
def to_messages(keys: Iterable[StoreKey]) -> list[pb.StoreKey]:
    """For the wire."""
    return [pb.StoreKey(id=key.id, secret=key.secret) for key in keys]


def from_messages(messages: Sequence[pb.StoreKey]) -> list[StoreKey]:
    """From the wire. Raises InvalidSpec."""
    if len(messages) > MAX_KEYS:
        raise InvalidSpec(f"{len(messages)} store keys, {MAX_KEYS} at most")
    try:
        return [StoreKey(message.id, message.secret) for message in messages]
    except ValueError as error:
        raise InvalidSpec(str(error)) from error


# Other managers
async def fetched(address: str, certificates_dir: Path) -> list[StoreKey]:
    """The keys of the manager at `address`. Raises swarmlite's errors."""
    return from_messages((await asked(address, certificates_dir)).keys)


async def asked(address: str, certificates_dir: Path) -> pb.GetStoreKeysResponse:
    """What the manager at `address` opens the store with. Raises swarmlite's errors."""
    async with _ca(address, certificates_dir, rpc.PATIENT) as ca:
        answer: pb.GetStoreKeysResponse = await ca.GetStoreKeys(
            pb.GetStoreKeysRequest(), timeout=CALL_TIMEOUT_S
        )
    return answer


@asynccontextmanager
async def _ca(
    address: str, certificates_dir: Path, more: Sequence[tuple[str, Any]] = ()
) -> AsyncIterator[CAStub]:
    channel = rpc.secure_channel([address], certificates_dir, more=more)
    try:
        with rpc.translated(f"manager {address}"):
            yield CAStub(channel)
    finally:
        await channel.close()


class Managers:
    """The other managers of the cluster, as sources and keepers of keys."""

    def __init__(
        self, client: EtcdClient, kept: KeptKeys, node_id: str, certificates_dir: Path
    ) -> None:
        self._client, self._kept = client, kept
        self._node_id, self._certificates_dir = node_id, certificates_dir

    async def learn(self) -> None:
        """Add what the others have (etcd_mirror.Learn). Raises when none of them answers."""
        failures: list[SwarmliteError] = []
        addresses = await self._addresses()
        for address in addresses:
            try:
                self._kept.add(await fetched(address, self._certificates_dir))
            except SwarmliteError as error:
                failures.append(error)
        if failures and len(failures) == len(addresses):
            raise failures[-1]

    async def hand_over(self, key: StoreKey) -> None:
        """Return once every other manager has `key` on its disk. Raises swarmlite's errors."""
        for address in await self._addresses():
            async with _ca(address, self._certificates_dir) as ca:
                request = pb.TakeStoreKeysRequest(keys=to_messages([key]))
                await ca.TakeStoreKeys(request, timeout=CALL_TIMEOUT_S)

    async def _addresses(self) -> list[str]:
        """From etcd itself, where nodes are never sealed: the view may not be readable yet."""
        found = []
        async for _, kvs in self._client.pages(key_of("node", "")):
            for kv in kvs:
                node = type_of_kind["node"].FromString(kv.value)  # type: ignore[attr-defined]
                if node.role == NodeRole.MANAGER and node.id != self._node_id:
                    found.append(node.manager_status.addr)
        return [address for address in found if address]


# The leader's duty
async def introduce(kept: KeptKeys, managers: Managers) -> StoreKey:
    """A new key, which seals from now on; every manager has it. Raises swarmlite's errors."""
    key = StoreKey.new()
    await managers.hand_over(key)
    kept.add([key])
    return key


async def reseal(client: EtcdClient, keys: StoreKeys, store: Store, fence: Fence | None) -> int:
    """Write again what does not lie sealed with the newest key; how many objects that were."""
    old = []
    for kind in SEALED_KINDS:
        async for _, kvs in client.pages(key_of(kind, "")):
            for kv in kvs:
                obj = store.view.table(kind).get(kv.key.rpartition(b"/")[2].decode())
                if obj is not None and is_sealed(obj) and not keys.is_current(kv.value):
                    old.append(Put(obj))
    conflicts = await store.commit_many(old, fence) if old else []
    if old:
        log.info("sealed %d objects, %d changed meanwhile", len(old), len(conflicts))
    return len(old)


async def keep_sealed(
    kept: KeptKeys, managers: Managers, client: EtcdClient, store: Store, fence: Fence
) -> None:
    """A leader's duty: a first key for a cluster of an older release, once every manager can hold
    it, and all values sealed with the newest, also after a rotation. Raises Fenced; never returns.
    """
    rewritten = False
    while True:
        try:
            kept.changed.clear()
            if not kept.keys:
                await introduce(kept, managers)
            if await reseal(client, kept.keys, store, fence):
                rewritten = True
                continue  # what changed meanwhile
            if rewritten:
                # The clear or older values are history, which etcd keeps until it is compacted.
                await client.compact(store.view.revision)
                rewritten = False
            await kept.changed.wait()  # then those that are handed the key after this one have it
        except Fenced:
            raise
        except (SwarmliteError, Compacted) as error:
            log.info("sealing waits: %s", error)
        except Exception:
            log.exception("sealing: what this round was to do is left to the next")
        await asyncio.sleep(RETRY_S)
