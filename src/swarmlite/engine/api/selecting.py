"""Docker's filters of images and volumes."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterable, Mapping

from swarmlite.errors import InvalidSpec
from swarmlite.proto.control_pb2 import Filter

Labels = Mapping[str, str]


def values(filters: Iterable[Filter], known: Collection[str]) -> dict[str, list[str]]:
    """All values by key. Raises InvalidSpec for a key that is not known."""
    found: dict[str, list[str]] = {}
    for entry in filters:
        if entry.key not in known:
            expected = ", ".join(sorted(known))
            raise InvalidSpec(f"invalid filter {entry.key!r}: expected one of {expected}")
        found.setdefault(entry.key, []).extend(entry.values)
    return found


def labels(wanted: Mapping[str, list[str]]) -> Callable[[Labels], bool]:
    """Whether an object's labels pass `label` and `label!`, all of them."""
    asked, refused = wanted.get("label", []), wanted.get("label!", [])
    return lambda found: (
        all(_has(found, text) for text in asked) and not any(_has(found, text) for text in refused)
    )


def _has(found: Labels, text: str) -> bool:
    name, separator, value = text.partition("=")
    return name in found and (not separator or found[name] == value)


def matches_reference(name: str, pattern: str) -> bool:
    """Whether NAME[:TAG] is what a pattern of `--filter reference=` means.

    Without a tag in the pattern any tag does; `*` does not go past a slash.
    """
    repository, _, _ = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    return any(
        text.count("/") == pattern.count("/") and fnmatch.fnmatchcase(text, pattern)
        for text in (name, repository)
    )
