"""What lies encrypted in etcd, and how: the one place where a stored value is sealed and opened.

Sealed are secrets, configs, the cluster (the CA's key, the join tokens), and the services and tasks
that carry a registry's credentials. The keys are never in etcd; every manager has them in a file
of its own (`manager/storekeys.py`).

Shape of a sealed value: a zero byte, which begins no protobuf message; the format, 1; the key's id,
8 bytes; a nonce, 12 bytes; AES-256-GCM's text and tag. The key under which it lies is authenticated
with it, so that nobody can put one secret's value in the place of another's.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from swarmlite.proto.objects_pb2 import Cluster, Config, Secret, Service, Task

from .api import Object

SEALED_KINDS = ("cluster", "secret", "config", "service", "task")
"""Kinds of which some objects, or all, are sealed."""

_MARK = b"\0\1"
_ID_BYTES, _NONCE_BYTES, _KEY_BYTES = 8, 12, 32
_HEAD = len(_MARK) + _ID_BYTES + _NONCE_BYTES


class UnknownKey(Exception):
    """A value was sealed with a key that this manager does not have (yet): `key_id` says which."""

    def __init__(self, key_id: bytes) -> None:
        super().__init__(f"no key {key_id.hex()} for what lies in the store")
        self.key_id = key_id


class Unreadable(Exception):
    """A sealed value was changed, cut or put under another key."""


@dataclass(frozen=True)
class StoreKey:
    """One key and its id; never shown."""

    id: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.id) != _ID_BYTES or len(self.secret) != _KEY_BYTES:
            raise ValueError("a store key is an id of 8 bytes and a secret of 32")

    @classmethod
    def new(cls) -> StoreKey:
        """A random one."""
        return cls(secrets.token_bytes(_ID_BYTES), secrets.token_bytes(_KEY_BYTES))


class StoreKeys:
    """A manager's keys, oldest first: the newest seals, all of them open."""

    def __init__(self, keys: Iterable[StoreKey] = ()) -> None:
        self._keys: dict[bytes, StoreKey] = {}
        self._ciphers: dict[bytes, AESGCM] = {}
        self._newest: StoreKey | None = None
        self.add(keys)

    def __iter__(self) -> Iterator[StoreKey]:
        return iter(self._keys.values())

    def __contains__(self, key_id: bytes) -> bool:
        return key_id in self._keys

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, keys: Iterable[StoreKey]) -> bool:
        """Take what is not known yet; whether there was any. The last of them seals from now on."""
        new = [key for key in keys if key.id not in self._keys]
        for key in new:
            self._keys[key.id] = self._newest = key
            self._ciphers[key.id] = AESGCM(key.secret)
        return bool(new)

    def seal(self, place: bytes, value: bytes) -> bytes:
        """`value` as it may lie at `place`. As it is while there is no key: a cluster of an older
        release, until its leader has handed one to every manager.
        """
        if self._newest is None:
            return value
        head = _MARK + self._newest.id + os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self._newest.id]
        return head + cipher.encrypt(head[-_NONCE_BYTES:], value, place)

    def open(self, place: bytes, value: bytes) -> bytes:
        """What was sealed, or `value` itself if it was not. Raises UnknownKey and Unreadable."""
        if not value.startswith(b"\0"):
            return value
        if not value.startswith(_MARK) or len(value) < _HEAD:
            raise Unreadable(f"{place!r} has no form that this release knows")
        key_id = value[len(_MARK) : len(_MARK) + _ID_BYTES]
        if key_id not in self._ciphers:
            raise UnknownKey(key_id)
        nonce = value[_HEAD - _NONCE_BYTES : _HEAD]
        try:
            return self._ciphers[key_id].decrypt(nonce, value[_HEAD:], place)
        except InvalidTag as error:
            raise Unreadable(f"{place!r} is not what was sealed there") from error

    def is_current(self, value: bytes) -> bool:
        """Whether `value` is sealed with the newest key."""
        return self._newest is not None and value.startswith(_MARK + self._newest.id)


def is_sealed(obj: Object) -> bool:
    """Whether an object is one of those that lie sealed."""
    if isinstance(obj, Task):
        return obj.spec.container.pull_options.registry_auth != ""
    if isinstance(obj, Service):
        return any(
            spec.task.container.pull_options.registry_auth for spec in (obj.spec, obj.previous_spec)
        )
    return isinstance(obj, Secret | Config | Cluster)
