"""Autolock: a manager's private key and its store keys, useless on the disk without the unlock key.

Shape: `manager/locked.keys` holds both, sealed by the unlock key (one file, so that they change
together); RUN_DIR/unlocked is a tmpfs with the keys and the unlock key, and each key's place is a
link to there. So etcd, gRPC and everyone else read where they always do. The daemon forgets the
tmpfs when it starts and when it ends; until `unlock` the manager's processes do not run then.

The manager's process locks and unlocks as the cluster says; `write` keeps a key that changes in the
form that it has. AES-256-GCM is imported when it is needed: the daemon, which only looks and
forgets, is of the standard library.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from swarmlite.client import membership
from swarmlite.errors import FailedPrecondition, InvalidSpec, PermissionDenied
from swarmlite.kernel import durable, mounting
from swarmlite.paths import Paths

PREFIX = "SWMKEY-1-"
NOT_LOCKED = "swarm is not locked"
WRONG_KEY = "swarm could not be unlocked: invalid key provided"
_FORMAT = b"swarmlite locked keys 1\n"
_KEY_BYTES, _NONCE_BYTES = 32, 12
_OWN_KEY = membership.UNLOCKED_BY


def new_key() -> str:
    """A new unlock key, in the form that people keep."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode().rstrip("=")


def secret_of(key: str) -> bytes:
    """An unlock key's secret. Raises InvalidSpec for what has not its form."""
    text = key.strip()
    try:
        if not text.startswith(PREFIX):
            raise ValueError
        encoded = text.removeprefix(PREFIX)
        secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        if len(secret) != _KEY_BYTES:
            raise ValueError
    except (ValueError, binascii.Error) as error:
        raise InvalidSpec(
            f"invalid unlock key: expected {PREFIX} and the 43 characters that"
            " `swarmlite swarm unlock-key` shows on an unlocked manager"
        ) from error
    return secret


class KeyLock:
    """Of the node in one pair of directories. Methods block, and raise OSError."""

    def __init__(self, paths: Paths) -> None:
        """Nothing is read yet."""
        self._paths = paths
        self._places = {
            "node.key": paths.certificates_dir / "node.key",
            "store.keys": paths.store_keys_file,
            "etcd.key": paths.external_etcd_dir / "node.key",
        }

    @property
    def engaged(self) -> bool:
        """Whether the keys on the disk are sealed."""
        return self._paths.locked_keys_file.exists()

    @property
    def locked(self) -> bool:
        """Whether somebody has to unlock this manager before it can run."""
        return membership.is_locked(self._paths)

    def key(self) -> str:
        """The unlock key in use; empty without autolock. Raises FailedPrecondition when locked."""
        if not self.engaged:
            return ""
        try:
            return self._tmp(_OWN_KEY).read_text()
        except FileNotFoundError as error:
            raise FailedPrecondition(membership.LOCKED.format(program="swarmlite")) from error

    def forget(self) -> None:
        """Lock, where autolock is on: what the tmpfs holds is gone with it. Safe to repeat."""
        folder = self._paths.unlocked_dir
        if folder.is_dir():
            for path in folder.iterdir():
                durable.remove(path, sync=False)
            if folder.is_mount():
                mounting.umount(os.fsencode(folder), mounting.MNT_DETACH)
            folder.rmdir()

    # as the cluster says
    def follow(self, key: str) -> bool:
        """Seal by `key` from now on, or by none where it is empty; False when that is so already.

        Safe to repeat after a crash at any step. Raises FailedPrecondition when locked.
        """
        with self._alone():
            if key == self.key():
                return False
            if key:
                self._seal(key)
            else:
                self._open()
            return True

    def write(self, name: str, content: bytes) -> None:
        """Put a new node.key or store.keys in its place, in the form that the keys have now."""
        with self._alone():
            key = self.key()
            if not key:
                durable.write(self._places[name], content)
                return
            held = {**self._held(), name: content}
            self._save(key, held)
            durable.write(self._tmp(name), content, sync=False)
            self._link(name)

    def unlock(self, key: str) -> None:
        """Bring the keys to their tmpfs. Raises InvalidSpec, and PermissionDenied for a wrong key;
        FailedPrecondition when nothing is locked or the file is broken.
        """
        secret = secret_of(key)
        with self._alone():
            if not self.locked:
                raise FailedPrecondition(NOT_LOCKED)
            held = _opened(self._paths.locked_keys_file, secret)
            # A file in the place of a link is newer: a change that a crash cut short.
            newer = {n: p.read_bytes() for n, p in self._places.items() if _is_file(p)}
            if newer:
                held.update(newer)
                self._save(key, held)
            self._mount()
            for name, content in held.items():
                durable.write(self._tmp(name), content, sync=False)
                self._link(name)
            durable.write(self._tmp(_OWN_KEY), key.strip().encode(), sync=False)

    # parts
    def _seal(self, key: str) -> None:
        held = self._held()
        self._mount()
        for name, content in held.items():
            durable.write(self._tmp(name), content, sync=False)
        self._save(key, held)
        durable.write(self._tmp(_OWN_KEY), key.encode(), sync=False)
        for name in held:
            self._link(name)

    def _open(self) -> None:
        for name, content in self._held().items():
            durable.write(self._places[name], content)
        durable.remove(self._paths.locked_keys_file)
        self.forget()

    def _held(self) -> dict[str, bytes]:
        """The keys there are, by their names."""
        return {n: place.read_bytes() for n, place in self._places.items() if place.exists()}

    def _save(self, key: str, held: Mapping[str, bytes]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        clear = json.dumps({n: base64.b64encode(c).decode() for n, c in held.items()}).encode()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(secret_of(key)).encrypt(nonce, clear, _FORMAT)
        target = self._paths.locked_keys_file
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write(target, _FORMAT + nonce + sealed)

    def _link(self, name: str) -> None:
        """The key's place leads to the tmpfs; what was a file there is overwritten and gone."""
        place, target = self._places[name], self._tmp(name)
        if place.is_symlink() and place.readlink() == target:
            return
        scratch = durable.scratch_of(place)
        durable.remove(scratch, sync=False)
        scratch.symlink_to(target)
        with contextlib.ExitStack() as opened:
            clear = None
            if _is_file(place):
                clear = os.open(place, os.O_WRONLY | os.O_CLOEXEC)
                opened.callback(os.close, clear)
            durable.replace(scratch, place)
            if clear is not None:
                os.pwrite(clear, bytes(os.fstat(clear).st_size), 0)
                os.fsync(clear)

    def _mount(self) -> None:
        folder = self._paths.unlocked_dir
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.is_mount():
            return
        flags = mounting.MS_NOSUID | mounting.MS_NODEV | mounting.MS_NOEXEC
        mounting.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, b"mode=0700,size=1m")

    def _tmp(self, name: str) -> Path:
        return self._paths.unlocked_dir / name

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time: the agent renews, the manager locks."""
        descriptor = os.open(self._paths.state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _opened(path: Path, secret: bytes) -> dict[str, bytes]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    content = path.read_bytes()
    nonce = content[len(_FORMAT) : len(_FORMAT) + _NONCE_BYTES]
    if not content.startswith(_FORMAT) or len(nonce) < _NONCE_BYTES:
        raise FailedPrecondition(f"{path} has no form that this release knows")
    try:
        sealed = content[len(_FORMAT) + _NONCE_BYTES :]
        clear = AESGCM(secret).decrypt(nonce, sealed, _FORMAT)
    except InvalidTag as error:
        raise PermissionDenied(WRONG_KEY) from error
    return {name: base64.b64decode(text) for name, text in json.loads(clear).items()}


def _is_file(path: Path) -> bool:
    """A file itself, and no link to one."""
    try:
        return not path.is_symlink() and path.is_file()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
