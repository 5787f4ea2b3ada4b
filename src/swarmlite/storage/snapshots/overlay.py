"""Snapshots for overlayfs: `KEY/upper` and `KEY/work` over the folders of the image's layers."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.storage import trees
from swarmlite.storage.images.layers import LayerStore
from swarmlite.storage.snapshots import detached, differences
from swarmlite.storage.snapshots.keyed import KeyedSnapshots, translated, translating
from swarmlite.storage.snapshots.tars import TarStream
from swarmlite.storage.snapshots.types import MAX_CHANGES, Change, Root

_PARAMETERS = Path("/sys/module/overlay/parameters")


class OverlaySnapshots(KeyedSnapshots):
    """See types.Snapshots."""

    driver = "overlay"
    quick = True

    def __init__(self, root: Path, layers: LayerStore, below: Sequence[Path] = ()) -> None:
        """`below` are directories that lie below every image, such as one of mounts' places."""
        self._below = list(below)
        self._options = _defaults_undone()
        super().__init__(root, layers)
        (root / ".place").mkdir(mode=0o700, exist_ok=True)

    def _make(self, key: str, folder: Path, chain: tuple[str, ...]) -> None:
        self._layers.lower_dirs(chain)  # all of them are here
        for name, mode in (("", 0o700), ("/upper", 0o755), ("/work", 0o700)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{folder}{name}", mode)  # noqa: PTH102
                if mode == 0o755:  # the root of the container: its users must pass
                    os.chmod(f"{folder}{name}", mode)  # noqa: PTH101
        self._record(folder, chain)

    def root(self, key: str) -> Root:
        """See types.Snapshots."""
        folder = f"{self._root}/{key}"
        lowers = (*self._layers.lower_dirs(self.layers(key)), *self._below)
        upper, work = Path(f"{folder}/upper"), Path(f"{folder}/work")
        return Root(key, lowers, upper, work, more_options=self._options)

    def image_dirs(self, layers: Sequence[str]) -> list[Path]:
        """See types.Snapshots."""
        return self._layers.lower_dirs(layers)

    @contextlib.contextmanager
    def mounted(self, key: str, *, write: bool = False) -> Iterator[Path]:
        """See types.Snapshots."""
        root = self.root(key)
        if not write and root.upper is not None:
            # read only, the difference is one more layer: no work directory is touched
            root = Root(key, (root.upper, *root.lower_dirs), more_options=self._options)
        with self._opened(root, read_only=not write) as descriptor:
            yield Path(f"/proc/self/fd/{descriptor}")

    @contextlib.contextmanager
    def _opened(self, root: Root, *, read_only: bool) -> Iterator[int]:
        try:
            manager = detached.overlay(root.overlay, self._root / ".place", read_only=read_only)
            descriptor = manager.__enter__()
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise FailedPrecondition(f"snapshot {root.key} is in use") from error
            raise translated(error, self._root) from error
        try:
            yield descriptor
        finally:
            manager.__exit__(None, None, None)

    @contextlib.contextmanager
    def _compared(self, key: str) -> Iterator[differences.Pair]:
        """Descriptors of the difference and of all that lies below it."""
        root = self.root(key)
        assert root.upper is not None
        with self._over(root.upper, self.layers(key)) as pair:
            yield pair

    @contextlib.contextmanager
    def _over(self, difference: Path, layers: Sequence[str]) -> Iterator[differences.Pair]:
        # overlayfs wants two directories at least
        lowers = (*self._layers.lower_dirs(layers), self._root / ".place")
        with self._opened(Root("", lowers), read_only=True) as below:
            upper = os.open(difference, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield differences.Pair(upper, below)
            finally:
                os.close(upper)

    def changes(self, key: str, *, limit: int = MAX_CHANGES) -> list[Change]:
        """See types.Snapshots."""
        with self._compared(key) as pair, translating(self._root):
            return differences.changes(pair, limit)

    def usage(self, key: str) -> int:
        """See types.Snapshots."""
        self.layers(key)
        with translating(self._root):
            return trees.size(self._root / key / "upper")

    @contextlib.contextmanager
    def shown(self, layers: Sequence[str]) -> Iterator[Path]:
        """A directory that shows what layers come to, and nothing else; the caller keeps them."""
        lowers = (*self._layers.lower_dirs(layers), self._root / ".place")
        with self._opened(Root("", lowers), read_only=True) as descriptor:
            yield Path(f"/proc/self/fd/{descriptor}")

    def layer_tar(self, layers: Sequence[str]) -> Generator[bytes, None, None]:
        """The topmost of some layers as a tar: the same as `commit` gave of its difference."""
        difference = self._layers.lower_dirs(layers)[0]
        with self._over(difference, layers[:-1]) as pair, translating(self._root):
            yield from differences.tar(pair, TarStream())

    def take(self, key: str, place: Path) -> None:
        """Move the difference away, to be a layer; the snapshot is good for `remove` only.

        Raises OSError.
        """
        upper = self.root(key).upper
        assert upper is not None
        os.rename(upper, place)  # noqa: PTH104

    def commit(self, key: str, *, first_id: int = 0, id_count: int = 0) -> Iterator[bytes]:
        """See types.Snapshots."""
        with self._compared(key) as pair, translating(self._root):
            yield from differences.tar(pair, TarStream(first_id, id_count))


def _defaults_undone() -> str:
    """Options against defaults of this kernel that would make differences unreadable as layers."""
    options = ""
    for name in ("redirect_dir", "metacopy"):
        with contextlib.suppress(OSError):
            if (_PARAMETERS / name).read_text().strip() in ("Y", "on"):
                options += f",{name}=off"
    return options
