"""Snapshots where overlayfs is not to be had: `KEY/root` is a whole copy of its image.

An image is put together once, in `.base-CHAIN`, for as long as a snapshot stands on it: what
containers are copied from (sharing blocks where the file system can) and compared with.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from swarmlite.kernel import mounting
from swarmlite.storage import trees
from swarmlite.storage.images.layers import LayerStore
from swarmlite.storage.snapshots import comparing, copier
from swarmlite.storage.snapshots.differences import Pair
from swarmlite.storage.snapshots.keyed import KeyedSnapshots, translating
from swarmlite.storage.snapshots.tars import TarStream
from swarmlite.storage.snapshots.types import MAX_CHANGES, Change, Root

_BASE = ".base-"


class CopyingSnapshots(KeyedSnapshots):
    """See types.Snapshots."""

    driver = "copying"
    quick = False

    def __init__(self, root: Path, layers: LayerStore) -> None:
        super().__init__(root, layers)
        self._drop_unused_bases()

    def _make(self, key: str, folder: Path, chain: tuple[str, ...]) -> None:
        base = self._base(chain)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._record(folder, chain)
        if not (folder / "root").exists():
            part = self._root / f".part-{key}"
            self._copied(lambda: copier.copy_tree(base, part), part)
            part.rename(folder / "root")

    def _base(self, chain: tuple[str, ...]) -> Path:
        """The image's whole tree. Raises NotFound for a layer that is gone."""
        lowers = self._layers.lower_dirs(chain)
        base = self._root / f"{_BASE}{self._layers.record(chain).partition('@')[2]}"
        if base.exists():
            return base
        part = self._root / f".part-{base.name}"

        def build() -> None:
            for lower in reversed(lowers):
                copier.add_layer(lower, part)

        self._copied(build, part)
        part.rename(base)
        return base

    def _copied(self, work: Callable[[], None], part: Path) -> None:
        """Do the copying into an empty directory, which goes when that fails."""
        trees.remove(part)
        part.mkdir(mode=0o755)
        try:
            work()
        except BaseException:
            trees.sweep(part)
            raise

    def root(self, key: str) -> Root:
        """See types.Snapshots."""
        self.layers(key)
        return Root(key, directory=self._root / key / "root")

    def image_dirs(self, layers: Sequence[str]) -> list[Path]:
        """See types.Snapshots."""
        with self._changing, translating(self._root):
            return [self._base(tuple(layers))]

    @contextlib.contextmanager
    def mounted(self, key: str, *, write: bool = False) -> Iterator[Path]:
        """See types.Snapshots."""
        self.layers(key)
        directory = self._root / key / "root"
        if write:
            yield directory
            return
        tree = mounting.open_tree(
            mounting.AT_FDCWD, os.fsencode(directory), mounting.OPEN_TREE_CLONE
        )
        try:
            mounting.mount_setattr(tree, b"", mounting.AT_EMPTY_PATH, mounting.MOUNT_ATTR_RDONLY)
            yield Path(f"/proc/self/fd/{tree}")
        finally:
            os.close(tree)

    @contextlib.contextmanager
    def _compared(self, key: str) -> Iterator[Pair]:
        with contextlib.ExitStack() as stack, translating(self._root):
            opened = []
            for path in (self._root / key / "root", self._base(self.layers(key))):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                opened.append(fd)
            yield Pair(*opened)

    def changes(self, key: str, *, limit: int = MAX_CHANGES) -> list[Change]:
        """See types.Snapshots."""
        with self._compared(key) as pair:
            return comparing.changes(pair, limit)

    def usage(self, key: str) -> int:
        """See types.Snapshots."""
        with self._compared(key) as pair:
            return comparing.usage(pair)

    def commit(self, key: str, *, first_id: int = 0, id_count: int = 0) -> Iterator[bytes]:
        """See types.Snapshots."""
        with self._compared(key) as pair:
            yield from comparing.tar(pair, TarStream(first_id, id_count))

    def remove(self, key: str) -> None:
        """See types.Snapshots."""
        super().remove(key)
        self._drop_unused_bases()

    def _drop_unused_bases(self) -> None:
        with self._changing:
            tops = {chain[-1].partition(":")[2] if chain else "" for chain in self._chains.values()}
            for base in self._root.glob(f"{_BASE}*"):
                if base.name.removeprefix(_BASE) not in tops:
                    trash = self._root / f".gone-{base.name}-{os.urandom(4).hex()}"
                    with contextlib.suppress(OSError):
                        base.rename(trash)
                        trees.discard(trash)
