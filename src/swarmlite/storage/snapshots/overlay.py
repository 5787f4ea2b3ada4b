"""Snapshots for overlayfs: `KEY/upper` and `KEY/work` over the folders of the image's layers.

`KEY/layers` is a link whose text says which these are; a link is one entry of the disk's journal,
so it is there whole or not at all without a wait for the disk.
"""

from __future__ import annotations

import contextlib
import errno
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
from swarmlite.storage.snapshots import detached, differences
from swarmlite.storage.snapshots.types import MAX_CHANGES, Change, Root

_KEY = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_PARAMETERS = Path("/sys/module/overlay/parameters")


class OverlaySnapshots:
    """See types.Snapshots."""

    driver = "overlay"
    quick = True

    def __init__(self, root: Path, layers: LayerStore, below: Sequence[Path] = ()) -> None:
        """`below` are directories that lie below every image, such as one of mounts' places."""
        self._root = root
        self._layers = layers
        self._below = list(below)
        self._chains: dict[str, tuple[str, ...]] = {}
        self._changing = threading.Lock()
        self._options = _defaults_undone()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / ".place").mkdir(mode=0o700, exist_ok=True)
        self._read()
        layers.users.append(self._used)

    def prepare(self, key: str, layers: Sequence[str]) -> Root:
        """See types.Snapshots."""
        folder, chain = self._folder(key), tuple(layers)
        with self._changing:
            if (there := self._chains.get(key)) is not None and there != chain:
                raise AlreadyExists(f"snapshot {key} is there with other layers")
            with self._layers.guard:
                self._chains[key] = chain  # before anything is looked up: now they stay
            try:
                root = self._make(key, folder, chain)
            except BaseException:
                if there is None:
                    del self._chains[key]
                raise
        return root

    def _make(self, key: str, folder: Path, chain: tuple[str, ...]) -> Root:
        root = self._describe(key, chain)
        try:
            for name, mode in (("", 0o700), ("/upper", 0o755), ("/work", 0o700)):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(f"{folder}{name}", mode)  # noqa: PTH102
                    if mode == 0o755:  # the root of the container: its users must pass
                        os.chmod(f"{folder}{name}", mode)  # noqa: PTH101
            with contextlib.suppress(FileExistsError):
                os.symlink(self._layers.record(chain), f"{folder}/layers")  # noqa: PTH211
        except OSError as error:
            raise translated(error, self._root) from error
        return root

    def root(self, key: str) -> Root:
        """See types.Snapshots."""
        return self._describe(key, self.layers(key))

    def layers(self, key: str) -> tuple[str, ...]:
        """See types.Snapshots."""
        try:
            return self._chains[key]
        except KeyError:
            raise NotFound(f"no such snapshot: {key}") from None

    def _describe(self, key: str, chain: tuple[str, ...]) -> Root:
        folder = self._root / key
        lowers = (*self._layers.lower_dirs(chain), *self._below)
        return Root(key, lowers, folder / "upper", folder / "work", more_options=self._options)

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
        # overlayfs wants two directories at least
        lowers = (*self._layers.lower_dirs(self.layers(key)), self._root / ".place")
        with self._opened(Root(key, lowers), read_only=True) as below:
            upper = os.open(root.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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

    def commit(self, key: str) -> Iterator[bytes]:
        """See types.Snapshots."""
        with self._compared(key) as pair, translating(self._root):
            yield from differences.tar(pair)

    def remove(self, key: str) -> None:
        """See types.Snapshots."""
        folder = self._folder(key)
        with self._changing:
            trash = self._root / f".gone-{key}"
            try:
                trees.remove(trash)  # of an earlier one of this name
                os.rename(folder, trash)  # noqa: PTH104
            except FileNotFoundError:
                self._chains.pop(key, None)
                return
            except OSError as error:
                raise translated(error, self._root) from error
            self._chains.pop(key, None)
        trees.sweep(trash)

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
            if folder.name.startswith(".gone-"):
                trees.discard(folder)
            elif not folder.name.startswith("."):
                with contextlib.suppress(OSError, NotFound):
                    text = os.readlink(folder / "layers")  # noqa: PTH115
                    self._chains[folder.name] = self._layers.read_record(text)


def _defaults_undone() -> str:
    """Options against defaults of this kernel that would make differences unreadable as layers."""
    options = ""
    for name in ("redirect_dir", "metacopy"):
        with contextlib.suppress(OSError):
            if (_PARAMETERS / name).read_text().strip() in ("Y", "on"):
                options += f",{name}=off"
    return options


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
