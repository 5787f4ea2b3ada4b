"""Pulls do not wait for the disk: what it may lack after a power cut is dropped, whole."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from image_world import FAST, SMALL, image_of, needs_root, one_file

from swarmlite.storage import trees
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Progress
from swarmlite.storage.images.unsynced import FILE
from swarmlite.testing.registry import Registry

pytestmark = needs_root
LAYERS = 3


@pytest.fixture(scope="module")
def pushed(registry: Registry) -> str:
    tars = [one_file(f"f{number}", bytes(range(256)) * 99) for number in range(LAYERS)]
    registry.push(image_of("unsynced:1", *tars))
    return f"{registry.address}/unsynced:1"


async def pulled(root: Path, ref: str) -> tuple[ImageStore, str]:
    """A store that has pulled an image, and the file of what was not on the disk meanwhile."""
    store, seen = ImageStore(root, settings=FAST, limits=SMALL), ""

    def look(step: Progress) -> None:
        nonlocal seen
        if step.status == "Pull complete" and step.layer:
            seen = (root / FILE).read_text()

    await store.pull(ref, progress=look)
    return store, seen


def names_of(root: Path) -> set[str]:
    """Chain ids and digests of what lies in its place."""
    found: Iterable[Path] = [*(root / "layers").iterdir(), *(root / "blobs/sha256").iterdir()]
    return {f"sha256:{path.name}" for path in found}


async def test_a_power_cut_takes_what_the_disk_may_lack_away_and_a_pull_brings_it_back(
    tmp_path: Path, pushed: str
) -> None:
    """The file names all that the pull brings before any of it is in its place."""
    root = tmp_path / "images"
    store, seen = await pulled(root, pushed)
    await store.layers.unsynced.flush()
    assert not (root / FILE).exists()
    assert names_of(root) <= set(json.loads(seen)["names"])
    (root / FILE).write_text(json.dumps({**json.loads(seen), "boot": "an earlier one"}))

    after = ImageStore(root, settings=FAST, limits=SMALL)
    trees.wait_for_discards()
    assert not after.list()
    assert not names_of(root)
    assert not list((root / "l").iterdir())
    assert not (root / FILE).exists()
    image = await after.pull(pushed)
    assert len(after.lower_dirs(image)) == LAYERS


async def test_a_crash_of_the_process_takes_nothing_away(tmp_path: Path, pushed: str) -> None:
    """The kernel still has it, and writes it before the file goes."""
    root = tmp_path / "images"
    store, seen = await pulled(root, pushed)
    await store.layers.unsynced.flush()
    (root / FILE).write_text(seen)
    after = ImageStore(root, settings=FAST, limits=SMALL)
    assert after.list() == store.list()
    assert not (root / FILE).exists()


async def test_an_image_that_stands_on_a_pulled_one_is_kept_only_when_that_is_on_the_disk(
    tmp_path: Path, pushed: str
) -> None:
    root = tmp_path / "images"
    store, _ = await pulled(root, pushed)
    base = store.get(pushed)
    made = await store.make({}, io.BytesIO(one_file("more", b"x")), base=base, tag="made:1")
    assert not (root / FILE).exists() or not set(made.layers) & set(
        json.loads((root / FILE).read_text())["names"]
    )


async def test_layers_that_come_side_by_side_leave_no_process(tmp_path: Path, pushed: str) -> None:
    """Unpackers are shared while a pull lasts, and end with it."""
    store, _ = await pulled(tmp_path / "images", pushed)
    tasks = Path("/proc/self/task").iterdir()
    children = {pid for task in tasks for pid in (task / "children").read_text().split()}
    lines = [Path(f"/proc/{pid}/cmdline") for pid in children]
    assert not [line for line in lines if line.exists() and b"unpack/__main__" in line.read_bytes()]
    assert store.get(pushed)
