"""`certificates/`: the node's key and certificate, and the roots that it trusts, as PEM files.

Others read them while they change (gRPC's servers and etcd at each handshake, new connections):
each is replaced as a whole, and `stamp` says when. Only `files.Identity` writes them.
"""

from __future__ import annotations

from pathlib import Path

ROOTS, KEY, CERTIFICATE = "ca.crt", "node.key", "node.crt"
Stamp = tuple[int, int]


class Certificates:
    """The files of one folder, to be read. All raise OSError while there is none."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self.folder = folder

    @property
    def roots(self) -> bytes:
        """The trust bundle."""
        return (self.folder / ROOTS).read_bytes()

    @property
    def key(self) -> bytes:
        """The node's private key."""
        return (self.folder / KEY).read_bytes()

    @property
    def certificate(self) -> bytes:
        """The node's certificate."""
        return (self.folder / CERTIFICATE).read_bytes()

    def stamp(self) -> tuple[Stamp, Stamp]:
        """Another one whenever the certificate or the roots were replaced."""
        return stamp_of(self.folder / CERTIFICATE), stamp_of(self.folder / ROOTS)


def stamp_of(path: Path) -> Stamp:
    """Another one whenever the file was replaced. Raises OSError."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino
