"""Where an image may lie: how SRC and DST of `image copy` are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference

REGISTRY, NODE = "docker", "node"
LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE = "oci", "oci-archive", "docker-archive"
_FILES = (LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE)
FORMS = (
    "[docker://]REFERENCE, node:IMAGE, node=NODE:IMAGE, oci:FOLDER[:TAG], oci-archive:FILE[:NAME] "
    "or docker-archive:FILE[:NAME:TAG]"
)


@dataclass(frozen=True)
class Place:
    """A registry's or a node's `name`, or a file or folder and the name in it, if any.

    `node` is another node's name or id; empty means this one.
    """

    kind: str
    name: str = ""
    path: Path = Path()
    node: str = ""

    @property
    def reference(self) -> Reference:
        """Of a registry's or a node's image."""
        return Reference.parse(self.name)


def parse(text: str) -> Place:
    """Raises InvalidSpec that names the forms there are."""
    if text.startswith("docker://"):
        return _named(REGISTRY, text.removeprefix("docker://"))
    kind, colon, rest = text.partition(":")
    if colon and kind == NODE:
        return _named(NODE, rest)
    if colon and kind.startswith(f"{NODE}="):
        return _on(kind.partition("=")[2], rest, text)
    if not colon or kind not in _FILES:
        try:
            return _named(REGISTRY, text)
        except InvalidSpec as error:
            raise InvalidSpec(f"{error}; a place is {FORMS}") from error
    path, _, name = rest.partition(":")
    if not path:
        raise InvalidSpec(f"{text!r} names no file; a place is {FORMS}")
    if name and kind != LAYOUT:
        Reference.parse(name)
    return Place(kind, name, Path(path))


def _named(kind: str, name: str) -> Place:
    if kind == REGISTRY or not _is_id(name):
        Reference.parse(name)
    return Place(kind, name)


def _on(node: str, name: str, text: str) -> Place:
    if not node or not name:
        raise InvalidSpec(f"{text!r} names no node or no image; a place is {FORMS}")
    reference = Reference.parse(name)
    if reference.digest:
        raise InvalidSpec(f"{text!r}: a node keeps an image as NAME:TAG, without a digest")
    return Place(NODE, reference.tagged, node=node)


def _is_id(text: str) -> bool:
    digits = text.removeprefix("sha256:")
    return len(digits) == 64 and set(digits) <= set("0123456789abcdef")
