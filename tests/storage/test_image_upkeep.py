"""Names, histories, pruning, and the limits that a node's owner sets."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from image_world import FAST, SMALL, image_of, needs_root, one_file

from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound
from swarmlite.paths import Paths
from swarmlite.storage.host import Storage
from swarmlite.storage.images.keeper import ImageKeeper, disk_used_percent
from swarmlite.storage.images.pruning import DAY_S, Policy
from swarmlite.storage.images.store import ImageStore
from swarmlite.testing.oci import BuiltImage, TarWriter, docker_archive

pytestmark = needs_root
NOW = 2_000_000_000.0


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    made = Storage(Paths(tmp_path / "state", tmp_path / "run"), settings=FAST, limits=SMALL)
    yield made
    made.close()


async def loaded(store: ImageStore, *images: BuiltImage) -> list[str]:
    """Ids of images that were taken in."""
    found = await store.load(io.BytesIO(docker_archive(list(images))))
    return [image.id for image in found]


async def test_a_tag_is_one_more_name_and_moves(store: ImageStore) -> None:
    one, two = await loaded(store, image_of("one:1", one_file("a", "1")), image_of("two:1", b""))
    await store.tag("one:1", "reg:5000/team/app:v1")
    assert store.get(one).repo_tags == ("one:1", "reg:5000/team/app:v1")
    await store.tag(two, "reg:5000/team/app:v1")
    assert store.get("reg:5000/team/app:v1").id == two
    assert store.get(one).repo_tags == ("one:1",)
    for target in ("Bad", "a@sha256:" + "0" * 64, ""):
        with pytest.raises(InvalidSpec, match="invalid image reference"):
            await store.tag(one, target)
    with pytest.raises(NotFound):
        await store.tag("none:1", "x:1")
    again = ImageStore(store.root, settings=FAST, limits=SMALL)
    assert again.get("reg:5000/team/app:v1").id == two


async def test_an_image_says_how_it_was_made(store: ImageStore) -> None:
    built = image_of("made:1", one_file("a", "12345"), one_file("b", "1"), Labels={"k": "v"})
    (made,) = await loaded(store, built)
    found = store.inspect("made:1")
    assert found.image.id == made
    assert found.diff_ids == tuple(layer.diff_id for layer in built.layers)
    assert [step.size_bytes for step in found.history] == [1, 5]
    assert found.history == store.history(made)
    assert set(found.blobs) == set(store.content.digests())


async def test_an_archive_names_its_own_tags_only(store: ImageStore) -> None:
    """Another name that the same image has here was not loaded."""
    built = image_of("first:1", one_file("a", "1"))
    await loaded(store, built)
    await store.tag("first:1", "other:1")
    (again,) = await store.load(io.BytesIO(docker_archive([built])))
    assert again.repo_tags == ("first:1",)
    assert set(store.get(again.id).repo_tags) == {"first:1", "other:1"}


async def test_pruning_takes_what_has_no_name_and_no_user(storage: Storage) -> None:
    store = storage.images
    old, used, tagged = await loaded(
        store,
        image_of("x:1", one_file("a", "old")),
        image_of("u:1", one_file("a", "used"), Labels={"keep": "yes"}),
        image_of("t:1", one_file("a", "tagged")),
    )
    for name in ("x:1", "u:1"):  # the tags move on
        await loaded(store, image_of(name, one_file("a", f"new {name}")))
    storage.leases.hold("container/1", images=[used])
    assert (await store.prune(before=0)).deleted == ()
    assert (await store.prune(labels=lambda found: "keep" in found)).deleted == ()
    removed = await store.prune()
    assert removed.deleted[0] == old and removed.reclaimed_bytes > 3
    assert store.get(used) and store.get(tagged)
    assert (await store.prune(all_unused=True, in_use={tagged})).untagged == ("x:1", "u:1")
    assert [image.id for image in store.list()] == sorted([used, tagged], reverse=True)
    storage.leases.release("container/1")
    await store.prune(all_unused=True)
    assert store.list() == [] and list(store.content.digests()) == []


async def test_a_container_without_a_lease_keeps_its_image_too(storage: Storage) -> None:
    (one,) = await loaded(storage.images, image_of("x:1", one_file("a", "1")))
    storage.snapshots.prepare("c1", storage.images.get(one).layers)
    assert (await storage.images.prune(all_unused=True)).deleted == ()
    usage = storage.images.usage()
    assert (usage.images, usage.active, usage.reclaimable_bytes) == (1, 1, 0)
    assert usage.size_bytes == 1 and usage.blob_bytes > 100
    storage.snapshots.remove("c1")
    assert storage.images.usage().reclaimable_bytes == 1


async def test_images_that_nobody_used_for_days_go(storage: Storage) -> None:
    store = storage.images
    ids = await loaded(store, *(image_of(f"i{n}:1", one_file("a", str(n))) for n in range(4)))
    for key, days in zip(ids, (40, 20, 40, -5), strict=True):
        entry = store._catalog.index.entries[key]
        entry.added = entry.used = NOW - days * DAY_S
    storage.leases.hold("container/1", images=[ids[2]])
    keeper = ImageKeeper(store, Policy(unused_days=30), clock=lambda: NOW)
    assert await keeper.look() == [ids[0]]
    assert await keeper.look() == []
    assert {image.id for image in store.list()} == set(ids[1:])


async def test_above_its_share_of_the_disk_the_longest_unused_go_first(storage: Storage) -> None:
    store = storage.images
    ids = await loaded(store, *(image_of(f"i{n}:1", one_file("a", str(n))) for n in range(4)))
    for key, age in zip(ids, (100, 4000, 2000, 3000), strict=True):
        entry = store._catalog.index.entries[key]
        entry.added = entry.used = NOW - age
    fullness = iter([95.0, 92.0, 80.0])
    keeper = ImageKeeper(
        store, Policy(disk_percent=90), clock=lambda: NOW, used_percent=lambda _: next(fullness)
    )
    assert await keeper.look() == [ids[1], ids[3]]
    keeper = ImageKeeper(
        store, Policy(disk_percent=1), clock=lambda: NOW, used_percent=lambda _: 99.0
    )
    # the last one was asked for a moment ago: whoever did may be about to hold it
    assert await keeper.look() == [ids[2]]
    assert [image.id for image in store.list()] == [ids[0]]
    assert 0 < disk_used_percent(store.root) <= 100


async def test_uses_are_kept_over_a_restart(storage: Storage) -> None:
    store = storage.images
    await loaded(store, image_of("x:1", one_file("a", "1")))
    before = store.get("x:1").used
    store.use("x:1", "container/1")
    await store.save_uses()
    again = ImageStore(store.root, settings=FAST, limits=SMALL, leases=storage.leases)
    assert again.get("x:1").used > before


@pytest.mark.parametrize("value", ["-1", "x", "101", "1.5"])
def test_a_policy_that_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SWARMLITE_IMAGE_DISK_PERCENT", value)
    with pytest.raises(InvalidSpec, match="expected a number from 0 to 100"):
        Policy.from_environment()


def archive_of(change: dict[str, Any]) -> bytes:
    """An image whose config is changed."""
    built = image_of("bad:1", one_file("a", "1"))
    config = json.loads(built.config)
    inner = config["config"]
    for key, value in change.items():
        (config if key[0].islower() else inner)[key] = value
    writer = TarWriter()
    writer.file("config.json", json.dumps(config).encode())
    writer.file("layer.tar", one_file("a", "1"))
    entry = {"Config": "config.json", "RepoTags": ["bad:1"], "Layers": ["layer.tar"]}
    writer.file("manifest.json", json.dumps([entry]))
    return writer.tar()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"Env": "A=b"}, "config.Env is not a list of strings"),
    ({"Env": [1]}, "config.Env is not a list of strings"),
    ({"Env": ["A=\0"]}, "config.Env is not a list of strings"),
    ({"User": 0}, "config.User is not a string"),
    ({"Cmd": {"a": 1}}, "config.Cmd is not a list of strings"),
    ({"Entrypoint": [["sh"]]}, "config.Entrypoint is not a list of strings"),
    ({"Volumes": ["/data"]}, "config.Volumes is not an object"),
    ({"ExposedPorts": "80"}, "config.ExposedPorts is not an object"),
    ({"Labels": {"a": 1}}, "config.Labels is not an object of strings"),
    ({"WorkingDir": []}, "config.WorkingDir is not a string"),
    ({"StopSignal": 15}, "config.StopSignal is not a string"),
    ({"Healthcheck": []}, "config.Healthcheck is not an object"),
    ({"Healthcheck": {"Interval": "5s"}}, "config.Healthcheck.Interval is not a number"),
    ({"Healthcheck": {"Test": "true"}}, "config.Healthcheck.Test is not a list of strings"),
    ({"config": []}, "config that is not an object"),
    ({"history": ["x"]}, "history is not a list of objects"),
    ({"created": 5}, "created is not a string"),
    ({"architecture": []}, "architecture is not a string"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
async def test_configs_with_wrong_types_are_refused_in_one_line(
    store: ImageStore, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message) as raised:
        await store.load(io.BytesIO(archive_of(change)))
    assert "\n" not in str(raised.value)
    assert store.list() == []


async def test_configs_with_nulls_and_strings_of_older_builders_are_taken(
    store: ImageStore,
) -> None:
    nulls: dict[str, Any] = dict.fromkeys(("Env", "Volumes", "Labels", "Healthcheck", "created"))
    for change in (nulls, {"Cmd": "echo"}, {"config": None}, {"history": None}):
        assert await store.load(io.BytesIO(archive_of(change)))
        assert store.history("bad:1") is not None


async def test_an_image_in_use_is_named_with_its_user(storage: Storage) -> None:
    (one,) = await loaded(storage.images, image_of("x:1", one_file("a", "1")))
    for number in range(3):
        storage.images.use("x:1", f"container/{number}00000000000000")
    with pytest.raises(FailedPrecondition, match=r"by container 000000000000 and 2 more"):
        await storage.images.remove(one)
