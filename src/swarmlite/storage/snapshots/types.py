"""The contract of snapshots, which every driver keeps (tests/storage/test_snapshots.py)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

MAX_CHANGES = 200_000


@dataclass(frozen=True)
class Root:
    """How a container's root is made: an overlay of folders, or one plain `directory`."""

    key: str
    lower_dirs: tuple[Path, ...] = ()
    """Topmost first."""
    upper: Path | None = None
    work: Path | None = None
    directory: Path | None = None
    more_options: str = ""

    @property
    def overlay(self) -> str:
        """The options of the overlay, for mount(2); empty where the root is a directory."""
        if self.directory is not None:
            return ""
        lowers = ":".join(escaped(path) for path in self.lower_dirs)
        options = f"lowerdir={lowers}"
        if self.upper is not None and self.work is not None:
            options += f",upperdir={escaped(self.upper)},workdir={escaped(self.work)}"
        return options + self.more_options


@dataclass(frozen=True, order=True)
class Change:
    """One line of `diff`: the path begins with a slash, `kind` is Added, Changed or Deleted."""

    path: str
    kind: Literal["A", "C", "D"]


class Snapshots(Protocol):
    """Writable file systems by key; a key is 1 to 128 of a-z, A-Z, 0-9, '.', '_' and '-'.

    Safe to call from any thread. All of it blocks; with `quick`, `prepare` does for no longer than
    a few mkdirs, and may be called on an event loop. Raises NotFound for an unknown key,
    ResourceExhausted for a full disk or a bound that is passed, else FailedPrecondition.
    """

    driver: str
    quick: bool

    def prepare(self, key: str, layers: Sequence[str]) -> Root:
        """The snapshot `key` over `layers` (chain ids, lowest first), made where it is missing.

        Safe to repeat, after a crash in the middle of it too. Raises NotFound for a layer that is
        not here, AlreadyExists for a key with other layers. Its layers stay until `remove`.
        """

    def root(self, key: str) -> Root:
        """How it is mounted."""

    def image_dirs(self, layers: Sequence[str]) -> list[Path]:
        """Directories that show an image itself, topmost first: one more than one needs overlayfs.

        They are there for as long as a snapshot over these layers is.
        """

    def layers(self, key: str) -> tuple[str, ...]:
        """What it was prepared over."""

    def mounted(self, key: str, *, write: bool = False) -> AbstractContextManager[Path]:
        """A directory that shows it, of this process only, while its container does not run.

        Without `write` it may run: what is seen may then be old. The names in it are a
        container's: open them with kernel.paths.open_in_root, or walk without following links.
        """

    def changes(self, key: str, *, limit: int = MAX_CHANGES) -> list[Change]:
        """What differs from its layers, by path; raises ResourceExhausted above `limit`."""

    def usage(self, key: str) -> int:
        """The bytes of what differs from its layers, as `ps --size` shows it."""

    def commit(self, key: str, *, first_id: int = 0, id_count: int = 0) -> Iterator[bytes]:
        """The difference as the tar of a layer (OCI image-spec, layer.md), piece by piece.

        `first_id`: the host's id that is the container's 0, of `id_count`; 0 for all as they are.
        """

    def remove(self, key: str) -> None:
        """Take it away; safe to repeat. The key is free when this returns, the disk soon after."""

    def keys(self) -> list[str]:
        """All that there are."""


def escaped(path: Path) -> str:
    """A path within overlay's options, where a colon and a comma separate."""
    text = os.fspath(path)
    if not any(character in text for character in "\\:,"):
        return text
    return text.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
