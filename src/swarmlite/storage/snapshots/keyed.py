"""What drivers of snapshots share: keys, their layers, how they go, what a start finds.

`KEY/layers` is a link whose text names the layers; a link is one entry of the disk's journal, so it
is there whole or not at all without a wait for the disk.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
    SwarmliteError,
)
from swarmlite.kernel import durable
from swarmlite.storage import trees
from swarmlite.storage.images.layers import LayerStore
from swarmlite.storage.snapshots.types import Root

_KEY = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")


class KeyedSnapshots:
    """Part of types.Snapshots; drivers add how a root is made and read."""

    def __init__(self, root: Path, layers: LayerStore) -> None:
        self._root = root
        self._layers = layers
        self._chains: dict[str, tuple[str, ...]] = {}
        self._changing = threading.Lock()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._read()
        layers.users.append(self._used)

    def prepare(self, key: str, layers: Sequence[str]) -> Root:
        """See types.Snapshots."""
        folder, chain = self._folder(key), tuple(layers)
        with self._changing:
            if (there := self._chains.get(key)) is not None and there != chain:
                raise AlreadyExists(f"snapshot {key} already exists with other layers")
            with self._layers.guard:
                self._chains[key] = chain  # before anything is looked up: now they stay
            try:
                with translating(self._root):
                    self._make(key, folder, chain)
            except BaseException:
                if there is None:
                    del self._chains[key]
                raise
        return self.root(key)

    def _make(self, key: str, folder: Path, chain: tuple[str, ...]) -> None:
        """Make what is missing of it. Raises NotFound for a layer, OSError."""
        raise NotImplementedError

    def _record(self, folder: Path, chain: tuple[str, ...]) -> None:
        with contextlib.suppress(FileExistsError):
            os.symlink(self._layers.record(chain), f"{folder}/layers")  # noqa: PTH211

    def root(self, key: str) -> Root:
        """See types.Snapshots."""
        raise NotImplementedError

    def layers(self, key: str) -> tuple[str, ...]:
        """See types.Snapshots."""
        try:
            return self._chains[key]
        except KeyError:
            raise NotFound(f"no such snapshot: {key}") from None

    def remove(self, key: str) -> None:
        """See types.Snapshots."""
        folder = self._folder(key)
        with self._changing, translating(self._root):
            gone = trees.renamed_aside(folder)
            self._chains.pop(key, None)
        if gone is not None:
            trees.sweep_later(gone)

    def keys(self) -> list[str]:
        """See types.Snapshots."""
        return list(self._chains)

    def _folder(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise InvalidSpec(f"invalid snapshot key {key[:80]!r}")
        return self._root / key

    def _used(self) -> set[str]:
        return {chain_id for chain in list(self._chains.values()) for chain_id in chain}

    def _read(self) -> None:
        for folder in self._root.iterdir():
            if folder.name.startswith((trees.GONE, ".part-")):
                trees.discard(folder)
            elif not folder.name.startswith("."):
                with contextlib.suppress(OSError, NotFound):
                    text = os.readlink(folder / "layers")  # noqa: PTH115
                    self._chains[folder.name] = self._layers.read_record(text)


@contextlib.contextmanager
def translating(root: Path) -> Iterator[None]:
    """OSErrors of the disk below `root` as what they mean to a user."""
    try:
        yield
    except OSError as error:
        raise translated(error, root) from error


def translated(error: OSError, root: Path) -> SwarmliteError:
    """One line for a user."""
    if durable.is_full(error):
        return ResourceExhausted(f"no space left on the disk of {root}")
    return FailedPrecondition(f"snapshots in {root}: {error.strerror or error}")
