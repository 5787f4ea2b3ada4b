"""This node's private key and the managers' key, on this node's disk and nowhere else.

Shape: 32 bytes of the private key, then the managers' 32, which may be missing yet; 0600.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from swarmlite.kernel import durable
from swarmlite.model.encryption import KEY_BYTES


@dataclass(frozen=True)
class Keys:
    """What the device needs to know; never shown."""

    private: bytes = field(repr=False)
    preshared: bytes = field(default=b"", repr=False)

    @property
    def public(self) -> bytes:
        """What other nodes know this one by."""
        return X25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()


def load(path: Path) -> Keys:
    """The keys of this node, made where there are none. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        if len(data) in (KEY_BYTES, 2 * KEY_BYTES):
            return Keys(data[:KEY_BYTES], data[KEY_BYTES:])
    keys = Keys(X25519PrivateKey.generate().private_bytes_raw())
    keep(path, keys)
    return keys


def keep(path: Path, keys: Keys) -> None:
    """Write them. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.write(path, keys.private + keys.preshared)
