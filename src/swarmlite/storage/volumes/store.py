"""Volumes of one host: the driver `local`.

Owns the volumes directory: `NAME/volume.json` and the data in `NAME/_data`. Who uses a volume is
passed to it when one is removed; it knows nothing of containers and tasks.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
    reason,
)
from swarmlite.kernel import durable
from swarmlite.storage import trees
from swarmlite.storage.leases import Leases, holding
from swarmlite.storage.volumes import mounter
from swarmlite.storage.volumes.options import NETWORK, mount_call
from swarmlite.storage.volumes.options import check as check_options

DRIVER = "local"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
ANONYMOUS_LABEL = "com.docker.volume.anonymous"
"""Docker's mark of a volume that nobody named."""
_COPIER = Path(__file__).with_name("copy_up.py")


@dataclass(frozen=True)
class Volume:
    """A volume; `created` is in seconds since the epoch."""

    name: str
    mountpoint: Path
    driver: str = DRIVER
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0

    @property
    def anonymous(self) -> bool:
        """Whether nobody named it."""
        return ANONYMOUS_LABEL in self.labels


class VolumeStore:
    """The volumes below `root`, which one process at a time may use, from any of its threads."""

    def __init__(self, root: Path, *, leases: Leases | None = None) -> None:
        self._root = root
        self._leases = leases
        self._locks: dict[str, threading.Lock] = {}
        self._changing = threading.Lock()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        for leftover in root.glob(".removed-*"):  # of a removal that was cut short
            trees.discard(leftover)
        for folder in root.iterdir():
            if not folder.name.startswith(".") and not (folder / "volume.json").exists():
                _drop_unborn(folder)

    def create(
        self,
        name: str = "",
        *,
        driver: str = DRIVER,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        owner: str = "",
    ) -> Volume:
        """A new volume, or the one of this name and options that is there; empty names are random.

        `options` are those of Docker's local driver: type, o, device. It is held for `owner`,
        where one is named, before anybody else can remove it. Raises InvalidSpec, AlreadyExists
        (the name has other options), ResourceExhausted (the disk is full).
        """
        if not name:
            name, labels = secrets.token_hex(32), {**(labels or {}), ANONYMOUS_LABEL: ""}
        check_name(name)
        _check_driver(driver)
        check_options(options or {})
        with self._changing:
            try:
                volume = self._same(self.get(name), options or {})
            except NotFound:
                volume = self._make(name, dict(labels or {}), dict(options or {}))
            if owner and self._leases:
                self._leases.hold(owner, volumes=[name])
            return volume

    def _make(self, name: str, labels: dict[str, str], options: dict[str, str]) -> Volume:
        volume = Volume(name, self._data(name), DRIVER, labels, options, time.time())
        try:
            self._write(volume)
        except OSError as error:
            trees.sweep(self._root / name)
            raise ResourceExhausted(
                f"volume {name} cannot be made in {self._root}: {error.strerror}"
            ) from error
        return volume

    def get(self, name: str) -> Volume:
        """Raises NotFound, InvalidSpec for an impossible name."""
        check_name(name)
        try:
            document = json.loads((self._root / name / "volume.json").read_text())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"no such volume: {name}") from error
        except ValueError as error:
            raise FailedPrecondition(f"{self._root / name}/volume.json is damaged") from error
        return Volume(**{**document, "mountpoint": self._data(name)})

    def __contains__(self, name: str) -> bool:
        """Whether there is a volume of this name. Raises InvalidSpec for an impossible one."""
        check_name(name)
        return (self._root / name / "volume.json").exists()

    def list(self) -> builtins.list[Volume]:
        """All volumes by name; one that is damaged is left out."""
        volumes = []
        for folder in sorted(self._root.iterdir()):
            with contextlib.suppress(NotFound, InvalidSpec, FailedPrecondition):
                volumes.append(self.get(folder.name))
        return volumes

    def remove(self, name: str, *, force: bool = False, in_use: Collection[str] = ()) -> None:
        """Remove a volume and its data; with `force` a missing one is no error.

        One that is leased, or named in `in_use`, stays. Raises NotFound, FailedPrecondition.
        """
        with self._changing:
            trash = self._take_away(name, force, in_use)
        if trash is None:
            return
        try:
            trees.remove(trash)
        except OSError as error:
            raise FailedPrecondition(
                f"volume {name} is not fully removed: {reason(error)}"
            ) from error

    def _take_away(self, name: str, force: bool, in_use: Collection[str]) -> Path | None:
        try:
            volume = self.get(name)
        except NotFound:
            if force:
                return None
            raise
        holders = self._leases.holders(volume=name) if self._leases else []
        if name in in_use or holders:
            raise FailedPrecondition(f"volume {name} is in use by {holding(holders)}")
        if _is_mounted(volume.mountpoint):
            try:
                remote = volume.options.get("type") in NETWORK
                mounter.umount(str(volume.mountpoint), detach=remote)
            except OSError as error:
                why = error.strerror or str(error)
                raise FailedPrecondition(f"volume {name} cannot be unmounted: {why}") from error
        trash = self._root / f".removed-{secrets.token_hex(8)}"
        (self._root / name).rename(trash)
        return trash

    def prune(
        self,
        *,
        named: bool = False,
        labels: Callable[[Mapping[str, str]], bool] = lambda _: True,
        in_use: Collection[str] = (),
    ) -> tuple[builtins.list[str], int]:
        """Remove anonymous volumes (with `named`: all) that nobody holds; names, and bytes freed.

        Blocks. One that cannot be removed stays.
        """
        gone, freed = [], 0
        for volume in self.list():
            if (volume.anonymous or named) and labels(volume.labels):
                size = self.size(volume.name)
                with contextlib.suppress(NotFound, FailedPrecondition):
                    self.remove(volume.name, in_use=in_use)
                    gone.append(volume.name)
                    freed += size
        return gone, freed

    def size(self, name: str) -> int:
        """The bytes of a volume's files; 0 for one that lies elsewhere, or that vanishes."""
        volume = self.get(name)
        if any(volume.options.values()):
            return 0
        try:
            return trees.size(volume.mountpoint)
        except OSError:
            return 0

    def mount(self, name: str) -> Path:
        """The directory to bind into a container; mounts what `options` name, once. Blocks.

        Raises NotFound, FailedPrecondition with what the kernel says.
        """
        volume = self.get(name)
        if not any(volume.options.values()):
            return volume.mountpoint
        with self._lock(name):
            if not _is_mounted(volume.mountpoint):
                _mount(volume)
        return volume.mountpoint

    def copy_up(self, name: str, lower_dirs: Sequence[Path], target: str) -> bool:
        """Fill an empty volume with what an image has at `target`; whether it did. Blocks.

        `lower_dirs` are the image's, topmost first. Links in the image lead nowhere outside of it.
        An interrupted copy is done again at the next call. Raises NotFound, FailedPrecondition,
        ResourceExhausted.
        """
        volume = self.get(name)
        self.mount(name)
        marker = self._root / name / "copying"
        with self._lock(name):
            if any(volume.mountpoint.iterdir()) and not marker.exists():
                return False
            marker.touch()
            copied = self._copy(volume, lower_dirs, target)
            marker.unlink()
            return copied

    def _copy(self, volume: Volume, lower_dirs: Sequence[Path], target: str) -> bool:
        empty = self._root / volume.name / "empty"  # overlayfs wants two directories at least
        empty.mkdir(exist_ok=True)
        job = {
            "lowers": [*(str(path) for path in lower_dirs), str(empty)],
            "target": target,
            "destination": str(volume.mountpoint),
        }
        process = subprocess.run(
            [sys.executable, "-I", "-S", str(_COPIER)],
            check=False, input=json.dumps(job).encode(),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}, cwd="/",
        )  # fmt: skip
        if process.returncode in (0, _NOTHING_THERE):
            return process.returncode == 0
        why = (process.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        kind = ResourceExhausted if "No space left" in why else FailedPrecondition
        raise kind(f"volume {volume.name} cannot be filled from the image: {why}")

    def _same(self, volume: Volume, options: Mapping[str, str]) -> Volume:
        if dict(options) != dict(volume.options) and options:
            raise AlreadyExists(f"volume {volume.name} exists with other options")
        return volume

    def _write(self, volume: Volume) -> None:
        volume.mountpoint.mkdir(mode=0o755, parents=True, exist_ok=True)
        volume.mountpoint.parent.chmod(0o700)
        volume.mountpoint.chmod(0o755)
        document = {**asdict(volume), "mountpoint": str(volume.mountpoint)}
        # An anonymous volume is worth no wait for the disk: its container is not either.
        path, data = volume.mountpoint.parent / "volume.json", json.dumps(document).encode()
        durable.write(path, data, sync=not volume.anonymous)

    def _data(self, name: str) -> Path:
        return self._root / name / "_data"

    def _lock(self, name: str) -> threading.Lock:
        return self._locks.setdefault(name, threading.Lock())


_NOTHING_THERE = 3  # the copier's exit code where the image has no such directory


def _drop_unborn(folder: Path) -> None:
    """Remove what a creation that was cut short has left; whatever holds data stays."""
    for path in (folder / "_data", folder):
        with contextlib.suppress(OSError):
            if path == folder:
                durable.remove(durable.scratch_of(folder / "volume.json"), sync=False)
            path.rmdir()


def check_name(name: str) -> None:
    """Raises InvalidSpec for what can be no volume's name."""
    if not _NAME.fullmatch(name):
        raise InvalidSpec(
            f"invalid volume name {name[:80]!r}: expected letters, digits, '_', '.' and '-', "
            "starting with a letter or digit"
        )


def _check_driver(driver: str) -> None:
    if driver not in ("", DRIVER):
        raise InvalidSpec(f"unknown volume driver {driver!r}: only {DRIVER} is supported")


def _mount(volume: Volume) -> None:
    kind, device = volume.options["type"], volume.options["device"]
    work = mounter.mount_elsewhere if kind in NETWORK else mounter.mount
    try:
        work(mount_call(volume.options).as_dict(), str(volume.mountpoint))
    except FailedPrecondition as error:
        raise FailedPrecondition(f"volume {volume.name} cannot be mounted: {error}") from error
    except OSError as error:
        why = _why(error, kind, device)
        raise FailedPrecondition(f"volume {volume.name} cannot be mounted: {why}") from error


def _is_mounted(path: Path) -> bool:
    try:
        return path.stat().st_dev != path.parent.stat().st_dev or _in_mountinfo(path)
    except OSError:
        return False


def _in_mountinfo(path: Path) -> bool:
    """A bind mount of the same disk shows only there."""
    wanted = os.fsencode(path.resolve())
    for raw, code in ((b"\\", b"\\134"), (b" ", b"\\040"), (b"\t", b"\\011"), (b"\n", b"\\012")):
        wanted = wanted.replace(raw, code)
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return any(line.split(b" ", 5)[4] == wanted for line in lines)


def _why(error: OSError, kind: str, device: str) -> str:
    """What an error of mount(2) means for these options."""
    if error.errno == errno.ENODEV:
        return f"this kernel has no file system {kind!r}"
    if error.errno == errno.ENOENT:
        return f"{device} does not exist"
    if error.errno == errno.EINVAL:
        return f"the kernel refuses these options for {kind} of {device} (invalid argument)"
    if error.errno == errno.ENOTBLK:
        return f"{device} is not a block device"
    return f"{kind} of {device}: {error.strerror or error}"
