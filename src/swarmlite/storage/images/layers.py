"""Unpacked layers: `layers/CHAIN/diff`, each with a short name `l/NAME` for overlay's options.

The mount options of an overlay must fit into a page: that is why layers have short names. A layer
appears by one rename once it is whole; what is left of an interrupted one lies in `tmp` and is
cleared at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import json
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
    SwarmliteError,
)
from swarmlite.ids import base36
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import chain_ids
from swarmlite.storage.images.syncing import DiskSync
from swarmlite.storage.images.types import LayerSource, Limits, Unpacked
from swarmlite.storage.images.unpack import inside
from swarmlite.storage.images.unpack.extract import inherit
from swarmlite.storage.images.unpackers import Unpackers
from swarmlite.storage.images.unsynced import Unsynced
from swarmlite.storage.trees import discard

_MAX_OPTIONS = 3900  # bytes of lowerdir=: a page, less the upper and work directories


@dataclass(frozen=True)
class Layer:
    """An unpacked layer; `short` is its name in `l`."""

    chain_id: str
    diff_id: str
    size_bytes: int
    short: str
    markers: bool = False


class LayerStore:
    """The unpacked layers below `root`; its methods are safe to call from one event loop."""

    def __init__(
        self, root: Path, limits: Limits, lost: Collection[str] = (), *, markers: bool = False
    ) -> None:
        """With `markers`, whiteouts of new layers are files and not overlayfs's own.

        Layers of the chain ids `lost` are dropped.
        """
        self._root = root
        self.markers = markers
        self._limits = limits
        self._layers: dict[str, Layer] = {}
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 2))
        self._sync = DiskSync(root)
        self.unsynced = Unsynced(root, self._sync)
        self.unpackers = Unpackers()
        self.users: list[Callable[[], Set[str]]] = []
        """Each says which layers somebody stands on; neither these nor images of them go."""
        self.keepers: list[Callable[[], Set[str]]] = []
        """Each says which further layers are not collected; images of them may go all the same."""
        self.guard = threading.Lock()
        """Held while what is used is looked at, and by whoever becomes a user."""
        for name in ("layers", "l", "tmp", "empty"):
            (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / "empty").chmod(0o755)
        self._clear()
        for chain_id in lost:
            trash = root / "tmp" / f"lost-{os.urandom(8).hex()}"
            with contextlib.suppress(FileNotFoundError):
                discard(self._path(chain_id).rename(trash))
        self._read()

    def get(self, chain_id: str) -> Layer | None:
        """The layer, where it is unpacked."""
        return self._layers.get(chain_id)

    def lower_dirs(self, chain: Sequence[str]) -> list[Path]:
        """Directories of the layers `chain` (lowest first), topmost first.

        Raises NotFound for a layer that is gone, FailedPrecondition where they are too many.
        """
        if not chain:
            return [self._root / "empty"]
        paths = []
        for chain_id in reversed(chain):
            layer = self._layers.get(chain_id)
            if layer is None:
                raise NotFound(f"layer {chain_id} is not unpacked: pull the image again")
            paths.append(_directory(self._root, layer.short))
        if sum(len(os.fsencode(path)) + 1 for path in paths) > _MAX_OPTIONS:
            raise FailedPrecondition(
                f"{len(paths)} layers below {self._root} do not fit into overlay's mount options: "
                "use a shorter state directory"
            )
        return paths

    async def unpack(
        self, source: LayerSource, *, base: bool, name: str, small: bool = False
    ) -> Scratch:
        """Unpack one layer into a scratch directory; `name` is for messages.

        `small`: it is a plain tar of a few files, not worth a process of its own.
        Raises InvalidSpec (a bad layer), ResourceExhausted (a limit or the disk); OSError of a
        small one.
        Cancelled: the process is ended and the scratch directory removed.
        """
        async with self._slots:
            scratch = Path(tempfile.mkdtemp(prefix="layer-", dir=self._root / "tmp"))
            try:
                (scratch / "diff").mkdir(mode=0o755)
                if small:
                    unpacked = await in_thread(
                        inside.unpack, source, scratch / "diff", self._limits, name
                    )
                else:
                    unpacked = await self._run(source, scratch / "diff", base=base, name=name)
            except BaseException:
                discard(scratch)
                raise
            return Scratch(scratch, unpacked)

    async def settle(self, scratch: Scratch, chain_id: str, *, sync: bool = True) -> None:
        """Bring what was unpacked to the disk: before `commit`, side by side for many layers.

        Without `sync` the caller has told `unsynced` of it.
        """
        scratch.layer = Layer(
            chain_id,
            scratch.unpacked.diff_id,
            scratch.unpacked.size_bytes,
            self._new_short(),
            self.markers,
        )
        link = self._root / "l" / scratch.layer.short
        link.symlink_to(f"../layers/{self._path(chain_id).name}/diff")  # takes the short name
        (scratch.path / "layer.json").write_text(json.dumps(asdict(scratch.layer)))
        if sync:
            await self.unsynced.flush()

    async def commit(self, scratch: Scratch, lowers: Sequence[str], *, sync: bool = True) -> Layer:
        """Make a settled layer one of the store; `lowers` are the chain ids below it.

        All of it was on the disk before it gets its name, or is named as `unsynced`: a power cut
        leaves it whole or absent.
        """
        layer = scratch.layer
        assert layer is not None, "not settled"
        if await asyncio.to_thread(self._inherit, scratch, lowers) and sync:
            await self._sync()
        scratch.path.rename(self._path(layer.chain_id))
        self._layers[layer.chain_id] = layer
        return layer

    def drop(self, scratch: Scratch) -> None:
        """Give a scratch directory up, and its name."""
        if scratch.layer is not None:
            (self._root / "l" / scratch.layer.short).unlink(missing_ok=True)
        discard(scratch.path)

    def collect(self, needed: Set[str]) -> list[Layer]:
        """Forget every layer that is neither in `needed` nor has users, topmost first.

        Their files go in the background.
        """
        with self.guard:
            asked = (*self.users, *self.keepers)
            used = set(needed).union(*(users() for users in asked))
            gone = [layer for key, layer in self._layers.items() if key not in used]
            for layer in gone:
                del self._layers[layer.chain_id]
        trash = []
        for layer in gone:  # by renames only: a full disk has no room for a directory of theirs
            (self._root / "l" / layer.short).unlink(missing_ok=True)
            target = self._root / "tmp" / f"trash-{layer.short}-{os.urandom(4).hex()}"
            trash.append(self._path(layer.chain_id).rename(target))
        discard(*trash)
        return gone[::-1]

    def used(self) -> set[str]:
        """Chain ids that somebody stands on."""
        with self.guard:
            return set().union(*(users() for users in self.users))

    def size(self, chain_id: str) -> int:
        """Unpacked bytes of a layer; 0 for one that is not here."""
        layer = self._layers.get(chain_id)
        return layer.size_bytes if layer else 0

    def chain_ids(self) -> list[str]:
        """All layers that are unpacked."""
        return list(self._layers)

    # what stands on layers names them in one short line
    def record(self, chain: Sequence[str]) -> str:
        """The layers `chain` by their short names, and the whole name of the topmost."""
        shorts = ":".join(self._layers[chain_id].short for chain_id in chain)
        return f"{shorts}@{chain[-1].partition(':')[2]}" if chain else "@"

    def read_record(self, text: str) -> tuple[str, ...]:
        """The chain that `record` wrote down; raises NotFound where a layer of it is gone."""
        names, _, top = text.partition("@")
        by_short = {layer.short: layer.chain_id for layer in self._layers.values()}
        chain = tuple(by_short.get(name, "") for name in names.split(":") if name)
        if "" in chain or (chain[-1] if chain else ":").partition(":")[2] != top:
            raise NotFound(f"layer {top[:12]} is not unpacked")
        if chain_ids([self._layers[key].diff_id for key in chain]) != chain:
            raise NotFound(f"layer {top[:12]} is not unpacked: its names are other layers' now")
        return chain

    async def _run(self, source: LayerSource, target: Path, *, base: bool, name: str) -> Unpacked:
        job = {
            "path": source.path,
            "offset": source.offset,
            "length": source.length,
            "target": str(target),
            "base": base,
            "markers": self.markers,
            "limits": asdict(self._limits),
            "libraries": _libraries(),
        }
        out, err, code = await self.unpackers.run(job)
        return _result(out, err, code, name, self._root)

    def _inherit(self, scratch: Scratch, lowers: Sequence[str]) -> bool:
        """Whether anything was to be inherited."""
        if not scratch.unpacked.implied or not lowers:
            return False
        with contextlib.ExitStack() as stack:

            def opened(path: Path) -> int:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                return fd

            root = opened(scratch.path / "diff")
            below = [opened(self._path(chain_id) / "diff") for chain_id in reversed(lowers)]
            for path in scratch.unpacked.implied:
                with contextlib.suppress(OSError):
                    inherit(root, iter(below), path)
        return True

    def _new_short(self) -> str:
        taken = {layer.short for layer in self._layers.values()}
        return next(name for name in _names() if name not in taken and not self._dangling(name))

    def _dangling(self, name: str) -> bool:
        return os.path.lexists(self._root / "l" / name)

    def _path(self, chain_id: str) -> Path:
        return self._root / "layers" / chain_id.partition(":")[2]

    def _clear(self) -> None:
        for leftover in (self._root / "tmp").iterdir():
            discard(leftover)

    def _read(self) -> None:
        for folder in (self._root / "layers").iterdir():
            try:
                layer = Layer(**json.loads((folder / "layer.json").read_text()))
                if layer.markers and not self.markers:
                    raise ValueError("overlayfs does not understand it")
                link = self._root / "l" / layer.short
                if not link.is_symlink():
                    link.symlink_to(f"../layers/{folder.name}/diff")
                self._layers[layer.chain_id] = layer
            except (OSError, ValueError, TypeError):
                discard(folder)
        known = {layer.short for layer in self._layers.values()}
        for link in (self._root / "l").iterdir():
            if link.name not in known:
                link.unlink()


@dataclass
class Scratch:
    """A layer that is unpacked and not yet part of the store; `layer` once it is settled."""

    path: Path
    unpacked: Unpacked
    layer: Layer | None = None


def disk_full(root: Path) -> ResourceExhausted:
    """The one line of a full disk."""
    return ResourceExhausted(f"no space left on the disk of {root}: remove images or enlarge it")


def _names() -> Iterator[str]:
    number = 0
    while True:
        yield base36(number, 2)
        number += 1


def _libraries() -> str:
    spec = find_spec("zstandard")
    return str(Path(spec.origin).parent.parent) if spec and spec.origin else ""


def _result(out: bytes, err: bytes, code: int | None, name: str, root: Path) -> Unpacked:
    try:
        answer = json.loads(out)
    except ValueError:
        why = err.decode(errors="replace").strip().splitlines()
        raise SwarmliteError(
            f"layer {name}: the unpacker ended with {code}: {why[-1] if why else 'no message'}"
        ) from None
    if "ok" in answer:
        return Unpacked(**{**answer["ok"], "implied": tuple(answer["ok"]["implied"])})
    if "bad" in answer:
        raise InvalidSpec(f"layer {name} is refused: {answer['bad']}")
    if "big" in answer:
        raise ResourceExhausted(f"layer {name} is refused: {answer['big']}")
    error = OSError(answer["errno"], answer["os"])
    raise os_error(error, root) from error


def os_error(error: OSError, root: Path) -> SwarmliteError:
    """What an OSError below the store means to a user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(root)
    return FailedPrecondition(f"the image store {root} cannot be written: {error.strerror}")


@functools.lru_cache(maxsize=4096)
def _directory(root: Path, short: str) -> Path:
    """A layer's, as overlay's options name it; asked for at each start of a container."""
    return root / "l" / short
