"""A backup's file: sealed in pieces, so that damage and a wrong passphrase are known before use.

Shape: MAGIC, one line of JSON (what it is of, and how the key is had), then pieces of a tar, each
with its length before it, sealed by AES-256-GCM under its number; the last one says that it is.
The key is scrypt's of the passphrase, or stands in the line itself where there is none: then the
file is whole or refused, and as secret as the folder that it lies in.
"""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from swarmlite.errors import InvalidSpec
from swarmlite.kernel import durable

CONTENTS = "store.kv"
FILES = (CONTENTS, "store.keys", "identity.json")
"""Of a whole backup; see backup.py."""
OLD_CONTENTS = "snapshot.db"
"""In earlier ones in the place of CONTENTS: etcd's own snapshot, which only its tool opens."""
MAGIC = b"swarmlite backup 1\n"
PIECE_BYTES = 1024 * 1024
_SCRYPT = {"n": 2**15, "r": 8, "p": 1}
_MAX_LINE = 64 * 1024
_LENGTH = struct.Struct(">I")


def write(path: Path, about: Mapping[str, Any], folder: Path, passphrase: str = "") -> None:
    """The files of `folder` as a backup, 0600, in one step. Raises OSError."""
    head, cipher = _new_key(dict(about), passphrase)
    scratch = durable.scratch_of(path)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as output:
            output.write(MAGIC + head)
            sealed = _Sealed(output, cipher, head)
            with tarfile.open(fileobj=cast("BinaryIO", sealed), mode="w|") as tar:
                for each in sorted(folder.iterdir()):
                    tar.add(each, each.name)
            sealed.finish()
            output.flush()
            os.fsync(output.fileno())
        durable.replace(scratch, path)
    except BaseException:
        durable.remove(scratch, sync=False)
        raise


def about(path: Path) -> dict[str, Any]:
    """What a file says that it is; nothing of it is proved yet. Raises InvalidSpec."""
    with _opened(path) as source:
        return dict(json.loads(_head(path, source)))


def read(path: Path, folder: Path, passphrase: str = "") -> dict[str, Any]:
    """Unpack into `folder`, empty; answer what the file is of. Raises InvalidSpec for one that is
    damaged or of something else, and for a wrong passphrase; OSError.
    """
    with _opened(path) as source:
        head = _head(path, source)
        said = dict(json.loads(head))
        cipher = _key_of(path, said, passphrase)
        pieces = _Pieces(_opened_pieces(path, source, cipher, head, bool(said.get("salt"))))
        try:
            with tarfile.open(fileobj=cast("BinaryIO", pieces), mode="r|") as tar:
                for member in tar:
                    if not member.isfile() or "/" in member.name or member.name.startswith("."):
                        raise InvalidSpec(f"{path}: {member.name!r} is nothing of a backup")
                    content = tar.extractfile(member)
                    assert content is not None
                    with (folder / member.name).open("xb") as output:
                        while part := content.read(PIECE_BYTES):
                            output.write(part)
            pieces.read_to_the_end()
        except tarfile.TarError as error:
            raise InvalidSpec(_damaged(path)) from error
    return said


def _new_key(about: dict[str, Any], passphrase: str) -> tuple[bytes, AESGCM]:
    if passphrase:
        salt = os.urandom(16)
        about["salt"] = salt.hex()
        secret = _derived(passphrase, salt)
    else:
        secret = os.urandom(32)
        about["key"] = base64.b64encode(secret).decode()
    return json.dumps(about).encode() + b"\n", AESGCM(secret)


def _key_of(path: Path, about: Mapping[str, Any], passphrase: str) -> AESGCM:
    try:
        if "salt" in about:
            if not passphrase:
                raise InvalidSpec(f"{path} is sealed by a passphrase: give --passphrase-file")
            return AESGCM(_derived(passphrase, bytes.fromhex(about["salt"])))
        return AESGCM(base64.b64decode(about["key"]))
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidSpec(_damaged(path)) from error


def _derived(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **_SCRYPT).derive(passphrase.encode())


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidSpec(f"{path}: {error.strerror}") from error


def _head(path: Path, source: BinaryIO) -> bytes:
    if source.read(len(MAGIC)) != MAGIC:
        raise InvalidSpec(f"{path} is not a backup of swarmlite's, or of a later release")
    head = source.readline(_MAX_LINE)
    try:
        if not isinstance(json.loads(head), dict):
            raise ValueError
    except ValueError as error:
        raise InvalidSpec(_damaged(path)) from error
    return head


class _Sealed(io.RawIOBase):
    """Takes what tar writes."""

    def __init__(self, output: BinaryIO, cipher: AESGCM, head: bytes) -> None:
        self._output, self._cipher, self._head = output, cipher, head
        self._held = bytearray()
        self._number = 0

    def write(self, data: Any) -> int:
        self._held += data
        while len(self._held) > PIECE_BYTES:
            self._piece(bytes(self._held[:PIECE_BYTES]), last=False)
            del self._held[:PIECE_BYTES]
        return len(data)

    def finish(self) -> None:
        """The rest, which is the last piece."""
        self._piece(bytes(self._held), last=True)

    def _piece(self, clear: bytes, last: bool) -> None:
        sealed = self._cipher.encrypt(_nonce(self._number), clear, _bound(self._head, last))
        self._output.write(_LENGTH.pack(len(sealed)) + sealed)
        self._number += 1


class _Pieces(io.RawIOBase):
    """Gives tar what it reads."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._held) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held += piece
        part, self._held = self._held[:size], self._held[size:]
        return part

    def read_to_the_end(self) -> None:
        """So that a file which was cut is found out."""
        for _ in self._pieces:
            pass


def _opened_pieces(
    path: Path, source: BinaryIO, cipher: AESGCM, head: bytes, by_passphrase: bool
) -> Iterator[bytes]:
    number, last = 0, False
    while not last:
        length = source.read(_LENGTH.size)
        if len(length) < _LENGTH.size:
            raise InvalidSpec(f"{path} was cut: its end is missing")
        sealed = source.read(min(_LENGTH.unpack(length)[0], PIECE_BYTES + 64))
        last = not source.read(1)
        if not last:
            source.seek(-1, os.SEEK_CUR)
        try:
            yield cipher.decrypt(_nonce(number), sealed, _bound(head, last))
        except InvalidTag as error:
            wrong = "the passphrase is wrong, or " if by_passphrase and number == 0 else ""
            raise InvalidSpec(wrong + _damaged(path)) from error
        number += 1


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(head: bytes, last: bool) -> bytes:
    return head + (b"last" if last else b"more")


def _damaged(path: Path) -> str:
    return f"{path} is damaged: use another copy"
