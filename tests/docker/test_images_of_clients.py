"""Images in the JSON of Docker's API, and the lines that pulls, pushes and loads stream."""

from __future__ import annotations

import pytest

from swarmlite.docker import image, imageprogress
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.gateway.fields.images import IMAGE, SUMMARY
from swarmlite.gateway.routes.image_streams import platform, reference_of
from swarmlite.gateway.routes.images import of_platform
from swarmlite.gateway.versions import Version, shaped
from swarmlite.model.references import Reference
from swarmlite.proto.images_pb2 import (
    ImageDetails,
    ImageHistory,
    ImageManifest,
    ImageProgress,
    LocalImage,
    PushedTag,
    ResolvedImage,
)
from swarmlite.proto.types_pb2 import Platform

AMD64 = Platform(os="linux", architecture="amd64")


def details() -> ImageDetails:
    found = ImageDetails(config_json=b'{"architecture":"amd64","config":{"Cmd":["sh"]}}')
    found.image.id, found.image.size_bytes, found.image.parent = "sha256:aa", 100, "sha256:bb"
    found.manifest_digest, found.index_digest = "sha256:m1", "sha256:ix"
    found.manifests.add(
        digest="sha256:m1",
        size_bytes=7,
        platform=AMD64,
        kind=ImageManifest.IMAGE,
        available=True,
        content_bytes=40,
        image_id="sha256:aa",
    )
    found.manifests.add(digest="sha256:at", kind=ImageManifest.ATTESTATION, attests="sha256:m1")
    return found


def test_manifests_say_what_of_each_is_here() -> None:
    one, attestation = image.manifests(details())
    assert (one["ID"], one["Kind"], one["Available"]) == ("sha256:m1", "image", True)
    assert one["Size"] == {"Content": 40, "Total": 140}
    assert one["ImageData"]["Platform"] == {"architecture": "amd64", "os": "linux"}
    assert one["Descriptor"]["mediaType"] == image.MANIFEST
    assert attestation["AttestationData"] == {"For": "sha256:m1"}
    assert image.descriptor(details()) == {
        "mediaType": image.INDEX,
        "digest": "sha256:ix",
        "size": 0,
    }
    assert image.descriptor(ImageDetails()) is None


def test_fields_of_an_image_are_those_of_the_client_s_version() -> None:
    def at(minor: int) -> set[str]:
        whole = {**image.inspect(details()), **image.older(details())}
        whole |= {"Descriptor": {}, "Manifests": []}
        return set(shaped(IMAGE, whole, Version(1, minor)))

    assert {"VirtualSize", "ContainerConfig"} <= at(43)
    assert at(43) - at(44) == {"VirtualSize"}
    assert at(44) - at(45) == {"Container", "ContainerConfig"}
    assert at(48) - at(47) == {"Descriptor", "Manifests"}
    listed = [{**image.summary(details().image), "Manifests": []}]
    assert "VirtualSize" not in shaped(SUMMARY, listed, Version(1, 46))[0]
    assert "Manifests" not in listed[0] and listed[0]["ParentId"] == "sha256:bb"


def test_an_image_without_a_name_says_so_in_words_to_old_clients() -> None:
    shown = image.nameless(image.summary(LocalImage(id="sha256:aa")))
    assert (shown["RepoTags"], shown["RepoDigests"]) == (["<none>:<none>"], ["<none>@<none>"])
    named = image.nameless(image.summary(LocalImage(repo_tags=["a:1"])))
    assert (named["RepoTags"], named["RepoDigests"]) == (["a:1"], [])


def test_history_names_the_newest_step_only() -> None:
    steps = [ImageHistory.Step(id="sha256:aa", tags=["a:1"], created_by="sh", size_bytes=3)]
    steps.append(ImageHistory.Step(comment="base"))
    newest, oldest = image.history(ImageHistory(steps=steps))
    assert (newest["Id"], newest["Tags"], newest["Size"]) == ("sha256:aa", ["a:1"], 3)
    assert (oldest["Id"], oldest["Tags"], oldest["Comment"]) == ("<missing>", None, "base")


def test_a_registry_s_answer_has_descriptor_and_platforms() -> None:
    arm = Platform(os="linux", architecture="arm", variant="v7")
    found = ResolvedImage(digest="sha256:dd", media_type="x/y", size_bytes=9, platforms=[arm])
    assert image.distribution(found) == {
        "Descriptor": {"mediaType": "x/y", "digest": "sha256:dd", "size": 9},
        "Platforms": [{"architecture": "arm", "os": "linux", "variant": "v7"}],
    }


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("busybox", "", "busybox:latest"),
        ("busybox", "1.36", "busybox:1.36"),
        ("docker.io/library/busybox", "1", "busybox:1"),
        ("localhost:5000/a/b", "v1", "localhost:5000/a/b:v1"),
        ("busybox:1", "2", "busybox:2"),
        ("busybox", "sha256:" + "a" * 64, "busybox@sha256:" + "a" * 64),
    ],
)
def test_name_and_tag_come_apart(name: str, tag: str, expected: str) -> None:
    assert str(reference_of(name, tag)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", AMD64),
        ("amd64", AMD64),
        ("linux", Platform(os="linux")),
        ("linux/arm/v7", Platform(os="linux", architecture="arm", variant="v7")),
        ('{"os":"linux","architecture":"amd64"}', AMD64),
        ("", None),
    ],
)
def test_a_platform_is_read(text: str, expected: Platform | None) -> None:
    assert platform(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("foobar", "plan9/amd64", "linux/vax", "a/b/c/d", "{", "{}x"),
        pytest.param('{"os":' * 9999, id="nested"),
    ],
)
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec, match="platform"):
        platform(text)


def test_an_image_s_variant_is_compared_where_both_sides_say_one() -> None:
    def provides(has: str, wanted: str) -> bool:
        variant = f',"variant":"{has}"' if has else ""
        config = f'{{"os":"linux","architecture":"arm"{variant}}}'
        asked = f'{{"os":"linux","architecture":"arm","variant":"{wanted}"}}'
        try:
            of_platform("one", ImageDetails(config_json=config.encode()), asked)
        except NotFound as error:
            assert f"(linux/arm/{wanted})" in str(error)
            return False
        return True

    assert provides("v7", "v7") and provides("", "v7") and provides("v7", "")
    assert not provides("v7", "v6")


def test_a_layer_s_step_has_a_bar_while_it_moves() -> None:
    moving = ImageProgress(layer="aa", status="Downloading", current_bytes=500, total_bytes=1000)
    line = imageprogress.step(moving)
    assert line is not None and line["progressDetail"] == {"current": 500, "total": 1000}
    assert line["progress"] == f"[{'=' * 24}>{' ' * 25}]     500B/1kB"
    assert imageprogress.bar(3, 0).startswith("[>")
    waiting = imageprogress.step(ImageProgress(layer="aa", status="Waiting"))
    assert waiting == {"status": "Pulling fs layer", "progressDetail": {}, "id": "aa"}
    assert imageprogress.step(ImageProgress(status="Loaded")) is None


def test_a_pull_ends_with_its_digest_and_whether_it_was_new() -> None:
    found = LocalImage(repo_digests=["busybox@sha256:dd", "other@sha256:ee"])
    reference = Reference.parse("busybox")
    assert imageprogress.pulling(reference)["status"] == "Pulling from library/busybox"
    assert imageprogress.pulled(reference, found, new=True) == [
        {"status": "Digest: sha256:dd"},
        {"status": "Status: Downloaded newer image for busybox:latest"},
    ]
    assert "up to date" in imageprogress.pulled(reference, found, new=False)[-1]["status"]


def test_a_push_ends_with_what_programs_read() -> None:
    people, programs = imageprogress.pushed(PushedTag(tag="v1", digest="sha256:d", size_bytes=5))
    assert people == {"status": "v1: digest: sha256:d size: 5"}
    assert programs["aux"] == {"Tag": "v1", "Digest": "sha256:d", "Size": 5}


def test_a_load_names_what_came() -> None:
    assert imageprogress.loaded(LocalImage(id="sha256:aa")) == [
        {"stream": "Loaded image ID: sha256:aa\n"}
    ]
    assert imageprogress.loaded(LocalImage(repo_tags=["a:1", "b:2"])) == [
        {"stream": "Loaded image: a:1\n"},
        {"stream": "Loaded image: b:2\n"},
    ]
