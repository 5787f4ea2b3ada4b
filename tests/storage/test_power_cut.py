"""A power cut at any moment leaves a store that works, with nothing half-written in sight."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import power_cut_victim as victim
import pytest
from image_world import needs_root

from swarmlite.paths import Paths
from swarmlite.storage import trees
from swarmlite.storage.host import Storage
from swarmlite.storage.images.unsynced import FILE
from swarmlite.testing.registry import Registry

pytestmark = needs_root
CUTS = 8
DISK_BYTES = 96 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The file behind a mounted ext4: what it holds is what a disk would hold."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-J", "size=4", image], check=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", image, place], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no loop devices here: {mounted.stderr.strip()}")
    try:
        yield image
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_power_cut_at_any_moment(disk: Path, tmp_path: Path, registry: Registry) -> None:
    """Of loads, which wait for the disk, and of pulls, which do not, in mid-unpack too."""
    refs = [registry.push(victim.image(number)) for number in (3, 4)]
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    moments = random.Random(seed)
    process = subprocess.Popen(
        [sys.executable, victim.__file__, str(tmp_path / "disk/s"), *refs],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    seen = 0
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loaded\n"
        for cut in range(CUTS):
            time.sleep(moments.uniform(0, 0.4))
            copy = tmp_path / f"cut{cut}.img"
            _cut(process.pid, disk, copy)
            seen += _check(copy, tmp_path / "after")
            copy.unlink()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert seen, "no image was ever there"


def _cut(group: int, disk: Path, copy: Path) -> None:
    """What is on the disk now: whatever was not written out is lost."""
    os.killpg(group, signal.SIGSTOP)
    try:
        subprocess.run(["cp", "--sparse=always", disk, copy], check=True)
    finally:
        os.killpg(group, signal.SIGCONT)


def _check(copy: Path, place: Path) -> int:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", copy, place], check=True)
    unsynced = place / "s/images" / FILE
    if unsynced.exists():  # of this machine's boot; power comes back with another one
        unsynced.write_text(json.dumps({**json.loads(unsynced.read_text()), "boot": "the next"}))
    try:
        storage = Storage(Paths(place / "s", place / "s/run"))
        try:
            return _check_store(storage, place / "s/images")
        finally:
            trees.wait_for_discards()
            storage.close()
    finally:
        subprocess.run(["umount", place], check=True)


def _check_store(storage: Storage, root: Path) -> int:
    assert not (root / "images.damaged").exists()
    for digest in storage.images.content.digests():
        algorithm, _, digits = digest.partition(":")
        data = storage.images.content.read(digest, DISK_BYTES)
        assert hashlib.new(algorithm, data).hexdigest() == digits
    images = storage.images.list()
    for number, image in enumerate(images):
        for lower in storage.images.lower_dirs(image):
            _check_layer(lower)
        assert storage.images.content.has(image.manifest)
        storage.snapshots.prepare(f"check{number}", image.layers)
        with storage.snapshots.mounted(f"check{number}") as seen:
            (folder,) = seen.iterdir()
            assert len(list(folder.iterdir())) == 2 * victim.FILES
    for key in sorted(storage.snapshots.keys()):
        storage.snapshots.root(key)
        storage.snapshots.remove(key)
    return len(images)


def _check_layer(lower: Path) -> None:
    (folder,) = lower.iterdir()
    files = list(folder.iterdir())
    assert len(files) == victim.FILES
    for path in files:
        expected = victim.content_of(int(folder.name[1:]), int(path.name))
        assert path.read_bytes() == expected, f"{path} holds {path.stat().st_size} bytes"
