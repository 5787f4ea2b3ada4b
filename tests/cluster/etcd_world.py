"""What the tests of one etcd share."""

from __future__ import annotations

from swarmlite.manager.store.sealing import StoreKey, StoreKeys

KEYS = StoreKeys([StoreKey.new()])
"""Of every store that a test opens, as managers of one cluster have the same."""
