"""What the tests of one etcd share."""

from __future__ import annotations

from pathlib import Path

from swarmlite.manager.ca.root import RootCA, Subject, new_request
from swarmlite.manager.store.sealing import StoreKey, StoreKeys

KEYS = StoreKeys([StoreKey.new()])
"""Of every store that a test opens, as managers of one cluster have the same."""


def certify(root: RootCA, folder: Path, subject: Subject) -> Path:
    """A folder as a node's `certificates`, signed by `root`."""
    folder.mkdir(parents=True)
    key, csr = new_request()
    (folder / "ca.crt").write_bytes(root.cert)
    (folder / "node.key").write_bytes(key)
    (folder / "node.crt").write_bytes(root.issue(csr, subject))
    return folder
