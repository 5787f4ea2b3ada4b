"""The Dockerfiles of dockerfiles/, over the whole reference: NAME/ is a context with its
Dockerfile, NAME.json what is expected of it.

Keys: `options` of the build; `base` (Dockerfiles by the name that they are built as before);
`tree` (PATH: "KIND MODE UID:GID CONTENT-OR-TARGET"), with `whole` nothing else is there; `absent`;
`same` (names of one file); `times`; `config` (None: not there), `env`, `author`; `history` (null:
any) of what was added to the base's; `layers` that were added; `nowhere`: texts that the image
must not hold.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from build_host import BuildHost, Outcome

FOLDER = Path(__file__).with_name("dockerfiles")
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
KINDS = {
    tarfile.REGTYPE: "-", tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.FIFOTYPE: "p",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_what_a_dockerfile_says_is_what_its_image_is(name: str, builder: BuildHost) -> None:
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    for tag, text in expected.get("base", {}).items():
        assert (await builder.build(text, tags=[tag])).result
    options = dict(expected.get("options", {}))
    secrets = {key: text.encode() for key, text in options.pop("secrets", {}).items()}
    built = await builder.build(files=FOLDER / name, tree=True, secrets=secrets, **options)
    assert built.result.image_id.startswith("sha256:")
    check_tree(built, expected)
    check_config(built, expected)
    for text in expected.get("nowhere", ()):
        assert text.encode() not in built.output(1) + built.result.config_json


def check_tree(built: Outcome, expected: dict[str, Any]) -> None:
    with tarfile.open(fileobj=io.BytesIO(built.output(1))) as archive:
        members = {member.name: member for member in archive}
        found = {name: shown(archive, members[name]) for name in members}
    for path, wanted in expected.get("tree", {}).items():
        assert path in found, (path, sorted(found))
        got = found[path] if wanted.count(" ") > 2 else " ".join(found[path].split(" ")[:3])
        assert got == wanted, path
    if expected.get("whole"):
        assert set(found) == set(expected["tree"])
    for path in expected.get("absent", ()):
        assert path not in found
    for one, other in expected.get("same", ()):
        assert members[other].islnk() or members[one].islnk()
    for path, seconds in expected.get("times", {}).items():
        assert members[path].mtime == seconds


def shown(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.islnk():
        content = archive.extractfile(member)
        text = content.read().decode(errors="replace") if content else ""
        return f"- {member.mode:o} {member.uid}:{member.gid} {text}"
    head = f"{KINDS.get(member.type, '?')} {member.mode:o} {member.uid}:{member.gid}"
    if member.issym():
        return f"{head} {member.linkname}"
    if not member.isfile():
        return head
    content = archive.extractfile(member)
    assert content is not None
    return f"{head} {content.read().decode(errors='replace')}"


def check_config(built: Outcome, expected: dict[str, Any]) -> None:
    for key, wanted in expected.get("config", {}).items():
        assert built.inner.get(key) == wanted, key
    environment = dict(entry.split("=", 1) for entry in built.inner["Env"])
    for name, wanted in expected.get("env", {}).items():
        assert environment.get(name) == wanted, name
    assert built.config.get("author") == expected.get("author")
    history = [item for item in built.config["history"] if item.get("comment")]
    texts = [item["created_by"] for item in history]
    if "history" in expected:
        assert len(texts) == len(expected["history"]), texts
        for text, wanted in zip(texts, expected["history"], strict=True):
            assert wanted is None or text == wanted
    layers = [item for item in built.config["history"] if not item.get("empty_layer")]
    assert len(layers) == len(built.config["rootfs"]["diff_ids"])
    if "layers" in expected:
        assert len([item for item in history if "empty_layer" not in item]) == expected["layers"]
