"""What a store holds, in a file of a backup: every key of the cluster's at one revision.

Shape: KeyValue messages of etcd's, each with its length (4 bytes, big-endian) before it. Without
what managers hold for as long as they live: who leads, who is there, the marks of self-checks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from aetcd import rpc as etcd

from swarmlite.errors import InvalidSpec
from swarmlite.manager.store.api import MAX_OPERATIONS
from swarmlite.manager.store.etcd import MAX_BYTES
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.manager.store.etcd_mirror import GUARDS, PREFIX, key_of, objects_prefixes

_LENGTH = struct.Struct(">I")
_TASKS = key_of("task", "")


async def save(client: EtcdClient, path: Path) -> int:
    """Into a new file; the revision that it is of. Raises OSError, Unavailable, Compacted."""
    kept = (*objects_prefixes(), GUARDS)
    revision = 0
    with path.open("xb") as output:
        async for at, kvs in client.pages(PREFIX):
            revision = at
            for kv in kvs:
                if kv.key.startswith(kept):
                    content = kv.SerializeToString()
                    output.write(_LENGTH.pack(len(content)) + content)
    return revision


async def load(client: EtcdClient, path: Path) -> None:
    """Into a store that has nothing of a cluster; tasks keep the order in which they were made.

    Raises InvalidSpec for a file that was cut, OSError, Unavailable.
    """
    with path.open("rb") as source:
        kvs = sorted(_read(path, source), key=lambda kv: (kv.create_revision, kv.key))
    for group in _groups(kvs):
        request = etcd.TxnRequest()
        for kv in group:
            put = request.success.add().request_put
            put.key, put.value = kv.key, kv.value
        await client.txn(request)


def _read(path: Path, source: BinaryIO) -> Iterator[etcd.KeyValue]:
    while length := source.read(_LENGTH.size):
        content = source.read(_LENGTH.unpack(length)[0]) if len(length) == _LENGTH.size else b""
        if not content:
            raise InvalidSpec(f"{path.name} was cut: use another copy of the backup")
        yield etcd.KeyValue.FromString(content)


def _groups(kvs: Iterable[etcd.KeyValue]) -> Iterator[list[etcd.KeyValue]]:
    """One transaction each. Which of a slot's tasks is the newest is told by the revisions at which
    they were made: tasks of several are not put together.
    """
    group: list[etcd.KeyValue] = []
    size, made_at = 0, 0
    for kv in kvs:
        task = kv.key.startswith(_TASKS)
        apart = task and made_at not in (0, kv.create_revision)
        if group and (
            apart or len(group) == MAX_OPERATIONS or size + len(kv.value) + len(kv.key) > MAX_BYTES
        ):
            yield group
            group, size, made_at = [], 0, 0
        group.append(kv)
        size += len(kv.value) + len(kv.key)
        made_at = kv.create_revision if task else made_at
    if group:
        yield group
